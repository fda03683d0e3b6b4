"""
Warm channels and cold ones: which channels a hub has, and what of them is in memory.

A channel is *cold* until somebody touches it: only its metadata is in memory. Warming it reads
its log and folds it to a machine. A channel whose commit failed is cold again and *in doubt*:
what the disk really holds is read back before anything is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from .._logging import get_logger
from ..errors import FrameError, NotFoundError, StoreError
from ..protocol.adapters import AdapterRegistry
from ..protocol.channel import ChannelMachine
from ..protocol.expectations import Firings
from ..protocol.federation import Recipients, ReflectedMachine
from ..records import ChannelMetadata, ChannelState
from ..stores import KnowledgeStore
from ..wire.validation import decode_strictly
from . import paths
from .channel import Channel, LogListener
from .channel_index import ChannelIndex
from .log_folder import LogFolder
from .log_reader import LogReader
from .snapshots import Snapshots

__all__ = ["Warming", "parted"]

log = get_logger(__name__)


class Warming:
    """
    The part of `ChannelBook` that finds channels, and makes their machines.

    Args:
        store: Where the logs are read from.
        adapters: The rules of each type.
        page_records_max: How many records are read at once.
        listener: Told what is in the logs.
        recipients_of: Works out who is owed what in a channel.
        snapshots: Keep what folding a log builds.
        on_change: Told of a channel whose metadata is durable in a new form.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        adapters: AdapterRegistry,
        page_records_max: int,
        listener: LogListener,
        recipients_of: Callable[[ChannelMetadata, Firings], Recipients],
        snapshots: Snapshots,
        on_change: Callable[[Channel], None],
    ) -> None:
        self._store = store
        self.adapters = adapters
        self._listener = listener
        self._recipients_of = recipients_of
        self._snapshots = snapshots
        self._on_change = on_change
        self._index = ChannelIndex()
        self.logs = LogReader(store, page_records_max, self._index.__contains__)
        self._folder = LogFolder(store, self.logs, snapshots, page_records_max)
        # Cold since a commit failed: what their logs hold must be read before anything is said.
        self._doubtful: dict[Channel, None] = {}
        #: Channels that were found damaged since the hub opened, and why.
        self.damages: dict[str, str] = {}

    def load(
        self,
        documents: Mapping[str, bytes],
        lengths: Mapping[str, int],
        firsts: Mapping[str, int],
    ) -> list[str]:
        """
        Take what the store holds below ``/channels``. Logs are not read yet.

        Args:
            documents: By path.
            lengths: Of the logs, by path.
            firsts: Where those begin that were trimmed, by path.

        Returns:
            One sentence for each channel that was set aside.
        """
        problems: list[str] = []
        for path, data in documents.items():
            channel_id, _, what = path.removeprefix(f"{paths.CHANNELS}/").partition("/")
            if what != "metadata":
                continue
            try:
                metadata = decode_strictly(data, ChannelMetadata, "channel metadata")
                # Without it, nobody could tell how its log is to be folded.
                firings = _decode_firings(documents.get(paths.channel_firings(channel_id)))
            except FrameError as error:
                problems.append(f"channel {channel_id} is set aside: {error}")
                continue
            log_path = paths.channel_log(channel_id)
            length, first = lengths.get(log_path, 0), firsts.get(log_path, 0)
            if not length:
                # A channel is kept together with its first envelopes, so they were there once.
                problems.append(f"channel {channel_id} is damaged: its log cannot be read")
            recipients = self._recipients_of(metadata, firings)
            self._keep(
                Channel(metadata, length, recipients, first, firings, announced=metadata.state)
            )
        return problems

    # Lookup

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._index)

    def get(self, channel_id: str) -> Channel:
        """Return a channel, or raise `NotFoundError`."""
        return self._index.get(channel_id)

    def find(self, channel_id: str) -> Channel | None:
        """Return a channel, or None."""
        return self._index.find(channel_id)

    def of_agent(self, agent_id: str) -> Iterator[Channel]:
        """Return the channels that an agent takes part in, oldest first."""
        return self._index.of_agent(agent_id)

    def count_open_of(self, creator_id: str) -> int:
        """Return how many channels that an agent created have not ended."""
        return self._index.count_open_of(creator_id)

    async def warm(self, channel: Channel) -> ChannelMachine:
        """
        Return a channel's machine, read from its log first where it is cold.

        Raises:
            NotFoundError: The hub has no adapter for it.
            StoreError: Its log cannot be read at all.

        Cancellation: it stays cold. There is no checkpoint where it is warm.
        """
        machine = channel.machine
        if machine is not None:
            return machine
        async with channel.loading:
            if channel.machine is None:
                # Somebody who was here before may have found that it never came to be, and
                # another one may have come under its id.
                if self._index.find(channel.channel_id) is not channel:
                    raise NotFoundError(f"no channel with id {channel.channel_id!r}")
                await self._load(channel)
            assert channel.machine is not None
            return channel.machine

    @property
    def in_doubt(self) -> bool:
        """Whether there are channels whose last commit failed and that were not read since."""
        return bool(self._doubtful)

    async def settle_doubts(self) -> None:
        """
        Read back every channel whose last commit failed.

        Raises:
            StoreError: Not all of them could be read.
        """
        failure: StoreError | None = None
        for channel in list(self._doubtful):
            try:
                await self.warm(channel)
            except NotFoundError:
                self._doubtful.pop(channel, None)
            except StoreError as error:
                failure = error
        if failure is not None:
            raise failure

    # Inside

    async def _load(self, channel: Channel) -> None:
        """Read and fold a cold channel."""
        metadata, firings = await self._durable_documents(channel)
        folded = await self._folder.fold(
            channel,
            lambda: self._machine(channel, metadata, firings),
            self._listener.counter if channel.failure is None else None,
        )
        machine, counter, unseen = folded.machine, folded.counter, folded.unseen
        channel.takes_records = folded.takes_records
        if machine.damage:
            log.error("channel damaged", channel_id=channel.channel_id, damage=machine.damage)
            self.damages[channel.channel_id] = machine.damage
        # Only now: had the reading failed, what lies behind its `length` would count as handed on.
        channel.length = max(channel.length, folded.length)
        gone = parted(channel.metadata, metadata)
        channel.metadata, channel.firings = metadata, firings
        channel.machine = machine
        channel.failure = None
        self._doubtful.pop(channel, None)
        if gone:
            self._part_with(channel, gone)
        if counter is not None:
            counter.done()
        elif unseen:
            # The outcome of the failed commit was unknown: here is what it really kept.
            self._listener.extended(channel, unseen)
        self._changed(channel)
        self._snapshots.grown(channel)

    def _machine(
        self, channel: Channel, metadata: ChannelMetadata, firings: Firings
    ) -> ChannelMachine:
        if channel.recipients.is_reflection:
            return ReflectedMachine(metadata, channel.recipients.far, firings)
        return ChannelMachine(metadata, self.adapters.for_manifest(metadata.manifest), firings)

    async def _durable_documents(self, channel: Channel) -> tuple[ChannelMetadata, Firings]:
        if channel.failure is None:
            return channel.metadata, channel.firings
        data = await self._store.read(paths.channel_metadata(channel.channel_id))
        if data is None:
            self._drop(channel)
            raise NotFoundError(f"no channel with id {channel.channel_id!r}") from channel.failure
        firings = await self._store.read(paths.channel_firings(channel.channel_id))
        return decode_strictly(data, ChannelMetadata, "channel metadata"), _decode_firings(firings)

    def _doubt(self, channel: Channel, error: StoreError) -> None:
        """Believe nothing of a channel whose commit failed until its log has been read."""
        channel.machine = None
        channel.failure = error
        self._doubtful[channel] = None

    def _changed(self, channel: Channel) -> None:
        if channel.metadata.state is not ChannelState.PENDING:
            channel.settled_open.set()
        if channel.metadata.is_terminal:
            self._index.ended(channel)
        self._on_change(channel)

    def _keep(self, channel: Channel) -> None:
        self._index.add(channel)
        if channel.metadata.state is not ChannelState.PENDING:
            channel.settled_open.set()

    def _part_with(self, channel: Channel, agent_ids: Collection[str]) -> None:
        """Take agents out of a channel that they take no part in any more."""
        if agent_ids:
            channel.recipients = self._recipients_of(channel.metadata, channel.firings)
            self._index.part(channel, agent_ids)
            self._listener.left(channel, agent_ids)

    def _drop(self, channel: Channel) -> None:
        """Forget a channel that never came to be, or is no more."""
        self.damages.pop(channel.channel_id, None)
        self._doubtful.pop(channel, None)
        self._index.remove(channel)
        self._listener.dropped(channel)
        channel.settled_open.set()


def _decode_firings(data: bytes | None) -> Firings:
    return Firings() if data is None else decode_strictly(data, Firings, "firings")


def parted(before: ChannelMetadata, after: ChannelMetadata) -> frozenset[str]:
    """Return who took part in a channel before, and does not afterwards."""
    return frozenset(before.participant_ids).difference(after.participant_ids)
