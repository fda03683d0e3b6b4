"""A `chat` through pipes: what it shows, and what is said to it, as it goes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from .program import PATIENCE_SECONDS, command

__all__ = ["Talk", "talking"]


@attrs.define(eq=False)
class Talk:
    """
    One that is running.

    Attributes:
        process: The program.
        shown: What it has written so far, to stdout and stderr as it came.
    """

    process: trio.Process
    shown: str = ""

    async def see(self, text: str, *, times: int = 1) -> None:
        """Return once it has written this, so often."""
        assert self.process.stdout is not None
        with trio.move_on_after(PATIENCE_SECONDS):
            while self.shown.count(text) < times:
                chunk = await self.process.stdout.receive_some()
                assert chunk, f"it ended without {text!r}: {self.shown}"
                self.shown += chunk.decode()
            return
        raise AssertionError(f"{text!r} is not to be seen: {self.shown}")

    async def say(self, *lines: str) -> None:
        """Type lines."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all("".join(f"{line}\n" for line in lines).encode())

    async def end(self) -> int:
        """Say nothing more, and return the exit status."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        await self.process.stdin.aclose()
        with trio.fail_after(PATIENCE_SECONDS):
            async for chunk in self.process.stdout:
                self.shown += chunk.decode()
            return await self.process.wait()

    async def ended(self) -> int:
        """Return the exit status, once it has ended by itself."""
        assert self.process.stdout is not None
        with trio.fail_after(PATIENCE_SECONDS):
            async for chunk in self.process.stdout:
                self.shown += chunk.decode()
            return await self.process.wait()


@asynccontextmanager
async def talking(url: str, *words: str | Path, **environment: str) -> AsyncIterator[Talk]:
    """Let hanna talk with bob for as long as the block lasts."""
    process = await trio.lowlevel.open_process(
        command("chat", "--url", url, "--name", "hanna", "--to", "bob", *words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Talk(process)
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()
