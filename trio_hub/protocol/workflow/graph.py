"""
The script of a workflow: who begins, and which transitions are tried after each turn.

A graph is data. Its JSON form is AG2's, so a graph made by either is run by both::

    {"initial_speaker": "...", "default_target": {"name": "terminate", "args": {...}},
     "transitions": [{"when": {"name": "from_speaker", "args": {...}}, "then": ..., "priority": 0}],
     "max_turns": null}
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs

from ...errors import ProtocolError
from .conditions import Always, ContextEquals, FromSpeaker, ToolCalled, TransitionCondition
from .targets import (
    AgentTarget,
    RevertToInitiatorTarget,
    RoundRobinTarget,
    StayTarget,
    TerminateTarget,
    TransitionTarget,
)

__all__ = [
    "TRANSITIONS_MAX",
    "Transition",
    "TransitionGraph",
    "TransitionRegistry",
    "register_condition",
    "register_target",
]

_T = TypeVar("_T")

_TARGETS: Final[tuple[type[TransitionTarget], ...]] = (
    AgentTarget,
    RoundRobinTarget,
    StayTarget,
    RevertToInitiatorTarget,
    TerminateTarget,
)
_CONDITIONS: Final[tuple[type[TransitionCondition], ...]] = (
    Always,
    FromSpeaker,
    ToolCalled,
    ContextEquals,
)
#: Transitions of one graph: all of them may be tried after each turn, while everybody waits.
TRANSITIONS_MAX: Final = 10_000


@attrs.frozen
class Transition:
    """Where `when` holds, the turn goes to `then`. The lowest priority is tried first."""

    when: TransitionCondition
    then: TransitionTarget
    priority: int = 0


class TransitionRegistry:
    """Which targets and conditions a graph's JSON may name; those that ship are always there."""

    def __init__(self) -> None:
        self._targets: dict[str, type[TransitionTarget]] = {it.name: it for it in _TARGETS}
        self._conditions: dict[str, type[TransitionCondition]] = {it.name: it for it in _CONDITIONS}

    def register_target(self, target: type[TransitionTarget]) -> None:
        """Let graphs name a target; it takes the place of one of the same name."""
        self._targets[target.name] = target

    def register_condition(self, condition: type[TransitionCondition]) -> None:
        """Let graphs name a condition; it takes the place of one of the same name."""
        self._conditions[condition.name] = condition

    def target(self, data: Any, place: str) -> TransitionTarget:
        """Read a target. Raises `ProtocolError`, which says where."""
        return _made(self._targets, data, place, "target")

    def condition(self, data: Any, place: str) -> TransitionCondition:
        """Read a condition. Raises `ProtocolError`, which says where."""
        return _made(self._conditions, data, place, "condition")


_REGISTRY: Final = TransitionRegistry()


def register_target(target: type[TransitionTarget]) -> type[TransitionTarget]:
    """Let every graph of this process name a target. Works as a decorator."""
    _REGISTRY.register_target(target)
    return target


def register_condition(condition: type[TransitionCondition]) -> type[TransitionCondition]:
    """Let every graph of this process name a condition. Works as a decorator."""
    _REGISTRY.register_condition(condition)
    return condition


def _as_tuple(transitions: Iterable[Transition]) -> tuple[Transition, ...]:
    return tuple(transitions)


