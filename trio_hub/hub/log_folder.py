"""Making the machine of a cold channel: from its latest snapshot, and what came after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from ..errors import DamagedRecord
from ..protocol.channel import ChannelMachine
from ..stores import KnowledgeStore
from . import paths
from .channel import Channel, LogCounter, Owing
from .log_reader import RECORDS_AT_ONCE, LogReader
from .log_record import LogRecord
from .snapshots import Snapshots

__all__ = ["Folded", "LogFolder"]


@attrs.frozen
class Folded:
    """
    What was made of a log.

    Attributes:
        machine: Up to date with it.
        length: How many records it has.
        takes_records: False where its end is damaged.
        counter: Has counted what is owed.
        unseen: What stands at and behind the channel's `length`, where nothing counts it.
    """

    machine: ChannelMachine
    length: int
    takes_records: bool
    counter: LogCounter | None
    unseen: list[LogRecord]


class LogFolder:
    """
    Folds logs.

    Args:
        store: Where they are.
        logs: Reads them.
        snapshots: Spare the reading.
        page: How many records are folded at once; never more than `RECORDS_AT_ONCE`.
    """

    def __init__(
        self, store: KnowledgeStore, logs: LogReader, snapshots: Snapshots, page: int
    ) -> None:
        self._store = store
        self._logs = logs
        self._snapshots = snapshots
        self._page = min(page, RECORDS_AT_ONCE)

    async def fold(
        self,
        channel: Channel,
        new_machine: Callable[[], ChannelMachine],
        counter_of: Callable[[Channel, Mapping[str, Owing]], LogCounter] | None,
    ) -> Folded:
        """
        Make a machine of a channel's log.

        Args:
            new_machine: Makes one that has folded nothing.
            counter_of: Returns who counts what stands in the log.

        Raises:
            StoreError: It cannot be read at all.
        """
        channel_id, known = channel.channel_id, channel.length
        machine, takes_records = new_machine(), True
        if channel.failure is not None:
            # A trim may be what failed, and nobody knows what of it was kept.
            channel.first = await self._logs.first(channel_id)
        owing: Mapping[str, Owing] = {}
        try:
            length = await self._store.length(paths.channel_log(channel_id))
        except DamagedRecord:
            takes_records = False
            # What stood at the end is lost, and what stands before it is still owed.
            length = max(known, await self._logs.readable_length(channel_id))
            machine.damage = "the end of its log cannot be read"
        else:
            thawed = await self._snapshots.thawed(channel, length, new_machine, self._logs.read)
            if thawed is not None:
                machine, owing = thawed
        counter = None if counter_of is None else counter_of(channel, owing)
        folded = machine.length
        unseen: list[LogRecord] = []
        # Of what is in a snapshot, only what somebody may be owed or has not seen is read.
        first = max(channel.first, min(folded, known if counter is None else counter.lowest))
        for start in range(first, length, self._page):
            stop = min(start + self._page, length)
            for record in await self._logs.read(channel_id, start, stop):
                if record.position > machine.length:
                    _miss(machine, record.position)
                if record.position >= folded:
                    _replay(machine, record)
                if counter is not None:
                    counter.add(record)
                elif record.position >= known:
                    unseen.append(record)
        if not length:
            machine.damage = machine.damage or "its log cannot be read"
        return Folded(machine, length, takes_records, counter, unseen)


def _miss(machine: ChannelMachine, first: int) -> None:
    """Take note of records that were trimmed and are in no snapshot that can be used."""
    begun = machine.length
    machine.damage = machine.damage or (
        f"its log begins at {first}, and no snapshot of what stood before can be used: nothing "
        f"is known of {begun} to {first}. Restore a backup, or open another channel"
    )
    machine.memory.skip(first - begun)


def _replay(machine: ChannelMachine, record: LogRecord) -> None:
    if record.envelope is None:
        machine.replay_unreadable("cannot be read")
    else:
        machine.replay(record.envelope)
