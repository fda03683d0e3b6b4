"""
The channels of a hub: their machines in memory, their logs in the store, and the posts between.

Once a channel is warm (`Warming`) a post costs the same however long its log is: plan, apply and
submit happen without a checkpoint in between, so that no lock is needed and the order of the log
is the order of the posts.

What is applied in memory may be ahead of the disk by as much as is being committed. Should that
commit fail, every channel that was in it is made cold again, and what the disk really holds
decides how it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

import attrs

from ..errors import ProtocolError, StoreError
from ..ids import Now, iso_from_seconds
from ..protocol.adapters import AdapterRegistry
from ..protocol.channel import ChannelMachine
from ..protocol.expectations import Firings
from ..protocol.federation import Recipients, ReflectedMachine
from ..protocol.plan import Plan, Stamp
from ..records import ChannelMetadata, ChannelState, Envelope
from ..stores import Append, Change, Delete, KnowledgeStore, Put
from ..wire.validation import encode
from . import paths
from .channel import Channel, LogCounter, LogListener, Posted
from .committer import Committer, Ticket
from .limits import HubLimits
from .log_record import LogRecord, write_records
from .snapshots import Snapshots
from .warming import Warming, parted

__all__ = ["Channel", "ChannelBook", "LogCounter", "LogListener", "LogRecord", "Posted"]


class ChannelBook(Warming):
    """
    All channels.

    Args:
        store: Where the logs are read from.
        committer: Writes what happens.
        adapters: The rules of each type.
        mint: Makes channel and envelope ids.
        clock: Seconds since 1970.
        limits: The hub's.
        listener: Told what is in the logs.
        recipients_of: Works out who is owed what in a channel.
        snapshots: Keep what folding a log builds.
        on_change: Told of a channel whose metadata is durable in a new form.
        listening: The ids of channels that are to be looked at after whatever happens next.
        on_activity: Told of one of them in which something has happened.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        committer: Committer,
        adapters: AdapterRegistry,
        mint: Callable[[], str],
        clock: Now,
        limits: HubLimits,
        listener: LogListener,
        recipients_of: Callable[[ChannelMetadata, Firings], Recipients],
        snapshots: Snapshots,
        on_change: Callable[[Channel], None],
        listening: Collection[str] = frozenset(),
        on_activity: Callable[[Channel], None] = lambda _channel: None,
    ) -> None:
        super().__init__(
            store,
            adapters,
            limits.page_records_max,
            listener,
            recipients_of,
            snapshots,
            on_change,
        )
        self._committer = committer
        self.mint = mint
        self._clock = clock
        self._limits = limits
        self._listening = listening
        self._on_activity = on_activity
        # Posts that can be repeated (by key; answers of invites, by cause) and whose commit is
        # under way, so that a second one can join the first.
        self._in_flight: dict[str, Ticket] = {}
        # The time of the last stamp, as text: the same moment need not be written twice.
        self._stamped_at = (0.0, "")

    def stamp(self) -> Stamp:
        """Return the stamp for what is accepted now."""
        now = self._clock()
        if now != self._stamped_at[0]:
            self._stamped_at = (now, iso_from_seconds(now))
        return Stamp(self.mint, self._stamped_at[1])

    # What happens to channels. Nothing of this has a checkpoint.

    def create_nowait(self, metadata: ChannelMetadata) -> tuple[Channel, Ticket]:
        """
        Plan and submit a new channel with its invites.

        Raises:
            ProtocolError: The adapter refuses it.
        """
        recipients = self._recipients_of(metadata, Firings())
        if recipients.is_reflection:
            raise ProtocolError(
                f"{metadata.creator_id} lives at another hub, and opens its channels there"
            )
        adapter = self.adapters.for_manifest(metadata.manifest)
        machine, plan = ChannelMachine.plan_create(metadata, adapter, self.stamp())
        return self._create(Channel(metadata, 0, recipients, machine=machine), machine, plan)

    def reflect_nowait(self, metadata: ChannelMetadata, invite: Envelope) -> tuple[Channel, Ticket]:
        """
        Plan and submit the reflection of another hub's channel, which begins with an invite.

        Raises:
            ProtocolError: Its creator lives here, or nobody who takes part does.
        """
        recipients = self._recipients_of(metadata, Firings())
        if not recipients.is_reflection or recipients.far.issuperset(metadata.participant_ids):
            raise ProtocolError(f"channel {metadata.channel_id} is no channel of another hub's")
        # Dates are by the clock of this hub, whatever others say.
        metadata = attrs.evolve(metadata, created_at=iso_from_seconds(self._clock()))
        machine, plan = ReflectedMachine.plan_reflect(
            metadata, recipients.far, invite, self.stamp()
        )
        return self._create(Channel(metadata, 0, recipients, machine=machine), machine, plan)

    def _create(
        self, channel: Channel, machine: ChannelMachine, plan: Plan
    ) -> tuple[Channel, Ticket]:
        records = self._encode(machine, plan)
        self._keep(channel)
        self._listener.counter(channel, {}).done()
        ticket = self._submit(channel, machine, plan, records, is_new=True)
        return channel, ticket

    def post_nowait(self, channel: Channel, machine: ChannelMachine, envelope: Envelope) -> Posted:
        """
        Plan and submit a post, or join the one that it repeats.

        Raises:
            ProtocolError: The channel, its protocol or the idempotency key forbids it.
            TooLarge: It is over `envelope_bytes_max`.
        """
        assert channel.machine is machine, f"channel {channel.channel_id} has gone cold meanwhile"
        plan = machine.plan_post(envelope, self.stamp())
        if plan.duplicate_of is not None:
            return Posted(plan.duplicate_of, self._in_flight.get(plan.duplicate_of))
        records = self._encode(machine, plan)
        ticket = self._submit(channel, machine, plan, records)
        envelope_id = plan.envelopes[0].envelope_id
        if envelope.idempotency_key is not None or envelope.causation_id is not None:
            self._in_flight[envelope_id] = ticket
        return Posted(envelope_id, ticket)

    def end_nowait(
        self, channel: Channel, machine: ChannelMachine, state: ChannelState, reason: str
    ) -> Ticket | None:
        """Plan and submit the end of a channel. None where it has ended before."""
        plan = machine.plan_end(state, reason, self.stamp())
        if plan is None:
            return None
        if not channel.takes_records:
            # Its end is noted, and cannot be said in its log.
            plan = attrs.evolve(plan, envelopes=())
        return self._submit(channel, machine, plan, self._encode(machine, plan))

    def check_size(self, machine: ChannelMachine, plan: Plan) -> None:
        """Raise `TooLarge` where a plan would say more at once than a channel takes."""
        self._encode(machine, plan)

    def violated_nowait(
        self,
        channel: Channel,
        machine: ChannelMachine,
        plan: Plan,
        on_durable: Callable[[], None],
    ) -> Ticket:
        """
        Submit what follows from an expectation that was not met.

        Args:
            on_durable: Called when it is.
        """
        records = self._encode(machine, plan)
        return self._submit(channel, machine, plan, records, then=on_durable)

    async def remove(self, channel: Channel, changes: Sequence[Change]) -> None:
        """
        Take a channel that has ended out of the store, and then out of memory.

        Args:
            changes: What else goes in the same batch.

        Raises:
            StoreError: It may or may not be gone from the store. Remove it again.

        Durability: it is gone when it returns. Cancellation: it goes all the same.
        """
        assert channel.metadata.is_terminal, f"channel {channel.channel_id} has not ended"
        gone = [
            Delete(paths.channel_metadata(channel.channel_id)),
            Delete(paths.channel_log(channel.channel_id)),
            Delete(paths.channel_firings(channel.channel_id)),
            *self._snapshots.removal(channel),
        ]
        ticket = self._committer.submit(
            [*gone, *changes], lambda: self._drop(channel), partial(self._doubt, channel)
        )
        await ticket.wait()

    # Reading

    async def read(
        self,
        channel: Channel,
        start: int,
        stop: int | None,
        wanted: Callable[[LogRecord], bool] | None = None,
    ) -> list[LogRecord]:
        """Read a slice of a log, as far as it is durable. See `LogReader.read`."""
        start, stop = channel.durable_slice(start, stop)
        return await self.logs.read(channel.channel_id, start, stop, wanted)

    async def read_page(self, channel: Channel, start: int, stop: int) -> list[LogRecord]:
        """Read a slice of a log, or the beginning of it. See `LogReader.read_page`."""
        start, stop = channel.durable_slice(start, stop)
        return await self.logs.read_page(channel.channel_id, start, stop)

    async def read_as_it_stands(self, channel: Channel, position: int) -> bytes:
        """Read one record as it stands in the log; nothing where it cannot be read. Raises as `read`."""
        start, stop = channel.durable_slice(position, position + 1)
        return await self.logs.read_as_it_stands(channel.channel_id, start) if start < stop else b""

    async def read_one(self, channel: Channel, position: int) -> LogRecord | None:
        """Read one record, or return None where nothing durable stands there. Raises as `read`."""
        records = await self.read(channel, position, position + 1)
        return records[0] if records else None

    async def position_of(self, channel: Channel, envelope_id: str, start: int = 0) -> int | None:
        """Find an envelope by id, or None where the log has none of that id from `start` on."""
        start = max(start, channel.first)
        return await self.logs.position_of(channel.channel_id, start, channel.length, envelope_id)

    # Inside

    def _encode(self, machine: ChannelMachine, plan: Plan) -> list[LogRecord]:
        return write_records(plan.envelopes, machine.length, self._limits.envelope_bytes_max)

    def _submit(
        self,
        channel: Channel,
        machine: ChannelMachine,
        plan: Plan,
        records: list[LogRecord],
        *,
        is_new: bool = False,
        then: Callable[[], None] | None = None,
    ) -> Ticket:
        path = paths.channel_log(channel.channel_id)
        changes: list[Change] = [Append(path, record.raw, record.position) for record in records]
        changed = is_new or plan.metadata is not machine.metadata
        if changed:
            document = encode(plan.metadata)
            changes.append(Put(paths.channel_metadata(channel.channel_id), document))
        gone: frozenset[str] = frozenset()
        if plan.firings is not None:
            gone = parted(machine.metadata, plan.metadata)
            changes.append(Put(paths.channel_firings(channel.channel_id), encode(plan.firings)))
        machine.apply(plan)

        def durable() -> None:
            channel.length += len(records)
            channel.metadata = plan.metadata
            if plan.firings is not None:
                channel.firings = plan.firings
                self._part_with(channel, gone)
            self._forget_in_flight(plan)
            self._listener.extended(channel, records)
            self._snapshots.grown(channel)
            if changed:
                self._changed(channel)
            elif plan.firings is None and channel.channel_id in self._listening:
                self._on_activity(channel)
            if then is not None:
                then()

        def failed(error: StoreError) -> None:
            self._forget_in_flight(plan)
            self._doubt(channel, error)

        return self._committer.submit(changes, durable, failed)

    def _forget_in_flight(self, plan: Plan) -> None:
        if self._in_flight and plan.envelopes:
            self._in_flight.pop(plan.envelopes[0].envelope_id, None)
