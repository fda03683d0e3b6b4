"""Reading what a process says, line by line; what it says is what is waited for."""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

__all__ = ["LineReader", "say"]

_LINE_BYTES_MAX = 1024 * 1024
_CHUNK_BYTES = 4096


def say(event: str, **fields: Any) -> None:
    """Write one event to stdout as a line of JSON, at once."""
    print(json.dumps({"event": event, **fields}), flush=True)


class LineReader:
    """
    The lines of a stream of bytes.

    Args:
        stream: Read by nobody else.
    """

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def next_line(self) -> str | None:
        """
        Return the next line without its end, or None when there are no more.

        What stands behind the last line end is no line: whoever wrote it was cut off.

        Cancellation: nothing is lost.
        """
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LINE_BYTES_MAX:
                raise ValueError("a line without an end")
            chunk = await self._stream.receive_some(_CHUNK_BYTES)
            if not chunk:
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()


def stdin_lines() -> LineReader:
    """Return the lines of this process's stdin."""
    return LineReader(trio.lowlevel.FdStream(sys.stdin.fileno()))
