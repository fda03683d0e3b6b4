"""
One long channel, filled by one process and used for the first time by another; see `cold_post`.

``python -m benchmarks.cold_channel DIRECTORY fill POSTS``, then ``... post``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import time
from functools import partial
from pathlib import Path

import trio

from trio_hub import DiskKnowledgeStore, Envelope, Hub, InboxBlock, LimitsBlock, Passport, Rule
from trio_hub.hub import paths

_NO_LIMIT = Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=0)))
_AT_ONCE = 200
_PAGE_BYTES = resource.getpagesize()


def _resident_kb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES / 1000


def _note(channel_id: str, sender_id: str, key: str) -> Envelope:
    return Envelope(
        channel_id=channel_id,
        sender_id=sender_id,
        # Nobody is to be delivered to, so nobody owes a receipt.
        audience=(),
        event_type="benchmark.note",
        event_data={"text": "x" * 100},
        idempotency_key=key,
    )


async def fill(directory: Path, posts: int) -> dict[str, float]:
    """Post so often, many at a time; what memory grew by in the second half is what keys cost."""
    async with Hub.open(DiskKnowledgeStore(directory)) as hub:
        speaker, other = [
            (await hub.register(Passport(name=name), rule=_NO_LIMIT)).agent_id or ""
            for name in ("speaker", "listener")
        ]
        channel = await hub.create_channel(
            creator_id=speaker,
            manifest_type="conversation",
            participants=[other],
            required_acks=0,
            ttl=0,
        )
        numbers = iter(range(posts))

        async def post(until: int) -> None:
            for number in itertools.takewhile(lambda it: it < until, numbers):
                await hub.post_envelope(_note(channel.channel_id, speaker, f"key-{number:012}"))

        async def post_half(until: int) -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(_AT_ONCE):
                    nursery.start_soon(post, until)

        await post_half(posts // 2)
        before = _resident_kb()
        await post_half(posts)
        grown = _resident_kb() - before
    (directory / "ids.json").write_text(json.dumps([channel.channel_id, speaker]))
    return {"kb_per_1000_keys": grown / (posts / 2) * 1000}


async def post_once(directory: Path, *, with_snapshot: bool) -> dict[str, float]:
    """Post once into the cold channel, while somebody else counts how long the loop is held."""
    channel_id, speaker = json.loads((directory / "ids.json").read_text())
    store = DiskKnowledgeStore(directory)
    async with store:
        if not with_snapshot:
            await store.delete(paths.snapshot(channel_id))
        async with Hub.open(store) as hub, trio.open_nursery() as nursery:
            worst = 0.0

            async def watch() -> None:
                nonlocal worst
                last = time.perf_counter()
                while True:
                    await trio.lowlevel.checkpoint()
                    now = time.perf_counter()
                    worst, last = max(worst, now - last), now

            nursery.start_soon(watch)
            began = time.perf_counter()
            key = f"first-{time.time_ns()}"
            await hub.post_envelope(_note(channel_id, speaker, key))
            took = time.perf_counter() - began
            nursery.cancel_scope.cancel()
    return {"first_post_ms": took * 1000, "worst_stall_ms": worst * 1000}


def main() -> None:
    """Run one step, and print its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("fill").add_argument("posts", type=int)
    steps.add_parser("post").add_argument("--without-snapshot", action="store_true")
    options = parser.parse_args()
    if options.step == "fill":
        figures = trio.run(fill, options.directory, options.posts)
    else:
        once = partial(post_once, options.directory, with_snapshot=not options.without_snapshot)
        figures = trio.run(once)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
