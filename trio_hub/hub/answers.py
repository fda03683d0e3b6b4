"""The results of operations on their way into frames: long ones without holding up anybody else."""

from __future__ import annotations

from typing import Any, Final

import trio

from ..wire.validation import encode

__all__ = ["RawJson", "in_turns"]

# Items that are encoded before others get their turn: about half a millisecond.
_ITEMS_AT_ONCE: Final = 100


class RawJson:
    """A result that is JSON already, such as envelopes straight from a log."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


def in_turns(result: Any) -> Any:
    """
    Return a long list as something to await, which encodes it; anything else as it is.

    The items are those of now and must not change: others have their turn while they are encoded.
    """
    if type(result) is list and len(result) > _ITEMS_AT_ONCE:
        return _encoded(result)
    return result


async def _encoded(items: list[Any]) -> RawJson:
    """Encode a list. Cancellation: nothing happens."""
    pieces = []
    for start in range(0, len(items), _ITEMS_AT_ONCE):
        if start:
            await trio.lowlevel.checkpoint()
        # Each without its brackets.
        pieces.append(encode(items[start : start + _ITEMS_AT_ONCE])[1:-1])
    return RawJson(b"[%b]" % b",".join(pieces))
