"""
Expectations: looks at channels when something in them is due, and sees to what follows.

What is awaited and what follows is worked out by `protocol.expectations`; here are the clock, the
task, and the store. The task sleeps until the earliest deadline of all channels. What follows
from an expectation is one batch in the store with the note that it has fired, so it happens once,
wherever the hub is killed.

It stands back from whatever ends a channel anyway: where the TTL or the time of the invitees is
over, the caretaker comes first.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque

import attrs
import trio

from .._logging import get_logger
from ..errors import NetworkError, StoreError, TooLarge
from ..ids import Now, seconds_from_iso
from ..protocol.channel import ChannelMachine
from ..protocol.expectations import (
    CloseChannel,
    Consequences,
    ExpectationRegistry,
    Firings,
    Outlook,
    Overdue,
    Watched,
    Watchlist,
    look,
    plan_violation,
)
from ..protocol.expectations.base import Action
from ..protocol.plan import Plan
from ..records import ChannelMetadata, ChannelState, Expectation
from .announcer import Announcer
from .channels import Channel, ChannelBook
from .committer import Ticket
from .date_bell import DateBell
from .limits import HubLimits
from .timers import Timers

__all__ = ["Expectations"]

log = get_logger(__name__)

# After the store could not be read or written, and after something has fired: an evaluator that
# awaits ever new things in the past must not keep the hub busy.
_AGAIN_SECONDS = 5.0
_FIRED_SECONDS = 1.0
# Of what follows, how much may be on its way to the disk at once: thousands of channels may be
# due in the same second, above all when a hub opens.
_UNDER_WAY_MAX = 64


class Expectations:
    """
    Looks after the expectations of all channels.

    Args:
        registry: Evaluators and handlers.
        watchlist: Says when to look at which channel.
        channels: All of them.
        announcer: Told of what was not met.
        timers: Wake the task.
        clock: Seconds since 1970.
        limits: The hub's.
        invite_ack_timeout: Seconds that invitees have to accept; then the channel is closed
            whatever is expected of them.
    """

    def __init__(
        self,
        registry: ExpectationRegistry,
        watchlist: Watchlist,
        channels: ChannelBook,
        announcer: Announcer,
        timers: Timers,
        clock: Now,
        limits: HubLimits,
        *,
        invite_ack_timeout: float,
    ) -> None:
        self._registry = registry
        self._watchlist = watchlist
        self._channels = channels
        self._announcer = announcer
        self._clock = clock
        self._limits = limits
        self._invite_ack_timeout = invite_ack_timeout
        self._bell = DateBell(timers, clock, watchlist.wake_at)
        # (channel type, expectation) that were found broken, each told of once.
        self._broken: set[tuple[str, str]] = set()
        self._under_way: deque[Ticket] = deque()

    def check(self, metadata: ChannelMetadata) -> None:
        """Refuse a channel whose expectations make no sense; see `ExpectationRegistry.check`."""
        self._registry.check(
            metadata,
            expectations_max=self._limits.expectations_max,
            seconds_min=self._limits.expectation_seconds_min,
        )

    def look_after(self, channel: Channel) -> None:
        """Look at a channel that is new here, or has changed. It has no checkpoint."""
        if channel.metadata.is_terminal:
            self._watchlist.forget(channel.channel_id)
        elif channel.metadata.manifest.expectations:
            machine = channel.machine
            if machine is not None:
                self._note(channel, self._look(machine, machine.firings))
            elif channel.firings.quiet_at == channel.length:
                # Nothing was awaited when this was its last record.
                self._watchlist.listening.add(channel.channel_id)
            else:
                self._watchlist.look_at(channel.channel_id, self._earliest(channel.metadata))
                self._bell.dates_changed()

    def look(self) -> None:
        """See whether there is something to do, now that time has passed."""
        self._bell.look()

    async def run(self) -> None:
        """Look at the channels in which something is due, until cancelled."""
        while True:
            await self._bell.answer()
            # One by one: what is not asked for yet stays on the list, should this be cancelled.
            for channel_id in self._watchlist.due(self._clock()):
                try:
                    await self._attend(channel_id)
                except StoreError as error:
                    log.warning("expectations wait", channel_id=channel_id, error=error.message)
                    self._watchlist.look_at(channel_id, self._clock() + _AGAIN_SECONDS)
                except NetworkError as error:
                    # No adapter here knows its protocol, or what was kept cannot be read: nobody
                    # can do what is expected either.
                    log.warning(
                        "channel not looked after", channel_id=channel_id, error=error.message
                    )
            self._bell.dates_changed()

    # Inside

    async def _attend(self, channel_id: str) -> None:
        """Look at a channel, and see to what is overdue in it."""
        # However many are due, others have their turn in between.
        await trio.lowlevel.checkpoint()
        while len(self._under_way) >= _UNDER_WAY_MAX:
            with contextlib.suppress(StoreError):  # that is seen to where it was submitted
                await self._under_way[0].wait()
            self._under_way.popleft()
        channel = self._channels.find(channel_id)
        if channel is None or channel.metadata.is_terminal:
            return
        machine = await self._channels.warm(channel)
        fired: set[int] = set()
        while True:
            outlook = self._look(machine, machine.firings)
            fresh = [it for it in outlook.overdue if it.index not in fired]
            if not fresh:
                break
            # One by one: what follows from the first may change what is expected.
            fired.add(fresh[0].index)
            self._under_way.append(self._fire(channel, machine, fresh[0]))
        if outlook.overdue:
            later = self._clock() + _FIRED_SECONDS
            outlook = attrs.evolve(outlook, overdue=(), next_at=later)
        self._note(channel, outlook)

    def _look(self, machine: ChannelMachine, firings: Firings) -> Outlook:
        metadata, now = machine.metadata, self._clock()
        if machine.pulse is None or machine.damage or metadata.is_terminal or self._ends(metadata):
            # Nobody can do anything about it any more.
            return Outlook()
        watched = Watched(
            metadata=metadata,
            state=machine.state,
            turn=machine.expected_next(),
            pulse=machine.pulse,
        )

        def broken(expectation: Expectation, error: Exception) -> None:
            key = (metadata.manifest.type, expectation.name)
            if key not in self._broken:
                self._broken.add(key)
                log.error("expectation not looked after", name=key[1], exc_info=error)

        return look(watched, firings, self._registry, now, broken)

    def _ends(self, metadata: ChannelMetadata) -> bool:
        """Whether the caretaker is about to end a channel."""
        now = self._clock()
        try:
            if metadata.expires_at is not None and seconds_from_iso(metadata.expires_at) <= now:
                return True
            return (
                metadata.state is ChannelState.PENDING
                and seconds_from_iso(metadata.created_at) + self._invite_ack_timeout <= now
            )
        except ValueError:
            # It has no dates that the caretaker could read either.
            return False

    def _fire(self, channel: Channel, machine: ChannelMachine, overdue: Overdue) -> Ticket:
        """Plan and submit what follows from one expectation."""
        violation = overdue.violation
        firings = machine.firings.with_fired(overdue.index, overdue.subjects)
        consequences = self._plan(machine, overdue, firings)
        plan = self._noting_quiet(machine, consequences)

        def durable() -> None:
            log.info(
                "expectation not met",
                channel_id=channel.channel_id,
                expectation=violation.expectation.name,
                on_violation=violation.expectation.on_violation,
            )
            self._announcer.expectation_fired(
                channel.metadata, violation, consequences.hidden, consequences.removed
            )

        def settled(error: StoreError | None) -> None:
            if error is not None:
                # Whether it has fired is unknown; another look reads it back.
                self._watchlist.look_at(channel.channel_id, self._clock() + _AGAIN_SECONDS)
                self._bell.dates_changed()

        ticket = self._channels.violated_nowait(channel, machine, plan, durable)
        ticket.when_settled(settled)
        return ticket

    def _noting_quiet(self, machine: ChannelMachine, consequences: Consequences) -> Plan:
        """Note in a plan whether nothing has a deadline any more once it has happened."""
        plan = consequences.plan
        assert plan.firings is not None, "it says what has fired"
        quiet_at = None
        if plan.metadata is machine.metadata and not consequences.hidden:
            # What is said to say so changes nothing that anybody awaits.
            after = self._look(machine, plan.firings)
            if after.next_at is None and not after.overdue:
                quiet_at = machine.length + len(plan.envelopes)
        return attrs.evolve(plan, firings=attrs.evolve(plan.firings, quiet_at=quiet_at))

    def _plan(self, machine: ChannelMachine, overdue: Overdue, firings: Firings) -> Consequences:
        """Plan what follows; where that fails, it has fired and nothing follows."""
        violation = overdue.violation
        stamp = self._channels.stamp()
        actions: tuple[Action, ...] = ()
        try:
            handler = self._registry.handler(violation.expectation.on_violation)
            actions = tuple(handler.actions(violation, machine.metadata))
            consequences = plan_violation(machine, violation, actions, firings, stamp)
            self._channels.check_size(machine, consequences.plan)
            return consequences
        except Exception as error:  # of a handler, of an adapter; none may cost the hub
            log.error(  # noqa: TRY400  (an error that was foreseen needs no traceback)
                "nothing follows",
                channel_id=machine.metadata.channel_id,
                expectation=violation.expectation.name,
                exc_info=None if isinstance(error, NetworkError) else error,
                error=str(error),
            )
        plan = Plan((), machine.metadata, machine.state)
        for one in actions:
            if isinstance(one, CloseChannel):
                # No adapter can prevent the end of a channel; only the limit of bytes can.
                ended = machine.plan_end(ChannelState.CLOSED, one.reason, stamp)
                assert ended is not None, "nothing fires in a channel that has ended"
                with contextlib.suppress(TooLarge):
                    self._channels.check_size(machine, ended)
                    plan = ended
                break
        return Consequences(attrs.evolve(plan, firings=firings))

    def _note(self, channel: Channel, outlook: Outlook) -> None:
        if outlook.overdue:
            # Who looked has no time to see to it.
            outlook = attrs.evolve(outlook, next_at=self._clock())
        self._watchlist.looked(channel.channel_id, outlook)
        self._bell.dates_changed()

    def _earliest(self, metadata: ChannelMetadata) -> float:
        """Return before when nothing can be due in a channel whose log was not read."""
        try:
            created_at = seconds_from_iso(metadata.created_at)
            earliest = created_at + min(
                self._registry.evaluator(one.name).seconds_of(one)
                for one in metadata.manifest.expectations
            )
        except Exception:  # an evaluator is not there, or raises whatever it likes
            earliest = math.nan
        # Where parameters mean nothing, a look will tell.
        return earliest if math.isfinite(earliest) else self._clock()
