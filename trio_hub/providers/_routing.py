"""
Where a workflow goes after a model's turn, as its tool calls say it.

As AG2 decides it: of all calls of a turn the first counts that came to a `Handoff` or a `Finish`, or
whose tool a `ToolCalled` of the graph waits for. The former end the turn at once; after the latter
the model goes on until it has said its words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import attrs
import msgspec

from ..client import Turn
from ..protocol.workflow import Finish, Handoff, Reply, TransitionGraph
from ._tools import Outcome, Tool, ToolBox

__all__ = ["Routing"]


async def _hand_off(
    target: Annotated[str, msgspec.Meta(description="Who goes on.")],
    reason: Annotated[
        str, msgspec.Meta(description="What it is to do, with all that it needs to know.")
    ],
) -> Handoff:
    return Handoff(target, reason)


async def _finish(
    summary: Annotated[str, msgspec.Meta(description="What came of the work.")],
    reason: Annotated[str, msgspec.Meta(description="Why it is over, in a word.")] = "finished",
) -> Finish:
    return Finish(summary, reason)


_HAND_OFF: Final = Tool.of(
    _hand_off,
    name="hand_off",
    description="Let another participant go on in your place. Ends your turn.",
)
_FINISH: Final = Tool.of(
    _finish,
    name="finish",
    description="Say that the work is done. Ends the conversation for everybody.",
)


class _Reason(msgspec.Struct):
    reason: str = ""


@attrs.define(eq=False)
class Routing:
    """
    What a model may call in one turn, and what its calls so far have decided.

    Attributes:
        tools: The agent's own, and in a workflow those that hand off and finish.
        chosen: The first call that says where the workflow goes.
        is_over: Whether one has ended the turn.
    """

    tools: ToolBox
    chosen: Handoff | Finish | None = None
    is_over: bool = False
    _is_workflow: bool = False
    _awaited: frozenset[str] = frozenset()
    _others: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    async def of(cls, turn: Turn, tools: ToolBox, *, offered: bool) -> Routing:
        """
        Begin a turn.

        Args:
            tools: The agent's own; one of them takes the place of ours of the same name.
            offered: Whether a workflow's tools are.

        Cancellation: nothing happens.
        """
        if not turn.channel.is_workflow:
            return cls(tools)
        metadata = turn.channel.metadata
        ids = [one for one in metadata.participant_ids if one != turn.agent.agent_id]
        names = await turn.agent.hub_client.names_for(ids)
        others = {names.get(one, one): one for one in ids}
        ours = [_naming(list(others)), _FINISH] if offered else []
        return cls(
            ToolBox([*tools, *(tool for tool in ours if tool.name not in tools)]),
            is_workflow=True,
            awaited=TransitionGraph.tools_in(metadata.knobs.get("graph") or {}),
            others=others,
        )

    def take(self, name: str, arguments: bytes, outcome: Outcome) -> Outcome:
        """Take what came of a call, and return what to tell the model of it."""
        if not outcome.ok:
            return outcome
        route = outcome.value
        if isinstance(route, Handoff | Finish):
            if not self._is_workflow:
                return Outcome(f"{name} has no effect: this conversation is no workflow", ok=False)
            if isinstance(route, Handoff):
                agent_id = self._id_of(route.target)
                if agent_id is None:
                    return Outcome(
                        f"{route.target!r} takes no part here, or is you; you can hand off to: "
                        f"{', '.join(self._others)}",
                        ok=False,
                    )
                route = attrs.evolve(route, target=agent_id)
            self._choose(attrs.evolve(route, tool=route.tool or name))
            self.is_over = True
        elif name in self._awaited:
            self._choose(Handoff("", _reason_in(arguments), tool=name))
        return outcome

    def reply(self, text: str) -> Reply:
        """Return the turn's reply, with the words that the model ended with."""
        match self.chosen:
            case Handoff() as handoff:
                return attrs.evolve(handoff, text=handoff.text or text)
            case Finish() as finish:
                return attrs.evolve(finish, summary=finish.summary or text)
        return text or None

    def _choose(self, route: Handoff | Finish) -> None:
        if self.chosen is None:
            self.chosen = route

    def _id_of(self, target: str) -> str | None:
        # An id wins over a name, as everywhere.
        return target if target in self._others.values() else self._others.get(target)


def _naming(names: list[str]) -> Tool:
    """Return the tool that hands off, whose schema names who there is."""
    properties = dict(_HAND_OFF.parameters["properties"])
    properties["target"] = {**properties["target"], "enum": names}
    return attrs.evolve(_HAND_OFF, parameters={**_HAND_OFF.parameters, "properties": properties})


def _reason_in(arguments: bytes) -> str:
    """Return what the model gave as its reason, where the tool takes one."""
    try:
        return msgspec.json.decode(arguments or b"{}", type=_Reason).reason
    except msgspec.DecodeError:
        return ""