@attrs.frozen
class TransitionGraph:
    """
    The script of a workflow.

    Agents are named by id, as on the wire. `AgentClient.open` puts ids in the place of names.

    Args:
        initial_speaker: Who has the first turn.
        transitions: Tried after each turn, by priority and then in this order.
        default_target: Where the turn goes when none of them holds.
        max_turns: The workflow ends after so many turns; None is never.
    """

    initial_speaker: str
    transitions: tuple[Transition, ...] = attrs.field(default=(), converter=_as_tuple)
    default_target: TransitionTarget = attrs.field(factory=TerminateTarget)
    max_turns: int | None = None
    # Tried after every turn, so they are sorted once.
    _by_priority: tuple[Transition, ...] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        ordered = tuple(sorted(self.transitions, key=lambda it: it.priority))
        object.__setattr__(self, "_by_priority", ordered)

    # Making one

    @classmethod
    def round_robin(
        cls, participants: Sequence[str], *, max_turns: int | None = None
    ) -> TransitionGraph:
        """Let everybody speak in turn, the first one first, `max_turns` times in all."""
        if not participants:
            raise ValueError("a round needs at least one participant")
        return cls(
            initial_speaker=participants[0],
            transitions=(Transition(Always(), RoundRobinTarget()),),
            default_target=TerminateTarget("round_robin_complete"),
            max_turns=max_turns,
        )

    @classmethod
    def sequence(cls, steps: Sequence[str]) -> TransitionGraph:
        """Let each one speak once, in this order."""
        if not steps:
            raise ValueError("a sequence needs at least one step")
        if len(set(steps)) != len(steps):
            raise ValueError("in a sequence each one speaks once: write transitions instead")
        return cls(
            initial_speaker=steps[0],
            transitions=tuple(
                Transition(FromSpeaker(one), AgentTarget(following))
                for one, following in itertools.pairwise(steps)
            ),
            default_target=TerminateTarget("sequence_complete"),
            max_turns=len(steps),
        )

    # As JSON

    def to_dict(self) -> dict[str, Any]:
        """Return its JSON form, for ``knobs={"graph": ...}``."""
        return {
            "initial_speaker": self.initial_speaker,
            "transitions": [
                {
                    "when": _written(transition.when),
                    "then": _written(transition.then),
                    "priority": transition.priority,
                }
                for transition in self.transitions
            ],
            "default_target": _written(self.default_target),
            "max_turns": self.max_turns,
        }

    @classmethod
    def from_dict(cls, data: Any, *, registry: TransitionRegistry = _REGISTRY) -> TransitionGraph:
        """
        Read its JSON form.

        Raises:
            ProtocolError: It is none, or names what is not registered; says where.
        """
        if not isinstance(data, Mapping):
            raise ProtocolError(f"graph: expected an object, got {_kind(data)}")
        initial = data.get("initial_speaker")
        if not isinstance(initial, str) or not initial:
            raise ProtocolError("graph.initial_speaker: expected the id of a participant")
        turns = data.get("max_turns")
        if turns is not None and (type(turns) is not int or turns < 1):
            raise ProtocolError(f"graph.max_turns: expected a number above 0, got {turns!r}")
        rules = data.get("transitions") or ()
        if not isinstance(rules, list | tuple) or len(rules) > TRANSITIONS_MAX:
            raise ProtocolError(f"graph.transitions: expected a list, up to {TRANSITIONS_MAX}")
        default = data.get("default_target")
        return cls(
            initial_speaker=initial,
            transitions=tuple(
                _transition(rule, f"graph.transitions[{index}]", registry)
                for index, rule in enumerate(rules)
            ),
            default_target=TerminateTarget()
            if default is None
            else registry.target(default, "graph.default_target"),
            max_turns=turns,
        )

    # What is in it

    def mentions(self) -> Iterator[tuple[str, str]]:
        """Yield every agent that it names, with the place."""
        yield "graph.initial_speaker", self.initial_speaker
        for index, transition in enumerate(self.transitions):
            for part, what in (("when", transition.when), ("then", transition.then)):
                agent_id = getattr(what, "agent_id", None)
                if isinstance(agent_id, str):
                    yield f"graph.transitions[{index}].{part}.args.agent_id", agent_id
        agent_id = getattr(self.default_target, "agent_id", None)
        if isinstance(agent_id, str):
            yield "graph.default_target.args.agent_id", agent_id

    def check_participants(self, participant_ids: Collection[str]) -> None:
        """Raise `ProtocolError` where it names somebody who takes no part; all are named."""
        # A long graph names somebody thousands of times, and there may be a thousand of them.
        known = frozenset(participant_ids)
        strangers = [
            f"{place}: {agent_id!r} takes no part in the channel"
            for place, agent_id in self.mentions()
            if agent_id not in known
        ]
        if strangers:
            raise ProtocolError("; ".join(strangers[:20]))

    def with_ids(self, ids: Mapping[str, str]) -> TransitionGraph:
        """Return the same graph with ids in the place of names; what is not in `ids` stays."""

        def known(what: Any) -> Any:
            agent_id = getattr(what, "agent_id", None)
            if not isinstance(agent_id, str) or agent_id not in ids:
                return what
            if attrs.has(type(what)):
                return attrs.evolve(what, agent_id=ids[agent_id])
            return dataclasses.replace(what, agent_id=ids[agent_id])

        return TransitionGraph(
            initial_speaker=ids.get(self.initial_speaker, self.initial_speaker),
            transitions=tuple(
                Transition(known(it.when), known(it.then), it.priority) for it in self.transitions
            ),
            default_target=known(self.default_target),
            max_turns=self.max_turns,
        )

    @staticmethod
    def tools_in(data: Mapping[str, Any]) -> frozenset[str]:
        """
        Return the tools that a graph waits for (`ToolCalled`), by its JSON form: where an agent
        calls one, its packet says so.

        Args:
            data: As a hub has accepted it. What it names besides need not be registered here.
        """
        conditions = [rule["when"] for rule in data.get("transitions") or ()]
        return frozenset(
            when["args"]["tool_name"] for when in conditions if when["name"] == ToolCalled.name
        )

    @property
    def by_priority(self) -> tuple[Transition, ...]:
        """The transitions in the order in which they are tried."""
        return self._by_priority

    def to_mermaid(self, name_of: Callable[[str], str] = str) -> str:
        """
        Draw it as a Mermaid flowchart.

        Args:
            name_of: What an agent id is called in the picture.
        """
        from .mermaid import draw

        return draw(self, name_of)


def _transition(data: Any, place: str, registry: TransitionRegistry) -> Transition:
    if not isinstance(data, Mapping):
        raise ProtocolError(f"{place}: expected an object, got {_kind(data)}")
    priority = data.get("priority", 0)
    if type(priority) is not int:
        raise ProtocolError(f"{place}.priority: expected a whole number, got {priority!r}")
    return Transition(
        when=registry.condition(data.get("when"), f"{place}.when"),
        then=registry.target(data.get("then"), f"{place}.then"),
        priority=priority,
    )


def _made(known: Mapping[str, Callable[..., _T]], data: Any, place: str, what: str) -> _T:
    if not isinstance(data, Mapping):
        raise ProtocolError(f"{place}: expected an object with a name, got {_kind(data)}")
    name, arguments = data.get("name"), data.get("args") or {}
    make = known.get(name) if isinstance(name, str) else None
    if make is None:
        raise ProtocolError(f"{place}: unknown {what} {name!r}; known: {', '.join(known)}")
    if not isinstance(arguments, Mapping):
        raise ProtocolError(f"{place}.args: expected an object, got {_kind(arguments)}")
    try:
        return make(**arguments)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"{place}.args: {error.args[0] if error.args else error}") from error


def _written(what: TransitionTarget | TransitionCondition) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if attrs.has(type(what)):
        arguments = attrs.asdict(what)  # type: ignore[arg-type]
    elif dataclasses.is_dataclass(what):
        arguments = dataclasses.asdict(what)
    return {"name": what.name, "args": arguments}


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
