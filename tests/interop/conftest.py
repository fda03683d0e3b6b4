"""Hubs of both kinds as real processes, and casts of parties from both sides."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal, TextIO

import pytest
import trio

from .parties import AG2Party, Behaviour, Party
from .seedlings import Seedbed, Seedling

# AG2 has an environment of its own (nox -s interop); without it there is nothing to converse with.
collect_ignore_glob = [] if importlib.util.find_spec("ag2") else ["test_*.py"]

Side = Literal["ag2", "ours"]

_ROOT = Path(__file__).parent.parent.parent
_AG2_HUB = _ROOT / "benchmarks" / "ag2_hub.py"
_LISTEN_SECONDS = 60.0


class Stage:
    """Where a test puts its hub and its parties; everything on it ends with the test."""

    def __init__(
        self,
        nursery: trio.Nursery,
        stack: AsyncExitStack,
        tmp_path: Path,
        errors: TextIO,
        transport: str,
        seedbed: Seedbed,
    ) -> None:
        self.url = ""
        self._transport = transport
        self._seedbed = seedbed
        self._hub: trio.Process | Seedling | None = None
        self._nursery = nursery
        self._stack = stack
        self._tmp_path = tmp_path
        self._errors = errors

    def said_on_stderr(self) -> str:
        """Return what the processes complained about; a failing test shows it."""
        self._errors.seek(0)
        return self._errors.read()

    async def hub(self, side: Side, keys: dict[str, str] | None = None) -> None:
        """Start a hub process (again, on the same data) and wait until it listens."""
        process: trio.Process | Seedling
        if side == "ag2":
            command = [str(_AG2_HUB), "--data", str(self._tmp_path / "hub")]
            command += [] if keys is None else ["--keys", json.dumps(keys)]
            process = await self._seedbed.start(*command, errors=self._errors)
        else:
            process = await self._open_ours(keys)
        self._stack.push_async_callback(_end, process)
        self._hub = process
        assert process.stdout is not None
        line = b""
        with trio.fail_after(_LISTEN_SECONDS):
            while not line.endswith(b"\n"):
                chunk = await process.stdout.receive_some()
                assert chunk, f"the hub ended: {self.said_on_stderr()}"
                line += chunk
        self.url = line.decode().split()[-1]

    async def _open_ours(self, keys: dict[str, str] | None) -> trio.Process:
        command = ["-m", "trio_hub", "--port", "0", "--data", str(self._tmp_path / "hub")]
        command += ["--transport", self._transport]
        if keys is not None:
            path = self._tmp_path / "keys.toml"
            path.write_text(
                "".join(f"{json.dumps(k)} = {json.dumps(v)}\n" for k, v in keys.items())
            )
            command += ["--keys", str(path)]
        return await trio.lowlevel.open_process(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=self._errors, cwd=_ROOT
        )

    async def kill_hub(self) -> None:
        """End the hub with SIGKILL."""
        assert self._hub is not None
        self._hub.kill()
        await self._hub.wait()

    async def party(
        self,
        side: Side,
        name: str,
        *script: Any,
        behaviour: Behaviour = "answers",
        attach: bool = False,
        since: str | None = "",
        **more: Any,
    ) -> Party:
        """
        Bring one agent onto the hub.

        Args:
            side: Whose client it uses.
            name: Its name.
            script: What its model says in each turn.
            behaviour: See `Behaviour`.
            attach: Come back under a known name instead of registering.
            since: With `attach`: `since_envelope_id`.
            more: `scheme`, `claim`; `max_pending` when registering.
        """
        party: Party
        if side == "ag2":
            party = await AG2Party.start(name, self._seedbed, self._nursery, self._errors)
        else:
            from .our_party import OurParty

            party = OurParty(name, self._nursery)
        self._stack.push_async_callback(party.kill)
        await party.call("connect", url=self.url)
        if attach:
            more["since"] = since
        party.agent_id = await party.call(
            "attach" if attach else "register",
            name=name,
            behaviour=behaviour,
            script=list(script),
            **more,
        )
        return party


async def _end(process: trio.Process | Seedling) -> None:
    with trio.CancelScope(shield=True):
        if isinstance(process, trio.Process):
            process.terminate()
            with trio.move_on_after(10):
                await process.wait()
        process.kill()
        await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()


@pytest.fixture(scope="session")
def seedbed() -> Iterator[Seedbed]:
    with Seedbed.laid_out() as seedbed:
        yield seedbed


@pytest.fixture
async def stage(
    request: pytest.FixtureRequest, tmp_path: Path, nursery: trio.Nursery, seedbed: Seedbed
) -> AsyncIterator[Stage]:
    transport = request.config.getoption("--transport")
    with (tmp_path / "stderr").open("w+") as errors:
        async with AsyncExitStack() as stack:
            yield Stage(nursery, stack, tmp_path, errors, transport, seedbed)
    nursery.cancel_scope.cancel()
