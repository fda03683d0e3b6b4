"""
Snapshots of channels: all that folding a log builds, written down at some position of it.

A snapshot spares time and nothing else. Whatever keeps it from being used (it was made by another
adapter, in another form, over another log, or is damaged), the log is folded from its beginning,
as it would be without; unless that does not begin at 0 any more, for then the channel is damaged.
So it says of itself where it stands: how many records were folded, and which envelope was the
last of them.
"""

from __future__ import annotations

from typing import Final

import attrs
import msgspec

from .adapters.freezing import fingerprint_of, freezing
from .channel import ChannelMachine
from .expectations.pulse import Pulse, PulseSnapshot
from .log_memory import Answer
from .posted_pages import PostedPage

__all__ = ["FORMAT", "ChannelSnapshot", "SnapshotUnfit", "freeze", "thaw"]

#: Changes whenever a snapshot says something else or in another way. Of a channel whose log was
#: trimmed there is nothing else: whoever changes it goes on reading the form before.
FORMAT: Final = 1

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class SnapshotUnfit(ValueError):
    """A snapshot does not fit the channel, and the log is to be folded instead."""


@attrs.frozen(kw_only=True)
class ChannelSnapshot:
    """
    A channel at a position of its log.

    Attributes:
        format: `FORMAT` as it was.
        adapter: Which adapter made `state`.
        position: How many records of the log are in it.
        last_id: The id of the last of them.
        state: What `FreezingAdapter.freeze` returned, as JSON.
        pages: How many pages of `PostedIndex` belong to it. They only grow, and are kept apart.
        rest: What stands in no page yet, as one.
        answers: Who has answered an invite: how.
        pulse: Where the channel has expectations.
    """

    format: int
    adapter: str
    position: int
    last_id: str
    state: bytes
    pages: int
    rest: bytes
    answers: dict[str, Answer]
    pulse: PulseSnapshot | None


def freeze(machine: ChannelMachine) -> ChannelSnapshot | None:
    """Return a snapshot of a channel as it stands, or None where it cannot be had."""
    adapter, memory = freezing(machine.adapter), machine.memory
    if adapter is None or machine.damage or not memory.last_id or not memory.posted.can_be_kept:
        return None
    try:
        version, state = adapter.state_version, _encode(adapter.freeze(machine.state))
    except Exception:
        # An adapter's bug costs the time that the snapshot would have spared.
        return None
    return ChannelSnapshot(
        format=FORMAT,
        adapter=fingerprint_of(machine.adapter, version),
        position=machine.length,
        last_id=memory.last_id,
        state=state,
        pages=len(memory.posted.pages),
        rest=memory.posted.rest().encode(),
        answers=dict(memory.answers),
        pulse=None if memory.pulse is None else memory.pulse.freeze(),
    )


def thaw(machine: ChannelMachine, snapshot: ChannelSnapshot) -> None:
    """
    Bring a machine that has folded nothing to where a snapshot was taken.

    The pages that belong to the snapshot were restored to its `PostedIndex` before.

    Raises:
        SnapshotUnfit: It is of no use. The machine must not be used any more either.
    """
    adapter, memory = freezing(machine.adapter), machine.memory
    if adapter is None or machine.damage:
        raise SnapshotUnfit("no state of the channel can be kept")
    try:
        if snapshot.format != FORMAT:
            raise ValueError(f"it has the format {snapshot.format}, not {FORMAT}")
        wanted = fingerprint_of(machine.adapter, adapter.state_version)
        if snapshot.adapter != wanted:
            raise ValueError(f"it was made by {snapshot.adapter!r}, not by {wanted!r}")
        if (snapshot.pulse is None) != (memory.pulse is None):
            raise ValueError("it knows of other expectations")
        machine.state = adapter.thaw(_decode(snapshot.state), machine.as_it_began())
        memory.posted.restore_rest(PostedPage.decode(snapshot.rest))
        if len(memory.posted.pages) != snapshot.pages or machine.length != snapshot.position:
            raise ValueError(f"there is nothing of what was posted up to {snapshot.position}")
    except Exception as error:
        # Whatever an adapter makes of what was kept: the log is still there.
        raise SnapshotUnfit(f"snapshot at {snapshot.position}: {error!r}") from error
    memory.answers.update(snapshot.answers)
    memory.last_id = snapshot.last_id
    if snapshot.pulse is not None:
        memory.pulse = Pulse.thaw(snapshot.pulse, machine.metadata.participant_ids)
