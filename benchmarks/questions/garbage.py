"""
How long do others wait while one peer sends 5,000 frames that are none?

Two agents talk, each post awaited, first in peace and then while a stranger's garbage arrives all
at once. The worst of the posts that were under way meanwhile is the answer; `shown_out` is 1
where the stranger was disconnected with a reason.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks.plain_load import percentile

if TYPE_CHECKING:
    from benchmarks.plain_load import Agent, Generator

_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_PATIENCE_SECONDS = 30.0
# A close frame: final, opcode 8.
_CLOSE = b"\x88"


async def ask(generator: Generator, frames: int, posts: int) -> dict[str, float]:
    """Post in peace, then while garbage comes."""
    alice = await generator.agent("alice")
    bob = await generator.agent("bob")
    channel_id = await alice.open("conversation", bob)
    await _post(alice, channel_id, posts)
    quiet = await _post(alice, channel_id, posts)
    reader, writer = await asyncio.open_connection(*generator.address)
    writer.write(_UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    # In one piece, so that sending it costs this process nothing while it measures.
    writer.write(_text_frame(b'{"kind":"shout"}') * frames)
    ending = asyncio.create_task(_read_to_the_end(reader))
    during = await _post(alice, channel_id, posts)
    said = await ending
    writer.close()
    await bob.receive(3 * posts)
    return {
        "worst_ms": max(during) * 1e3,
        "p99_ms": percentile(during, 0.99) * 1e3,
        "quiet_worst_ms": max(quiet) * 1e3,
        "quiet_p99_ms": percentile(quiet, 0.99) * 1e3,
        "shown_out": float(b"too many malformed frames" in said[said.rfind(_CLOSE) :]),
        "answered": float(said.count(b'"kind":"error"')),
    }


async def _post(agent: Agent, channel_id: str, posts: int) -> list[float]:
    latencies = []
    for _ in range(posts):
        begun = time.perf_counter()
        await agent.post(channel_id)
        latencies.append(time.perf_counter() - begun)
    return latencies


async def _read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    """Read until the hub hangs up; or for a while, where it puts up with everything."""
    said = b""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while chunk := await reader.read(65536):
                said += chunk
    except (TimeoutError, ConnectionError):
        pass
    return said


def _text_frame(payload: bytes) -> bytes:
    """Mask a short text frame with zeros, which change nothing."""
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload
