"""What a hub can be asked about channels and what is said in them, in the same process."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import attrs
import trio

from .._logging import get_logger
from ..errors import NotFoundError, RecordsTrimmed
from ..ids import Now
from ..records import (
    EV_TEXT,
    ChannelMetadata,
    ChannelState,
    Duration,
    Envelope,
    Expectation,
    PendingTurn,
)
from . import paths
from .admission import Admission
from .announcer import Announcer
from .ceilings import check_ttl
from .channels import Channel, ChannelBook
from .committer import Committer
from .drafting import (
    ChannelWish,
    channel_id_for,
    check_number,
    draft_channel,
    never_opened,
    why_not_opened,
)
from .expectations import Expectations
from .federation import FederationApi
from .gate import Gate
from .limits import HubLimits
from .log_record import EnvelopeHead, LogRecord
from .posting import Posting
from .registry import Registry
from .tails import Tails
from .trimming import Trimming

__all__ = ["ChannelApi"]

log = get_logger(__name__)


class ChannelApi(FederationApi):
    """The part of `Hub` that is about channels. `Hub` fills in what it works with."""

    channels: ChannelBook
    _gate: Gate
    _clock: Now
    _limits: HubLimits
    _tails: Tails
    _invite_ack_timeout: float
    _registry: Registry
    _posting: Posting
    _committer: Committer
    _admission: Admission
    _announcer: Announcer
    _expectations: Expectations
    _trimming: Trimming

    async def create_channel(
        self,
        *,
        creator_id: str,
        manifest_type: str,
        participants: Sequence[str],
        manifest_version: int = 1,
        required_acks: int | None = None,
        ttl: Duration | None = None,
        knobs: Mapping[str, Any] | None = None,
        intent: str | None = None,
        labels: Mapping[str, str] | None = None,
        expectations: Sequence[Expectation] | None = None,
        idempotency_key: str | None = None,
    ) -> ChannelMetadata:
        """
        Open a channel: invite everybody, and return once they have accepted.

        Args:
            participants: Agent ids; the creator is added in front where it is missing.
            required_acks: How many must accept; None is all.
            ttl: How long it may live; None is what the creator's rule says, 0 for ever.
            expectations: What is expected in it, and what follows when it does not come; in place
                of what the type says. None leaves that as it is.
            idempotency_key: Asking again under the same key gives the channel that was opened
                first, also after a restart.

        Raises:
            NotFoundError: The type, the creator, a participant, or something that an expectation
                names is unknown.
            AccessDeniedError: The arbiter does not allow it (or what else it denies with), or an
                operator's rule does not, its longest TTL included.
            ProtocolError: The adapter refuses such a channel, an expectation makes no sense,
                somebody declined, or not all answered within `invite_ack_timeout`.
            StoreError: It could not be kept.

        Cancellation: the channel may stay pending; it closes itself when the time is over.
        """
        self._gate.check()
        channel_id = self.channels.mint()
        if idempotency_key is not None:
            channel_id = channel_id_for(creator_id, idempotency_key)
            opened = await self._opened_before(channel_id)
            if opened is not None:
                return opened
        check_number(participants, participants_max=self._limits.participants_max)
        creator = self._registry.get(creator_id)
        members = [self._registry.get(agent_id) for agent_id in participants]
        manifest = self.channels.adapters.get(manifest_type, manifest_version).manifest
        self._admission.check_open(
            manifest, creator, members, self.channels.count_open_of(creator_id)
        )
        if expectations is not None:
            manifest = attrs.evolve(manifest, expectations=tuple(expectations))
        wish = ChannelWish(
            creator_id=creator_id,
            manifest=manifest,
            participants=participants,
            required_acks=required_acks,
            ttl=creator.rule.limits.channel_ttl_default if ttl is None else ttl,
            knobs=knobs or {},
            labels={**(labels or {}), **({"intent": intent} if intent else {})},
        )
        metadata = draft_channel(
            wish,
            channel_id,
            self._clock(),
            participants_max=self._limits.participants_max,
        )
        check_ttl(creator, wish.ttl)
        self._expectations.check(metadata)
        channel, ticket = self.channels.create_nowait(metadata)
        await ticket.wait()
        return await self._when_opened(channel)

    async def _opened_before(self, channel_id: str) -> ChannelMetadata | None:
        """Return the channel that the same request opened before, or None where it did not."""
        while (channel := self.channels.find(channel_id)) is not None:
            try:
                await self.channels.warm(channel)
            except NotFoundError:
                if self.channels.find(channel_id) is channel:
                    raise
                # It was never kept: the commit that should have failed. Who asks for the same at
                # the same time may have opened it anew already.
                continue
            return await self._when_opened(channel)
        return None

    async def _when_opened(self, channel: Channel) -> ChannelMetadata:
        """Wait for the invitees; raise `ProtocolError` where they do not let it open."""
        with trio.move_on_after(self._invite_ack_timeout):
            await channel.settled_open.wait()
        if not channel.settled_open.is_set():
            # The last answer may have come in time; then the disk has yet to say so.
            await self._committer.caught_up()
        if channel.metadata.state is ChannelState.PENDING:
            await self.close_channel(channel.channel_id, reason="invite_timeout")
        if never_opened(channel.metadata):
            raise why_not_opened(channel.metadata)
        return channel.metadata

    def find_channel(self, channel_id: str) -> ChannelMetadata | None:
        """Return a channel's metadata, or None."""
        channel = self.channels.find(channel_id)
        return None if channel is None else channel.metadata

    def get_channel(self, channel_id: str) -> ChannelMetadata:
        """Return a channel's metadata. Raises `NotFoundError`."""
        return self.channels.get(channel_id).metadata

    def list_channels(
        self, *, agent_id: str | None = None, limit: int | None = 50
    ) -> list[ChannelMetadata]:
        """Return the channels of an agent (None: of everybody), oldest first."""
        channels = self.channels if agent_id is None else self.channels.of_agent(agent_id)
        return [channel.metadata for channel in islice(channels, limit)]

    async def close_channel(self, channel_id: str, *, reason: str = "") -> ChannelMetadata:
        """
        Close a channel; what it owes is still delivered. Nothing happens where it has ended.

        One that belongs to another hub is closed by that, in a while.

        Raises:
            NotFoundError: There is no such channel.
            StoreError: It could not be kept.

        Cancellation: it may or may not be closed.
        """
        channel = self.channels.get(channel_id)
        if channel.recipients.is_reflection:
            await self._wish_closed(channel, reason or "explicit_close")
            return channel.metadata
        machine = await self.channels.warm(channel)
        ticket = self.channels.end_nowait(
            channel, machine, ChannelState.CLOSED, reason or "explicit_close"
        )
        if ticket is not None:
            await ticket.wait()
        else:
            # Ended before, but perhaps not yet on disk.
            await self._committer.caught_up()
        return channel.metadata

    async def post_envelope(self, envelope: Envelope) -> str:
        """
        Post an envelope and return its id. It is on disk when this returns.

        Raises:
            NotFoundError: The sender or the channel is unknown.
            ProtocolError: The channel's protocol does not allow it now, or its idempotency key
                was used for something else.
            AccessDeniedError: The arbiter does not allow it.
            RateLimited: The sender's rate is used up.
            InboxFull: A recipient has too much unsettled.
            TooLarge: It is over `HubLimits.envelope_bytes_max`, or what a workflow would remember
                of it is over a bound.
            StoreError: Whether it was kept is unknown; post again under the same key.

        Cancellation: it may or may not be kept. With an idempotency key, posting again finds out.
        """
        envelope_id, ticket = await self._posting.post(envelope)
        if ticket is not None:
            await ticket.wait()
        return envelope_id

    async def read_wal(
        self, channel_id: str, *, since: int = 0, until: int | None = None
    ) -> list[Envelope]:
        """Return the envelopes at positions `since` to `until` (exclusive) that can be read."""
        records = await self.read_records(channel_id, since, until)
        return [record.envelope for record in records if record.envelope is not None]

    async def read_records(self, channel_id: str, since: int, until: int | None) -> list[LogRecord]:
        """Return a slice of a channel's log as it stands there."""
        return await self.channels.read(self.channels.get(channel_id), since, until)

    async def read_raw(
        self,
        channel_id: str,
        since: int,
        until: int | None,
        wanted: Callable[[EnvelopeHead], bool],
        bytes_max: int,
    ) -> list[bytes]:
        """
        Return the same as bytes, those that are `wanted`.

        Raises:
            TooLarge: They have more bytes than that together; little more has been read.
        """
        channel = self.channels.get(channel_id)
        start, stop = channel.durable_slice(since, until)
        return await self.channels.logs.read_raw(channel_id, start, stop, wanted, bytes_max)

    async def read_tail_records(
        self,
        channel_id: str,
        limit: int,
        *,
        before: int | None = None,
        wanted: Callable[[LogRecord], bool] = lambda record: record.envelope is not None,
        reader: Hashable | None = None,
        bytes_max: float = math.inf,
    ) -> tuple[int, list[LogRecord]]:
        """
        Return the last records of a channel's log that are wanted, in log order.

        Args:
            limit: At most so many.
            before: Below this position; None is the end of the log.
            wanted: Which ones count.
            reader: Stands for what is wanted, where that is always the same for a record: then it
                is remembered where that stands. None has nothing remembered.
            bytes_max: At most so many bytes together, but always one record where there is one.

        Returns:
            Where the reading stopped (go on below it; 0: there is no more), and the records.
        """
        channel = self.channels.get(channel_id)
        return await self._tails.read(
            channel, limit, before=before, wanted=wanted, reader=reader, bytes_max=bytes_max
        )

    async def find_envelope_by_causation(
        self, channel_id: str, *, sender_id: str, causation_id: str
    ) -> Envelope | None:
        """Return the first envelope that an agent posted because of another one, or None."""
        record = await self.find_record_by_causation(
            channel_id, sender_id=sender_id, causation_id=causation_id
        )
        return None if record is None else record.envelope

    async def find_record_by_causation(
        self, channel_id: str, *, sender_id: str, causation_id: str
    ) -> LogRecord | None:
        """
        Return the same as `find_envelope_by_causation`, as it stands in the log.

        Raises:
            NotFoundError: There is no such channel.
            RecordsTrimmed: It was posted, and is not kept any more.
        """
        channel = self.channels.get(channel_id)
        machine = await self.channels.warm(channel)
        position = machine.position_by_cause(sender_id, causation_id)
        if position is None:
            return None
        if position >= channel.length:
            # It is on its way to the disk, and whoever asks wants to know how that ends.
            await self._committer.caught_up()
        record = await self.channels.read_one(channel, position)
        if record is None and position < channel.first:
            raise RecordsTrimmed(
                f"what {sender_id} posted because of {causation_id} in channel {channel_id} was "
                f"trimmed: the log begins at {channel.first}",
                path=paths.channel_log(channel_id),
                first=channel.first,
            )
        return record

    async def can_send(
        self, channel_id: str, sender_id: str, *, event_type: str | None = None
    ) -> bool:
        """
        Whether a channel's protocol would take a post of an agent now, and it has not ended.

        That is what AG2's hubs answer: rules, rates and full inboxes are looked at when there is
        a post. False where there is no such channel, or the agent takes no part.

        Args:
            event_type: Of this type; None is text.
        """
        channel = self.channels.find(channel_id)
        if channel is None:
            return False
        machine = await self.channels.warm(channel)
        event_type = event_type or EV_TEXT
        if not machine.can_send(sender_id, event_type):
            return False
        if channel.recipients.is_reflection:
            return await self._may_send_far(channel, sender_id, event_type)
        return True

    async def pending_turns_for(
        self,
        agent_id: str,
        *,
        channel_id: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[PendingTurn]:
        """
        Return the turns that the protocols of an agent's channels expect of it, by channel id.

        Args:
            channel_id: Only the one of this channel, if the agent takes part in it; no other one is
                looked at. None is all channels.
            limit: At most so many; None is all.
            after: Those in channels behind this one.
        """
        turns: list[PendingTurn] = []
        channels = (
            it
            for it in self._channels_of(agent_id, channel_id)
            if not it.metadata.is_terminal and (after is None or it.channel_id > after)
        )
        for channel in sorted(channels, key=lambda it: it.channel_id):
            if limit is not None and len(turns) >= limit:
                break
            turn = await self._turn_in(channel, agent_id)
            if turn is not None:
                turns.append(turn)
        return turns

    def _channels_of(self, agent_id: str, channel_id: str | None) -> Iterable[Channel]:
        """Return an agent's channels, or only the one of that id."""
        if channel_id is None:
            return self.channels.of_agent(agent_id)
        channel = self.channels.find(channel_id)
        if channel is None or agent_id not in channel.metadata.participant_ids:
            return []
        return [channel]

    async def _turn_in(self, channel: Channel, agent_id: str) -> PendingTurn | None:
        if channel.metadata.is_terminal:
            return None
        expected = (await self.channels.warm(channel)).expected_next()
        if expected is None or expected.agent_id != agent_id:
            return None
        trigger = expected.triggering_envelope_id
        since = channel.metadata.created_at
        if trigger is not None:
            position = await self.channels.position_of(channel, trigger)
            if position is not None:
                record = await self.channels.read_one(channel, position)
                if record is not None and record.envelope is not None:
                    since = record.envelope.created_at
        return PendingTurn(
            channel_id=channel.channel_id, triggering_envelope_id=trigger, expected_at=since
        )

    async def trim_due(self) -> int:
        """
        Trim the logs of open channels that the retention of this hub does not keep; return how
        many records went.

        The hub does so by itself as time passes and channels grow; this waits for it. What could
        not be cut (somebody has not settled it, the disk is full) is tried again later.

        Durability: they are gone from the store, and in the archive, when it returns.
        Cancellation: what was cut is cut.
        """
        return await self._trimming.trim_due()

    async def report_turn_failure(
        self, *, channel_id: str, agent_id: str, envelope_id: str, error: str
    ) -> None:
        """Take note that an agent's handler failed. The audit log has it when this returns."""
        log.warning(
            "turn failed",
            channel_id=channel_id,
            agent_id=agent_id,
            envelope_id=envelope_id,
            error_length=len(error),
        )
        await self._announcer.turn_failed(channel_id, agent_id, envelope_id, error)

    def fire_task_event(self, task_id: str, kind: str, payload: Mapping[str, Any]) -> None:
        """Take note of a task event that a client reports."""
        log.warning("task event", task_id=task_id, kind=kind, field_count=len(payload))
        self._announcer.task_reported(task_id, kind, dict(payload))
