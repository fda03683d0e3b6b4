"""
Envelopes on their way through one agent's handler.

Envelopes of one channel are handled one after another, channels side by side: each busy channel
has a worker, a task in the client's nursery that ends when the channel has nothing more to do.
The receipt goes out when the handler is done with an envelope, not before.

What was handled is remembered, so what the hub sends again (because a receipt was lost with its
connection) is acked at once and not handled again. What has waited for longer than its TTL is acked
with that as the reason, and not handled at all. What stands here already is passed over: its
receipt will come. Everything is bounded; past its bound an agent is *overrun*: it lets go of all
that arrives until it has caught up, and then asks the hub to begin again where it stopped.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Literal, Protocol

import attrs
import trio

from .._logging import get_logger
from .._tracing import find_tracing
from ..protocol.adapters import left_by
from ..protocol.expiry import EXPIRED
from ..records import Envelope, is_bookkeeping
from ..records.dead_letter import FAILURE_CHARACTERS_MAX
from .places import take_place

__all__ = ["Deliveries", "DeliveryHost"]

_log = get_logger("trio_hub.client")

_CHANNELS_MAX = 4096
# Envelopes of one channel that handlers which never wait may take before others have their turn.
_IN_A_ROW_MAX = 8
# Beyond any date, and small enough to be added to one.
_TTL_SECONDS_MAX = 1e15


class DeliveryHost(Protocol):
    """Whoever the deliveries are for."""

    async def handle(self, envelope: Envelope, attempt: int) -> None:
        """Let the handler have an envelope. What it raises is a failure."""
        ...

    def send_receipt(
        self, envelope: Envelope, status: Literal["ack", "nack", "progress"], reason: str = ""
    ) -> None:
        """Tell the hub. Never waits; lost where there is no connection."""
        ...

    async def report_failure(self, envelope: Envelope, error: Exception) -> None:
        """Tell whoever watches that a turn failed. Must not raise."""
        ...

    def caught_up(self) -> None:
        """After having been overrun: ask the hub to begin again. Never waits."""
        ...


@attrs.define(eq=False)
class _Lane:
    """One channel: what waits, what is being handled, what failed, what is done."""

    # Oldest first; with the attempt, and until when it is worth being handled.
    waiting: deque[tuple[Envelope, int, float]] = attrs.field(factory=deque)
    waiting_ids: set[str] = attrs.field(factory=set)
    handling: Envelope | None = None
    handling_since: float = 0.0
    working: bool = False
    failed: set[str] = attrs.field(factory=set)
    # The youngest that is settled, and up to where all are.
    highest: str = ""
    position: str = ""

    def holds(self, envelope_id: str) -> bool:
        if self.handling is not None and self.handling.envelope_id == envelope_id:
            return True
        return envelope_id in self.waiting_ids

    def put(self, envelope: Envelope, attempt: int) -> None:
        # What failed comes back behind younger ones that wait here already: it goes first again.
        behind: list[tuple[Envelope, int, float]] = []
        while self.waiting and self.waiting[-1][0].envelope_id > envelope.envelope_id:
            behind.append(self.waiting.pop())
        ttl = envelope.ttl_seconds
        worth_until = math.inf
        if ttl is not None and ttl > 0:
            # Of how long it was under way, only the hub's clock could tell.
            worth_until = trio.current_time() + min(ttl, _TTL_SECONDS_MAX)
        self.waiting.append((envelope, attempt, worth_until))
        self.waiting.extend(reversed(behind))
        self.waiting_ids.add(envelope.envelope_id)

    def take(self) -> tuple[Envelope, int, float]:
        envelope, attempt, worth_until = self.waiting.popleft()
        self.waiting_ids.discard(envelope.envelope_id)
        self.handling = envelope
        self.handling_since = trio.current_time()
        return envelope, attempt, worth_until


class Deliveries:
    """
    All channels of one agent.

    Args:
        host: Handles, and carries receipts.
        nursery: Where the workers live.
        handlers_max: How many channels are handled at the same time. Bookkeeping (invites
            above all) does not count, so agents that wait for each other's invites never wait
            for each other's handlers.
        max_in_flight: How many envelopes may stand here. Well above the hub's own window (256
            by default), it is only ever reached with hubs that have none.
    """

    def __init__(
        self,
        host: DeliveryHost,
        nursery: trio.Nursery,
        *,
        handlers_max: int,
        max_in_flight: int,
    ) -> None:
        self._host = host
        self._nursery = nursery
        self._tracing = find_tracing()
        self._places = trio.Semaphore(handlers_max)
        self._max_in_flight = max_in_flight
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self._settled: OrderedDict[str, str] = OrderedDict()
        # What has expired here. It stays so.
        self._late: OrderedDict[str, None] = OrderedDict()
        # A receipt may be lost with its connection; what the next hello can say makes up for it.
        self._unconfirmed: OrderedDict[str, str] = OrderedDict()
        self._in_flight = 0
        # Whether the failures that hold positions back are all still known.
        self._failures_known = True
        self._overrun = False
        self._stopped = False

    @property
    def in_flight(self) -> int:
        """How many envelopes stand here without a receipt."""
        return self._in_flight

    def arrive(self, envelope: Envelope, attempt: int) -> bool:
        """
        Take an envelope off the wire; True where it is new here. Never waits.

        One that was settled is acked again, and so is one that expired here; one that stands here
        already is passed over.
        """
        if self._stopped:
            return False
        envelope_id = envelope.envelope_id
        if envelope_id and envelope_id in self._settled:
            self._settled.move_to_end(envelope_id)
            self._host.send_receipt(envelope, "ack")
            return False
        if envelope_id and envelope_id in self._late:
            # By the hub's clock it may be in time. Younger ones were handled since.
            self._host.send_receipt(envelope, "ack", EXPIRED)
            return False
        lane = self._lane(envelope.channel_id)
        if lane.holds(envelope_id):
            return False
        if self._overrun or self._in_flight >= self._max_in_flight:
            if not self._overrun:
                _log.warning("too many envelopes wait for one agent", waiting=self._in_flight)
            self._overrun = True
            return False
        new = envelope_id not in lane.failed
        lane.put(envelope, attempt)
        self._in_flight += 1
        if not lane.working:
            lane.working = True
            self._nursery.start_soon(self._work, lane)
        return new

    def positions(self) -> dict[str, str]:
        """
        Return where channels stand: {channel id: the id up to which everything is settled}.

        Only those that moved since `confirm`; the hub has heard of the others.
        """
        return dict(self._unconfirmed) if self._failures_known else {}

    def confirm(self, positions: dict[str, str]) -> None:
        """The hub has been told these positions, and sends what is unsettled from now on."""
        self._overrun = False
        for channel_id, position in positions.items():
            if self._unconfirmed.get(channel_id) == position:
                del self._unconfirmed[channel_id]

    def forget_settled(self) -> None:
        """
        Handle again what comes again.

        For a hub whose log was restored: what this agent did may not be in it any more, and
        only its handler can tell.
        """
        self._settled.clear()
        self._late.clear()
        self._unconfirmed.clear()
        for lane in self._lanes.values():
            lane.highest = lane.position = ""

    def stop(self) -> None:
        """Let go of what waits, and take nothing more. What is being handled goes on."""
        self._stopped = True
        for lane in self._lanes.values():
            self._in_flight -= len(lane.waiting)
            lane.waiting.clear()
            lane.waiting_ids.clear()

    def waiting_in(self, channel_id: str) -> list[Envelope]:
        """Return what has arrived in a channel and is not being handled yet, oldest first."""
        lane = self._lanes.get(channel_id)
        return [] if lane is None else [waiting[0] for waiting in lane.waiting]

    def handled_for(self, seconds_min: float, seconds_max: float) -> Iterator[Envelope]:
        """Return what is being handled for so long."""
        now = trio.current_time()
        for lane in self._lanes.values():
            so_long = now - lane.handling_since
            if lane.handling is not None and seconds_min <= so_long <= seconds_max:
                yield lane.handling

    async def _work(self, lane: _Lane) -> None:
        in_a_row = 0
        try:
            while lane.waiting:
                if in_a_row == _IN_A_ROW_MAX:
                    await trio.lowlevel.checkpoint()
                    in_a_row = 0
                    continue
                in_a_row += 1
                envelope, attempt, worth_until = lane.take()
                try:
                    if worth_until <= lane.handling_since:
                        self._expired(lane, envelope)
                        continue
                    await self._handle(envelope, attempt)
                except Exception as error:  # whatever it is, it is a nack and not a dead client
                    await self._failed(lane, envelope, error)
                else:
                    self._done(lane, envelope)
                finally:
                    lane.handling = None
                    self._in_flight -= 1
                if self._overrun and self._in_flight <= self._max_in_flight // 2:
                    self._host.caught_up()
        finally:
            lane.working = False

    async def _handle(self, envelope: Envelope, attempt: int) -> None:
        if self._tracing is None:
            await self._handle_untraced(envelope, attempt)
            return
        attributes: dict[str, str | int] = {
            "trio_hub.channel_id": envelope.channel_id,
            "trio_hub.envelope_id": envelope.envelope_id,
            "trio_hub.event_type": envelope.event_type,
            "trio_hub.attempt": attempt,
        }
        with self._tracing.around("trio_hub handle", envelope.trace_id, attributes):
            await self._handle_untraced(envelope, attempt)

    async def _handle_untraced(self, envelope: Envelope, attempt: int) -> None:
        # That somebody has left may give the turn to this agent.
        if is_bookkeeping(envelope.event_type) and not left_by(envelope):
            await self._host.handle(envelope, attempt)
            return
        await take_place(self._places)
        try:
            await self._host.handle(envelope, attempt)
        finally:
            self._places.release()

    async def _failed(self, lane: _Lane, envelope: Envelope, error: Exception) -> None:
        if self._stopped:
            return
        _log.exception(
            "a handler failed",
            event_type=envelope.event_type,
            envelope_id=envelope.envelope_id,
            channel_id=envelope.channel_id,
            exc_info=error,
        )
        # It is not here any more: the hub sends it again as soon as it hears of it.
        lane.handling = None
        self._hold_back(lane, envelope)
        reason = f"{type(error).__name__}: {error}"[:FAILURE_CHARACTERS_MAX]
        self._host.send_receipt(envelope, "nack", reason)
        await self._host.report_failure(envelope, error)

    def _expired(self, lane: _Lane, envelope: Envelope) -> None:
        _log.info(
            "an envelope expired before it was handled",
            envelope_id=envelope.envelope_id,
            channel_id=envelope.channel_id,
        )
        # No position speaks for it: where this is lost, the hub is to find out by itself.
        self._hold_back(lane, envelope)
        self._late[envelope.envelope_id] = None
        while len(self._late) > 2 * self._max_in_flight:
            self._late.popitem(last=False)
        self._host.send_receipt(envelope, "ack", EXPIRED)

    def _done(self, lane: _Lane, envelope: Envelope) -> None:
        lane.failed.discard(envelope.envelope_id)
        if self._stopped or not envelope.envelope_id:
            return
        self._settled[envelope.envelope_id] = envelope.channel_id
        while len(self._settled) > 2 * self._max_in_flight:
            self._settled.popitem(last=False)
        self._advance(lane, envelope)
        self._host.send_receipt(envelope, "ack")

    def _advance(self, lane: _Lane, envelope: Envelope) -> None:
        # Not past anything that failed or waits: the position speaks for all before it.
        lane.highest = max(lane.highest, envelope.envelope_id)
        oldest_open = lane.waiting[0][0].envelope_id if lane.waiting else None
        if lane.failed:
            oldest_failed = min(lane.failed)
            oldest_open = oldest_failed if oldest_open is None else min(oldest_open, oldest_failed)
        if oldest_open is None or oldest_open > lane.highest:
            position = lane.highest
        else:
            position = max(
                (
                    envelope_id
                    for envelope_id, channel_id in self._settled.items()
                    if channel_id == envelope.channel_id and envelope_id < oldest_open
                ),
                default=lane.position,
            )
        if position > lane.position:
            lane.position = position
            self._unconfirmed[envelope.channel_id] = position
            self._unconfirmed.move_to_end(envelope.channel_id)
            if len(self._unconfirmed) > _CHANNELS_MAX:
                self._unconfirmed.popitem(last=False)

    def _lane(self, channel_id: str) -> _Lane:
        lane = self._lanes.get(channel_id)
        if lane is None:
            lane = self._lanes[channel_id] = _Lane()
            if len(self._lanes) > _CHANNELS_MAX:
                self._forget_idle_lanes()
        self._lanes.move_to_end(channel_id)
        return lane

    def _forget_idle_lanes(self) -> None:
        idle = [channel_id for channel_id, lane in self._lanes.items() if not lane.working]
        for channel_id in idle[: len(self._lanes) - _CHANNELS_MAX * 3 // 4]:
            self._forget_failures(self._lanes.pop(channel_id))

    def _hold_back(self, lane: _Lane, envelope: Envelope) -> None:
        """State no position past an envelope that was not handled."""
        lane.failed.add(envelope.envelope_id)
        if len(lane.failed) > self._max_in_flight:
            self._forget_failures(lane)

    def _forget_failures(self, lane: _Lane) -> None:
        # A position that does not know of a failure would hide it. Without positions the hub
        # only sends more than it need.
        self._failures_known = self._failures_known and not lane.failed
        lane.failed.clear()
