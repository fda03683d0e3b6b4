"""One channel of a hub, and who wants to know what is in its log."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

import attrs
import trio

from ..errors import StoreError
from ..protocol.channel import ChannelMachine
from ..protocol.expectations import Firings
from ..protocol.federation import Recipients
from ..protocol.runs import Run
from ..records import ChannelMetadata, ChannelState
from .committer import Ticket
from .log_record import LogRecord

__all__ = ["Channel", "LogCounter", "LogListener", "Owing", "Posted"]


@attrs.define(eq=False)
class Channel:
    """
    One channel.

    Attributes:
        metadata: As it stands on disk. The machine's is ahead by what is being committed; who
            was shown that would believe in an end that may yet fail to be kept.
        length: How many records of its log are durable, those that were trimmed included.
        first: Where its log begins: the records before it were trimmed.
        firings: What has come of its expectations, as it stands on disk.
        machine: None while it is cold.
        settled_open: Set once it is no longer pending, or is gone.
        announced: The state that was told of last; None before anything was.
        recipients: Who is owed what stands in its log.
        takes_records: False where the end of its log is damaged, so that nothing can be appended.
        snapshot_at: How much of its log is in the latest snapshot; see `Snapshots`.
        snapshot_pages: How many pages of what was posted are kept with it.
        loading: Held by who reads its log.
    """

    metadata: ChannelMetadata
    length: int
    recipients: Recipients
    first: int = 0
    firings: Firings = attrs.field(factory=Firings)
    machine: ChannelMachine | None = None
    settled_open: trio.Event = attrs.field(factory=trio.Event)
    failure: StoreError | None = None
    announced: ChannelState | None = None
    takes_records: bool = True
    snapshot_at: int = 0
    snapshot_pages: int = 0
    loading: trio.Lock = attrs.field(factory=trio.Lock)

    @property
    def channel_id(self) -> str:
        """Its id."""
        return self.metadata.channel_id

    def durable_slice(self, start: int, stop: int | None) -> tuple[int, int]:
        """Return what there is of a slice of its log; a `stop` of None is the end."""
        return max(start, self.first), self.length if stop is None else min(stop, self.length)


class Posted(NamedTuple):
    """A post that was accepted; await `ticket` before telling anybody (None: it is durable)."""

    envelope_id: str
    ticket: Ticket | None


@attrs.frozen
class Owing:
    """
    What a channel owed to somebody when a snapshot was taken.

    Attributes:
        cursor: How far it had settled the log; it says nothing any more once that has changed.
        settled: What it had settled above.
        owed: What was addressed to it and not settled.
        length: Of the log, as far as that was counted.
    """

    cursor: int
    settled: tuple[Run, ...]
    owed: int
    length: int


class LogCounter(Protocol):
    """Sees the log of one channel go by while it is read for the first time."""

    @property
    def lowest(self) -> int:
        """The position from which on records are wanted; those before it may be left out."""

    def add(self, record: LogRecord) -> None:
        """Take the next record."""

    def done(self) -> None:
        """That was the last one. From here on the log only grows."""


class LogListener(Protocol):
    """Who wants to know what is in the logs: the deliveries."""

    def counter(self, channel: Channel, owing: Mapping[str, Owing]) -> LogCounter:
        """
        Return who counts what a channel owes; its log is about to be read.

        Args:
            owing: By agent, what was counted before.
        """

    def extended(self, channel: Channel, records: list[LogRecord]) -> None:
        """A log grew by `records`, and they are durable."""

    def left(self, channel: Channel, agent_ids: Collection[str]) -> None:
        """These take no part in a channel any more, and are owed nothing in it."""

    def dropped(self, channel: Channel) -> None:
        """A channel never came to be, or is no more; another may come under its id."""
