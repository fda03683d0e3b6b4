"""
For how long does a hub give nobody else a turn? The longest step of its loop, by what is asked.

::

    python -m benchmarks.longest_steps --envelopes 100000

The hub runs in a thread with a Trio loop of its own, over a real socket and a disk store. Each
step is measured in CPU of that thread, so that neither a busy machine nor the client, which
shares the interpreter, is part of it; collections of garbage are.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from trio_hub import (
    AgentClient,
    DiskKnowledgeStore,
    Envelope,
    FunctionAgent,
    Hub,
    HubClient,
    InboxBlock,
    LimitsBlock,
    Passport,
    Rule,
    Turn,
    WsLink,
    serve_ws,
)
from trio_hub.wire.params import ListChannels, OfName, ReadTail, ReadWal

# As the program sets them; see `trio_hub.cli.serve`.
_COLLECTOR_THRESHOLDS = (20_000, 20, 20)
_SPEAKERS = 100
_UNBOUNDED = Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=0)))


class _Steps(trio.abc.Instrument):
    """The longest step since it was reset, and whose it was."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.longest, self.task = 0.0, ""
        self._begun: float | None = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._begun = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._begun is not None:
            spent = time.thread_time() - self._begun
            if spent > self.longest:
                self.longest, self.task = spent, task.name


class _HubThread:
    """A hub in a thread of its own."""

    def __init__(self, directory: str) -> None:
        self.steps = _Steps()
        self.url = ""
        self.hub: Hub
        self.token: trio.lowlevel.TrioToken
        self._directory = directory
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._ended: trio.Event

    def __enter__(self) -> _HubThread:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_error: object) -> None:
        self.token.run_sync_soon(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        trio.run(self._serve, instruments=[self.steps])

    async def _serve(self) -> None:
        self.token, self._ended = trio.lowlevel.current_trio_token(), trio.Event()
        async with (
            Hub.open(DiskKnowledgeStore(self._directory)) as self.hub,
            serve_ws(self.hub, "127.0.0.1", 0) as server,
        ):
            self.url = server.url
            self._ready.set()
            await self._ended.wait()

    async def fill(self, channel_id: str, sender_id: str, envelopes: int) -> None:
        """Post so many, from within the hub's loop."""

        async def speak(posts: int) -> None:
            for _ in range(posts):
                await self.hub.post_envelope(
                    Envelope(
                        channel_id=channel_id,
                        sender_id=sender_id,
                        event_type="ag2.msg.text",
                        event_data={"text": "x" * 100},
                    )
                )

        async def speak_all() -> None:
            async with trio.open_nursery() as nursery:
                for number in range(_SPEAKERS):
                    share = envelopes // _SPEAKERS + (number < envelopes % _SPEAKERS)
                    nursery.start_soon(speak, share)

        await trio.to_thread.run_sync(
            lambda: trio.from_thread.run(speak_all, trio_token=self.token)
        )


async def _silent(_turn: Turn) -> None:
    return None


async def _measure(envelopes: int, channels: int, owed: int, repeats: int) -> dict[str, object]:
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as directory, _HubThread(directory) as it:
        async with HubClient(WsLink(it.url)) as one:
            alice = await one.register(FunctionAgent("alice", _silent), Passport(name="alice"))
            async with HubClient(WsLink(it.url)) as other:
                await other.register(
                    FunctionAgent("bob", _silent), Passport(name="bob"), rule=_UNBOUNDED
                )
                opened = [
                    await alice.open(type="conversation", target="bob") for _ in range(channels + 1)
                ]
                long = opened.pop()
            await it.fill(long.channel_id, alice.agent_id, envelopes)
            length = it.hub.channels.get(long.channel_id).length

            async def ask(op: str, params: object) -> None:
                await one.request(op, params, Any)

            async def close() -> None:
                await opened.pop().close()

            async def attach() -> None:
                async with HubClient(WsLink(it.url)) as again:
                    heard, enough = itertools.count(1), trio.Event()

                    async def hear(
                        _envelope: Envelope, _client: AgentClient, _attempt: int
                    ) -> None:
                        if next(heard) == owed:
                            enough.set()

                    bob = await again.attach(FunctionAgent("bob", _silent), name="bob")
                    bob.handle_with(hear)
                    await enough.wait()

            def read(count: int) -> Callable[[], Awaitable[None]]:
                params = ReadWal(channel_id=long.channel_id, since=length - count, until=length)
                return lambda: ask("read_wal", params)

            tail = ReadTail(channel_id=long.channel_id, limit=1_000)
            gc.collect()
            gc.freeze()
            gc.set_threshold(*_COLLECTOR_THRESHOLDS)
            for name, work, times in (
                ("find_agent_id", lambda: ask("find_agent_id", OfName(name="alice")), repeats),
                ("read_wal of 10", read(10), repeats),
                ("read_wal of 1,000", read(1_000), repeats),
                ("read_tail of 1,000", lambda: ask("read_tail", tail), repeats),
                (
                    "list_channels",
                    lambda: ask("list_channels", ListChannels(limit=channels + 1)),
                    repeats,
                ),
                ("close_channel", close, min(repeats, channels)),
                ("attach", attach, 1),
            ):
                it.steps.reset()
                for _ in range(times):
                    await work()
                figures[name] = {
                    "longest_step_ms": round(it.steps.longest * 1e3, 2),
                    "task": it.steps.task,
                }
    return figures


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--envelopes", type=int, default=100_000)
    parser.add_argument("--channels", type=int, default=200)
    parser.add_argument("--owed", type=int, default=2_000, help="how many the attachment waits for")
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    print(json.dumps(trio.run(lambda: _measure(**vars(arguments))), indent=2))


if __name__ == "__main__":
    main()
