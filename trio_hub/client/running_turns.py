"""
The turns of one identity that are under way, each with the scope that ends it.

Envelopes of a channel are handled one after another, so what ends a turn waits behind it: it is
looked at as it arrives, and what had arrived before the turn began is looked at then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import attrs
import trio

from .._logging import get_logger
from ..protocol.turn_end import why_it_ends
from ..records import Envelope

__all__ = ["RunningTurn", "RunningTurns", "task_in_turn"]

_log = get_logger("trio_hub.client")


@attrs.define(eq=False)
class RunningTurn:
    """
    One turn.

    Attributes:
        trigger: The envelope that began it.
        scope: What it runs in.
        task_ids: Tasks that it does.
    """

    trigger: Envelope
    scope: trio.CancelScope
    task_ids: set[str] = attrs.field(factory=set)

    def is_over(self) -> bool:
        """Whether it was cancelled, or its time is up."""
        return self.scope.cancel_called

    def end(self, why: str) -> None:
        """Cancel it, and note why. The first reason counts."""
        if not self.is_over():
            _log.info(
                "a turn was cancelled",
                why=why,
                channel_id=self.trigger.channel_id,
                envelope_id=self.trigger.envelope_id,
            )
        self.scope.cancel()


_CURRENT: ContextVar[RunningTurn | None] = ContextVar("trio_hub_turn", default=None)


@contextmanager
def task_in_turn(task_id: str) -> Iterator[None]:
    """Let who cancels a task cancel the turn that it is done in, if any, while the block lasts."""
    turn = _CURRENT.get()
    if turn is None:
        yield
        return
    turn.task_ids.add(task_id)
    try:
        yield
    finally:
        turn.task_ids.discard(task_id)


class RunningTurns:
    """The turns of one identity. There are as many as its handlers, so they need no bound."""

    def __init__(self) -> None:
        self._by_channel: dict[str, list[RunningTurn]] = {}

    @contextmanager
    def running(
        self, trigger: Envelope, *, reader_id: str, seconds: float, arrived: Iterable[Envelope]
    ) -> Iterator[RunningTurn]:
        """
        Be a turn, which may be cancelled: it says so afterwards.

        Args:
            seconds: How long it may take.
            arrived: What has arrived and was not handled yet.
        """
        turn = RunningTurn(trigger, trio.CancelScope(deadline=trio.current_time() + seconds))
        turns = self._by_channel.setdefault(trigger.channel_id, [])
        turns.append(turn)
        for envelope in arrived:
            _end_if_asked(turn, envelope, reader_id)
        token = _CURRENT.set(turn)
        try:
            with turn.scope:
                yield turn
        finally:
            _CURRENT.reset(token)
            turns.remove(turn)
            if not turns and self._by_channel.get(trigger.channel_id) is turns:
                del self._by_channel[trigger.channel_id]

    def arrived(self, envelope: Envelope, *, reader_id: str) -> None:
        """End the turns that an envelope ends. Never waits."""
        for turn in self._by_channel.get(envelope.channel_id, ()):
            _end_if_asked(turn, envelope, reader_id)


def _end_if_asked(turn: RunningTurn, envelope: Envelope, reader_id: str) -> None:
    why = why_it_ends(envelope, turn.trigger, reader_id=reader_id, task_ids=turn.task_ids)
    if why is not None:
        turn.end(why)
