"""
Asking a model until it has said something: the part that all providers share.

A provider tells what was said so far in the words of its API and asks; this runs the tools that
the model calls for, and asks again with what they returned, a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import attrs
import trio

from ..client import Turn
from ..protocol.views import WindowedSummary
from ..protocol.workflow import Reply
from ..records import Envelope
from ._errors import ModelError
from ._routing import Routing
from ._tools import Outcome

__all__ = [
    "Answer",
    "Conversation",
    "Said",
    "ToolCall",
    "ToolResult",
    "ask_until_said",
    "said_before",
]

#: A stream tells the hub so often, at most, that its turn is alive.
PROGRESS_SECONDS: Final = 5.0


@attrs.frozen
class Said:
    """
    Something that was said in the channel.

    Attributes:
        ours: Whether the agent said it itself.
        text: The words; where more than two take part, with who said them in front.
    """

    ours: bool
    text: str


@attrs.frozen
class ToolCall:
    """What a model wants called: `call_id` is its word for it, `arguments` are JSON."""

    call_id: str
    name: str
    arguments: bytes


@attrs.frozen
class ToolResult:
    """What came of a call."""

    call_id: str
    text: str
    ok: bool


@attrs.frozen
class Answer:
    """What a model answered: words, or tools to call, or both."""

    text: str
    calls: Sequence[ToolCall] = ()


class Conversation(Protocol):
    """One turn's talk with a model, in the words of a provider's API."""

    async def ask(self, results: Sequence[ToolResult]) -> Answer:
        """
        Ask the model, after telling it what its last calls returned.

        Raises:
            ModelError: It did not answer.

        Cancellation: ends the HTTP request.
        """
        ...


async def ask_until_said(
    conversation: Conversation, turn: Turn, routing: Routing, *, model: str, tool_rounds_max: int
) -> Reply:
    """
    Ask, run the tools it calls for side by side, ask again; return the words it ends with, or
    where it hands off or finishes, that.

    Raises:
        ModelError: It did not answer, or calls for tools without an end.

    Cancellation: ends the HTTP request, and cancels tools that run.
    """
    results: list[ToolResult] = []
    for _ in range(tool_rounds_max + 1):
        answer = await conversation.ask(results)
        if answer.calls:
            results = await _run_all(answer.calls, turn, routing)
        if routing.is_over or not answer.calls:
            return routing.reply(answer.text)
        turn.progress_nowait()
    raise ModelError(
        model,
        f"it still called for tools after {tool_rounds_max} rounds; raise tool_rounds_max, or "
        "tell it in its instructions when to stop",
    )


async def _run_all(calls: Sequence[ToolCall], turn: Turn, routing: Routing) -> list[ToolResult]:
    outcomes: dict[int, Outcome] = {}

    async def run(index: int, call: ToolCall) -> None:
        outcomes[index] = await routing.tools.run(turn, call.name, call.arguments)

    async with trio.open_nursery() as nursery:
        for index, call in enumerate(calls):
            nursery.start_soon(run, index, call)
    results: list[ToolResult] = []
    # In the order of the calls, whichever was done first: the first one says where it goes.
    for index, call in enumerate(calls):
        outcome = routing.take(call.name, call.arguments, outcomes[index])
        results.append(ToolResult(call.call_id, outcome.text, outcome.ok))
    return results


async def said_before(turn: Turn, limit: int) -> list[Said]:
    """
    Return what was said up to this turn, oldest first, this turn's words last.

    The turn's view decides, where its handler has one. Neighbours of one side are joined, because
    some services want the two sides to alternate.

    Args:
        limit: Without a view of the turn's own, at most so many earlier texts and packets.

    Cancellation: nothing happens.
    """
    many = len(turn.channel.metadata.participants) > 2
    view = turn.view or WindowedSummary(window=max(limit, 1), named=many)
    earlier: list[Envelope] = []
    if limit or turn.view:
        earlier = await turn.channel.history(limit=view.wanted, before=turn.envelope.envelope_id)
    names = await turn.agent.hub_client.names_for(
        sorted({one.sender_id for one in earlier} | {turn.envelope.sender_id})
    )
    said: list[Said] = []
    for envelopes in (earlier, [turn.envelope]):
        for line in view.project(envelopes, reader_id=turn.agent.agent_id, names=names):
            one = Said(line.role == "assistant", line.text)
            if said and said[-1].ours == one.ours:
                one = Said(one.ours, f"{said.pop().text}\n\n{one.text}")
            said.append(one)
    return said


class ProgressTeller:
    """Tells the hub, while a stream runs, that the turn is alive; not with every chunk."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._told_at = trio.current_time()

    def alive(self) -> None:
        """Something of the answer came."""
        if trio.current_time() - self._told_at >= PROGRESS_SECONDS:
            self._told_at = trio.current_time()
            self._turn.progress_nowait()
