"""
What does it cost to be watched? CPU for each envelope, posted, delivered and acked.

::

    python -m benchmarks.observing --posts 3000

A hub and two clients in one process, over the in-memory link and an in-memory store, so that
nothing but CPU is measured; each way of watching by turns, in processes of its own, and the
median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from contextlib import AsyncExitStack

import trio

from trio_hub import (
    EV_TEXT,
    AgentClient,
    Envelope,
    FunctionAgent,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    Turn,
    serve_metrics,
)

_WAYS = ("unwatched", "metrics, a scrape a second", "tracing, spans batched and dropped")
_WARM_UP = 300


async def _scrape(port: int) -> None:
    while True:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n")
            async for _ in stream:
                pass
        await trio.sleep(1)


def _trace() -> None:
    """Trace as an application would, but for the sending."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Drops(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Drops()))
    trace.set_tracer_provider(provider)


async def _measure(way: str, posts: int) -> float:
    if way.startswith("tracing"):
        _trace()
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(Hub.open(MemoryKnowledgeStore()))
        if way.startswith("metrics"):
            server = await stack.enter_async_context(serve_metrics(hub))
            nursery = await stack.enter_async_context(trio.open_nursery())
            stack.callback(nursery.cancel_scope.cancel)
            nursery.start_soon(_scrape, server.port)
        one = await stack.enter_async_context(HubClient(LocalLink(hub)))
        other = await stack.enter_async_context(HubClient(LocalLink(hub)))
        heard = 0
        wanted = _WARM_UP
        enough = trio.Event()

        async def hear(envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
            nonlocal heard
            heard += envelope.event_type == EV_TEXT
            if heard == wanted:
                enough.set()

        bob = await other.register(FunctionAgent("bob", _silent), Passport(name="bob"))
        alice = await one.register(FunctionAgent("alice", _silent), Passport(name="alice"))
        channel = await alice.open(type="conversation", target="bob")
        bob.handle_with(hear)
        for _ in range(_WARM_UP):
            await channel.send("x" * 100)
        await enough.wait()
        wanted, enough = _WARM_UP + posts, trio.Event()
        before = time.process_time()
        for _ in range(posts):
            await channel.send("x" * 100)
        await enough.wait()
        return (time.process_time() - before) / posts * 1e6


async def _silent(_turn: Turn) -> None:
    return None


def main() -> None:
    """Measure in this process (`--way`), or each way in processes of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", choices=_WAYS)
    arguments = parser.parse_args()
    if arguments.way is not None:
        print(trio.run(_measure, arguments.way, arguments.posts))
        return
    samples: dict[str, list[float]] = {way: [] for way in _WAYS}
    for _ in range(arguments.rounds):
        for way in _WAYS:
            command = [sys.executable, "-m", "benchmarks.observing", "--way", way]
            command += ["--posts", str(arguments.posts)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            samples[way].append(float(done.stdout))
    medians = {way: statistics.median(found) for way, found in samples.items()}
    for way, microseconds in medians.items():
        print(f"{way:<40} {microseconds:7.1f} µs an envelope", file=sys.stderr)
    print(json.dumps({"medians_us": medians, "samples_us": samples}))


if __name__ == "__main__":
    main()
