"""
What an agent is: anything with a name that can be asked.

The network knows nothing of models and prompts. Whoever answers (a model, a rule, a person)
stands behind ``async def ask(turn)``; a plain async function does as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import attrs
import trio

from ..protocol.views import Line, View, default_view
from ..protocol.workflow import Reply
from ..records import Envelope
from .consulting import Question, consult, keys_of

if TYPE_CHECKING:
    from .agent_client import AgentClient
    from .channel import Channel
    from .peers import Peers

__all__ = ["Agent", "AgentFunction", "FunctionAgent", "ScriptedAgent", "Turn", "as_agent"]


@attrs.frozen(kw_only=True, eq=False)
class Turn:
    """
    Something an agent is asked.

    Attributes:
        text: What was said to it.
        envelope: How it came.
        channel: Where; to say more than the one reply, or to look around.
        agent: Who is asked: the client of this agent.
        sender_name: Who said it.
        attempt: 1 the first time; more where an earlier turn for this envelope did not finish
            or its outcome was lost. An agent that acts on the world should look first.
        trace_id: The W3C traceparent that it belongs to.
        view: How much `lines` shows of the channel, and how; None is `default_view`.
        cancel_scope: What it runs in. It is cancelled when somebody asks for that, when the
            envelope or the channel expires, and when the channel is closed. A turn that was
            cancelled says nothing, and does not come again. Cancelling it oneself is the same.
    """

    text: str
    envelope: Envelope
    channel: Channel
    agent: AgentClient
    sender_name: str
    attempt: int = 1
    trace_id: str | None = None
    view: View | None = None
    cancel_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, repr=False)
    # How often it has asked whom what.
    _asked: Counter[tuple[str, str]] = attrs.field(factory=Counter, init=False, repr=False)

    @property
    def deadline(self) -> float:
        """When it is cancelled at the latest, by Trio's clock; `inf` is never."""
        return self.cancel_scope.deadline

    @property
    def peers(self) -> Peers:
        """The others: whom the agent could `delegate` to."""
        return self.agent.peers

    async def history(self, limit: int = 50) -> list[Envelope]:
        """
        Return what was said in the channel before this, oldest first, at most `limit` envelopes.

        Only texts and packets count; bookkeeping is left out.

        Cancellation: nothing happens.
        """
        return await self.channel.history(limit=limit, before=self.envelope.envelope_id)

    async def lines(self) -> list[Line]:
        """
        Return what the turn's view shows of the channel before this, oldest first.

        With a view that has a window this costs the same however long the channel is.

        Cancellation: nothing happens.
        """
        view = self.view or default_view(len(self.channel.metadata.participants))
        said = await self.channel.history(limit=view.wanted, before=self.envelope.envelope_id)
        names = await self.agent.hub_client.names_for(sorted({one.sender_id for one in said}))
        return view.project(said, reader_id=self.agent.agent_id, names=names)

    async def delegate(
        self, target: str, text: str, *, timeout: float = 300.0, key: str | None = None
    ) -> str:
        """
        Ask somebody else in the course of this turn, and return the answer.

        The question is one deeper than what this turn was asked, so that a chain of agents who
        ask each other comes to an end: at the `delegation_depth` of the rule of whoever goes too
        deep.

        A turn that is attempted again does not ask again what an earlier attempt has asked: it
        finds the question, and the answer. What was given up without one is asked anew.

        Args:
            target: A name or an id.
            text: What to ask.
            timeout: Seconds, opening the channel included.
            key: Which question of this turn it is, to be the same one in every attempt although the
                words may differ, as a model's do. None tells questions apart by their words; those
                of the same words, by how many there are.

        Raises and Cancellation: as `AgentClient.consult`. Where this turn is cancelled, so is that
        of whoever was asked.
        """
        question = Question(target, text, depth=self.envelope.depth + 1, trace_id=self.trace_id)
        self._asked[target, text] += 1
        which = [key] if key is not None else [text, str(self._asked[target, text])]
        keys = keys_of(self.envelope.envelope_id, target, *which, attempts=self.attempt)
        return await consult(self.agent, question, timeout=timeout, keys=keys)

    def progress_nowait(self) -> None:
        """
        Tell the hub that this turn is alive, so that it is not taken for lost. Never waits.

        The client says so by itself for a while; an agent that works longer than that, and knows
        that it gets on, says it now and then.
        """
        self.agent.identity.send_receipt(self.envelope, "progress")


@runtime_checkable
class Agent(Protocol):
    """Whoever can be asked."""

    @property
    def name(self) -> str:
        """What it is called where no passport says otherwise."""
        ...

    async def ask(self, turn: Turn) -> Reply:
        """
        Return a reply: a text; None or "", which is silence; in a workflow, also a `Handoff` to
        somebody or a `Finish`.

        It may be asked the same thing again when an earlier attempt was cut short: before the
        reply was posted, that is, so it never speaks twice. What it raises is a failed turn:
        reported, and tried again by the hub.

        Cancellation: happens when the client's block is left; the turn is redelivered later.
        Also when the turn's own `cancel_scope` is cancelled; then it is over.
        """
        ...


#: An agent as a function.
AgentFunction = Callable[[Turn], Awaitable[Reply]]


@attrs.frozen
class FunctionAgent:
    """
    An agent whose answers come from an async function.

    Args:
        name: What it is called.
        function: ``async def answer(turn) -> Reply``.
    """

    name: str
    function: AgentFunction

    async def ask(self, turn: Turn) -> Reply:
        """See `Agent.ask`."""
        return await self.function(turn)


def _as_tuple(replies: Iterable[Reply]) -> tuple[Reply, ...]:
    return tuple(replies)


@attrs.define(eq=False)
class ScriptedAgent:
    """
    An agent that says what it was told to say, for tests and demonstrations.

    Args:
        name: What it is called.
        replies: What it answers, turn by turn; None or "" is silence.

    Attributes:
        turns: What it was asked so far.
    """

    name: str
    replies: tuple[Reply, ...] = attrs.field(converter=_as_tuple)
    turns: list[Turn] = attrs.field(factory=list, init=False, repr=False)

    async def ask(self, turn: Turn) -> Reply:
        """
        Return the next reply of the script.

        Raises:
            LookupError: The script is over.
        """
        number = len(self.turns)
        if number >= len(self.replies):
            raise LookupError(
                f"the script of {self.name!r} is over: it has {len(self.replies)} replies and "
                f"{turn.sender_name!r} asks once more: {turn.text!r}"
            )
        self.turns.append(turn)
        return self.replies[number]


def as_agent(agent: Agent | AgentFunction, name: str) -> Agent:
    """Make an agent of what a user gave: one is taken as it is, a function is named `name`."""
    if isinstance(agent, Agent):
        return agent
    if callable(agent):
        return FunctionAgent(name, agent)
    raise TypeError(
        f"{agent!r} is no agent: it needs a `name` and `async def ask(turn)`, "
        "or to be an async function of a turn"
    )
