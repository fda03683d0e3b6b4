"""
Who wants to hear of changes, and the telling.

Each listener has a short queue of its own. When it is full the *oldest* path makes room, so a
slow listener misses some of the middle but never the newest, and no writer ever waits for one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import attrs
import trio

from ._checks import child_prefix, folder_path
from .base import Change

__all__ = ["LISTENER_PATHS_MAX", "ChangeFeed"]

#: Paths that wait for one who hears of a store's changes (`on_change`); then it misses those in the
#: middle. It is a wake-up, not a journal: readers read again.
LISTENER_PATHS_MAX = 256


@attrs.frozen(eq=False)
class _Listener:
    path: str
    below: str
    send: trio.MemorySendChannel[str]
    receive: trio.MemoryReceiveChannel[str]

    def tell(self, path: str) -> None:
        try:
            try:
                self.send.send_nowait(path)
            except trio.WouldBlock:
                self.receive.receive_nowait()
                self.send.send_nowait(path)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # The listener closed its end early; its block is about to end.
            return


class ChangeFeed:
    """The listeners of one store."""

    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()

    @asynccontextmanager
    async def listen(self, prefix: str) -> AsyncIterator[trio.MemoryReceiveChannel[str]]:
        """Yield a channel of what changes at or below `prefix` for as long as the block lasts."""
        path = folder_path(prefix)
        send, receive = trio.open_memory_channel[str](LISTENER_PATHS_MAX)
        listener = _Listener(path, child_prefix(path), send, receive)
        self._listeners.add(listener)
        try:
            yield receive
        finally:
            self._listeners.discard(listener)
            send.close()
            receive.close()

    def tell(self, changes: Iterable[Change]) -> None:
        """Tell everybody whom it concerns, each path once; call it when the changes are durable."""
        if not self._listeners:
            return
        for path in dict.fromkeys(change.path for change in changes):
            for listener in self._listeners:
                if path == listener.path or path.startswith(listener.below):
                    listener.tell(path)

    def close(self) -> None:
        """Say that nothing more will come: every listener's loop ends after what it still has."""
        for listener in self._listeners:
            listener.send.close()
