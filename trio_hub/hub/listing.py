"""
Lists as they are answered: in order, so many at most, and nobody waits while they are put together.

An answer is a list, as AG2's is, and so has no room to say where to go on: that is told by its last
item, whose place in the order the next question names (`after`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import nsmallest
from typing import Any, TypeVar

import trio

from ..errors import ProtocolError
from ..protocol.discovery import capabilities_of, text_of
from ..records import ChannelMetadata, Passport
from ..wire.params import ListAgents, ListChannels
from .channel import Channel
from .registry import Registration

__all__ = ["list_agents", "list_agents_at_once", "list_channels", "look_through"]

T = TypeVar("T")

# A millisecond's work.
_LOOKED_AT_ONCE = 250


async def list_agents(
    agents: Iterable[Registration], wanted: ListAgents, *, most: int
) -> list[Passport]:
    """
    Return the passports of those that meet everything that is given.

    Args:
        most: At most so many, however many are wanted.

    Raises:
        ProtocolError: An unknown `sort_by`, or one together with `after`.

    Cancellation: nothing happens.
    """
    found = await _first(agents, _meeting(wanted), _place_by(wanted), _limit(wanted.limit, most))
    return [it.passport for it in found]


def list_agents_at_once(agents: Iterable[Registration], wanted: ListAgents) -> list[Passport]:
    """Return the same for a caller in the same process: without a bound, and without waiting."""
    found = sorted(filter(_meeting(wanted), agents), key=_place_by(wanted))
    return [it.passport for it in found[: wanted.limit]]


async def look_through(items: Iterable[T], look: Callable[[Sequence[T]], None]) -> None:
    """
    Have what is there now looked at, a millisecond's work at a time.

    Others have their turn in between. Raises what `look` does; nothing is begun behind that.
    """
    everything = list(items)
    for start in range(0, len(everything), _LOOKED_AT_ONCE):
        await trio.lowlevel.checkpoint()
        look(everything[start : start + _LOOKED_AT_ONCE])


async def list_channels(
    channels: Iterable[Channel], wanted: ListChannels, *, most: int
) -> list[ChannelMetadata]:
    """
    Return the metadata of channels, oldest first.

    Args:
        channels: Each once, of those whose channels are wanted.
        most: At most so many, however many are wanted.

    Raises:
        ProtocolError: `after` is no place of a channel.

    Cancellation: nothing happens.
    """
    after: tuple[str, str] | None = None
    if wanted.after is not None:
        created_at, space, channel_id = wanted.after.rpartition(" ")
        if not space:
            raise ProtocolError("`after` is a channel's created_at, a space, and its channel_id")
        after = created_at, channel_id

    def place(it: Channel) -> tuple[str, str]:
        return it.metadata.created_at, it.channel_id

    def meets(it: Channel) -> bool:
        return (wanted.include_terminal or not it.metadata.is_terminal) and (
            after is None or place(it) > after
        )

    found = await _first(channels, meets, place, _limit(wanted.limit, most))
    return [it.metadata for it in found]


def _meeting(wanted: ListAgents) -> Callable[[Registration], bool]:
    text = (wanted.query or "").casefold()

    def meets(it: Registration) -> bool:
        return (
            (wanted.after is None or it.agent_id > wanted.after)
            and (wanted.kind is None or it.passport.effective_kind == wanted.kind)
            and (wanted.capability is None or wanted.capability in capabilities_of(it.resume))
            and (not text or text in text_of(it.passport, it.resume))
        )

    return meets


def _place_by(wanted: ListAgents) -> Callable[[Registration], Any]:
    if wanted.after is not None and wanted.sort_by is not None:
        raise ProtocolError("`after` goes on in order of registration: leave `sort_by` out")
    match wanted.sort_by:
        case None:
            # Ids increase, so this is the order of registration.
            return lambda it: it.agent_id
        case "name":
            return lambda it: it.passport.name
        case "created_at":
            return lambda it: (it.passport.created_at, it.agent_id)
        case "observed":
            return lambda it: -sum(stat.completed for stat in it.resume.observed.values())
        case _:
            raise ProtocolError(
                f"unknown sort_by {wanted.sort_by[:60]!r}: choose name, created_at or observed"
            )


def _limit(wanted: int | None, most: int) -> int:
    return most if wanted is None else min(wanted, most)


async def _first(
    items: Iterable[T], meets: Callable[[T], bool], place: Callable[[T], Any], limit: int
) -> list[T]:
    """Return the first in an order of those that meet something, looking at some at a time."""
    found: list[T] = []

    def look(portion: Sequence[T]) -> None:
        found.extend(filter(meets, portion))
        if len(found) > 2 * limit:
            found[:] = nsmallest(limit, found, key=place)

    await look_through(items, look)
    return nsmallest(limit, found, key=place)
