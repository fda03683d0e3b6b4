"""
Does a hub stay well among agents that do not? A long run, and nothing may be lost or grow.

::

    python -m benchmarks.soak --minutes 3      # or 60

One process is the hub (``python -m trio_hub``, on a disk), this one is everybody else: agents in
groups that talk in one channel after another, whose connections are cut every few seconds; some
of them do not read for a while. Beside them come strangers that send garbage, and passers-by who
register and unregister. Each channel is read back and given to the checkers of
`trio_hub.testing` once it has ended, then the hub lets it go (`--retain-ended`).

What the hub says of itself is read from its own metrics: memory, file descriptors, tasks. It
prints a table, and a report in JSON; the status is 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs
import trio

from trio_hub import (
    AgentClient,
    ConnectionLost,
    Envelope,
    FunctionAgent,
    HubClient,
    NetworkError,
    Passport,
    ProtocolError,
    Reconnect,
    Turn,
    WsLink,
)
from trio_hub.protocol.backoff import Backoff
from trio_hub.testing import FaultyLink
from trio_hub.testing.checkers import violations
from trio_hub.testing.trace import Recorder

from .judging import growth_problem, trend, verdict

T = TypeVar("T")

_NOTE = "soak.note"
_GROUP = 5
_POSTS_IN_A_CHANNEL = 40
_CUT_AFTER_SECONDS = (1.0, 5.0)
_SAMPLE_SECONDS = 2.0
_SETTLES_WITHIN_SECONDS = 120.0
_GARBAGE_AT_ONCE = 200
_SLOPE_PERCENT_PER_HOUR_MAX = 1.0
# What a store may open for itself meanwhile.
_DESCRIPTORS_MORE_MAX = 2
#: What every sample must have.
_JUDGED = {
    "process_open_fds",
    "process_resident_memory_bytes",
    "trio_hub_connections",
    "trio_hub_running_tasks",
}
_QUICKLY_BACK = Reconnect(backoff=Backoff(base=0.05, cap=1.0), wait_for_hub=True)


@attrs.define
class Soak:
    """One run."""

    url: str
    metrics: tuple[str, int]
    minutes: float
    agents: int
    rng: random.Random
    counts: Counter[str] = attrs.field(factory=Counter)
    problems: list[str] = attrs.field(factory=list)
    samples: list[dict[str, float]] = attrs.field(factory=list)
    recorders: dict[str, Recorder] = attrs.field(factory=dict)
    news: trio.Event = attrs.field(factory=trio.Event)
    stopping: bool = False

    # The hub

    async def sample(self) -> dict[str, float]:
        """Ask the hub for its metrics."""
        stream = await trio.open_tcp_stream(*self.metrics)
        async with stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: soak\r\n\r\n")
            page = b"".join([chunk async for chunk in stream]).decode()
        found = {"at": trio.current_time()}
        for line in page.splitlines():
            name, _, value = line.rpartition(" ")
            if name and not line.startswith("#") and "{" not in name:
                try:
                    found[name] = float(value)
                except ValueError:
                    continue  # A header.
        return found

    async def watch(self) -> None:
        """Take samples until cancelled."""
        while True:
            sample = await self.sample()
            if sample.keys() >= _JUDGED:
                self.samples.append(sample)
            else:
                # Cut short: the hub, or this very process, was too busy for ten seconds.
                self.counts["samples missed"] += 1
            await trio.sleep(_SAMPLE_SECONDS)

    # Agents

    def recorder(self, channel_id: str) -> Recorder:
        """Return what writes down the story of one channel."""
        return self.recorders.setdefault(channel_id, Recorder())

    async def handle(self, envelope: Envelope, client: AgentClient, attempt: int) -> None:
        """Handle an envelope as an agent does, and write it down."""
        self.counts["handled"] += 1
        await self.recorder(envelope.channel_id).handler()(envelope, client, attempt)
        self.news.set()
        self.news = trio.Event()

    async def group(self, members: list[AgentClient]) -> None:
        """Talk in one channel after another."""
        while not self.stopping:
            opener, *others = members
            try:
                channel = await opener.open(
                    type="discussion", target=[it.agent_id for it in others]
                )
            except (ProtocolError, trio.TooSlowError):
                # Somebody was cut off for as long as an invite waits.
                self.counts["channels not opened"] += 1
                continue
            for number in range(_POSTS_IN_A_CHANNEL):
                if self.stopping:
                    break
                await self.post(self.rng.choice(members), channel.channel_id, number, members)
                await trio.sleep(self.rng.uniform(0.1, 0.4))
            await self.patiently(partial(channel.close, "enough"))
            await self.settle(opener, channel.channel_id, members)

    async def post(
        self, author: AgentClient, channel_id: str, number: int, members: list[AgentClient]
    ) -> None:
        """Post until there is an answer, under one key."""
        envelope = Envelope(
            channel_id=channel_id,
            sender_id=author.agent_id,
            event_type=_NOTE,
            event_data={"number": number, "padding": "x" * self.rng.randrange(500)},
            idempotency_key=f"{channel_id}-{number}",
        )
        recipients = [it.agent_id for it in members if it is not author]
        recorder = self.recorder(channel_id)
        while True:
            try:
                await recorder.post(author, envelope, recipients=recipients)
            except (NetworkError, trio.TooSlowError) as error:
                if isinstance(error, NetworkError) and not error.retryable:
                    self.problems.append(f"a post was refused: {error}")
                    return
                self.counts["posts tried again"] += 1
            else:
                self.counts["posts"] += 1
                return

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask what may be asked again, until there is an answer in time."""
        while True:
            try:
                return await ask()
            except trio.TooSlowError:
                self.counts["requests tried again"] += 1

    async def settle(
        self, reader: AgentClient, channel_id: str, members: list[AgentClient]
    ) -> None:
        """Wait until everybody has handled everything, read the log back, and check."""
        recorder = self.recorder(channel_id)
        ids = [it.agent_id for it in members]
        log = await self.patiently(partial(reader.hub_client.read_wal, channel_id))
        for position, envelope in enumerate(log):
            recorder.logged(position, envelope, ids)
        with trio.move_on_after(_SETTLES_WITHIN_SECONDS):
            while violations(recorder.trace):
                await self.news.wait()
        self.problems += violations(recorder.trace)
        self.counts["channels checked"] += 1
        self.counts["envelopes checked"] += len(log)
        del self.recorders[channel_id]

    async def cut(self, link: FaultyLink, *, reads_slowly: bool) -> None:
        """Cut a connection every few seconds, and let some of them stand still before."""
        while True:
            await trio.sleep(self.rng.uniform(*_CUT_AFTER_SECONDS))
            if reads_slowly:
                link.stall(sending=False)
                self.counts["stalls"] += 1
                await trio.sleep(self.rng.uniform(*_CUT_AFTER_SECONDS))
                link.resume()
            link.cut()
            self.counts["cuts"] += 1

    # Strangers

    async def send_garbage(self) -> None:
        """Send what is no frame until the hub has had enough, again and again."""
        while True:
            async with WsLink(self.url).connect() as endpoint, trio.open_nursery() as nursery:
                nursery.start_soon(endpoint.write_out)
                for _ in range(_GARBAGE_AT_ONCE):
                    endpoint.push_nowait(self.rng.choice((b"garbage", b'{"kind":"shout"}', b"[")))
                try:
                    while True:
                        await endpoint.receive()
                except ConnectionLost as error:
                    shown_out = "too many malformed frames" in str(error)
                    self.counts["garbage senders shown out"] += shown_out
                    if not shown_out:
                        self.problems.append(f"a sender of garbage ended otherwise: {error}")
                nursery.cancel_scope.cancel()
            await trio.sleep(1)

    async def pass_by(self, number: int) -> None:
        """Register, look around, unregister."""
        for visit in range(sys.maxsize):
            async with HubClient(WsLink(self.url), reconnect=_QUICKLY_BACK) as client:
                name = f"passer-by-{number}-{visit}"
                one = await client.register(FunctionAgent(name, _nothing))
                await client.list_agents(limit=10)
                await one.unregister()
                self.counts["came and went"] += 1
            await trio.sleep(1)

    # The whole

    @asynccontextmanager
    async def everybody(self) -> AsyncIterator[list[AgentClient]]:
        """Have all agents there for as long as the block lasts, on connections that are cut."""
        async with trio.open_nursery() as nursery:
            agents: list[AgentClient] = []
            arrived = trio.Event()
            leaving = trio.Event()

            async def one(number: int) -> None:
                link = FaultyLink(WsLink(self.url))
                async with HubClient(link, reconnect=_QUICKLY_BACK) as client:
                    agent = FunctionAgent(f"agent-{number}", _nothing)
                    agents.append(
                        await client.register(agent, Passport(name=agent.name), handler=self.handle)
                    )
                    if len(agents) == self.agents:
                        arrived.set()
                    await arrived.wait()
                    async with trio.open_nursery() as cutting:
                        cutting.start_soon(partial_cut, link, number)
                        await leaving.wait()
                        cutting.cancel_scope.cancel()

            async def partial_cut(link: FaultyLink, number: int) -> None:
                await self.cut(link, reads_slowly=number % 20 == 0)

            for number in range(self.agents):
                nursery.start_soon(one, number)
            await arrived.wait()
            yield agents
            leaving.set()

    async def run(self) -> dict[str, Any]:
        """Soak, and return the report."""
        before = await self.sample()
        async with self.everybody() as agents, trio.open_nursery() as around:
            around.start_soon(self.watch)
            for number in range(3):
                around.start_soon(self.send_garbage)
                around.start_soon(self.pass_by, number)
            async with trio.open_nursery() as groups:
                for start in range(0, len(agents), _GROUP):
                    groups.start_soon(self.group, agents[start : start + _GROUP])
                await trio.sleep(self.minutes * 60)
                self.stopping = True
            around.cancel_scope.cancel()
        return self.report(before, await self.last_sample())

    async def last_sample(self) -> dict[str, float]:
        """Look at the hub once more, when everybody has left."""
        with trio.move_on_after(30):
            # Another process: there is no event to wait for.
            while (await self.sample())["trio_hub_connections"]:  # noqa: ASYNC110
                await trio.sleep(0.2)
        return await self.sample()

    def report(self, before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
        """Judge."""
        warm = [it for it in self.samples if it["at"] - before["at"] > self.minutes * 60 / 3]
        memory = [it["process_resident_memory_bytes"] for it in warm]
        seen = trend([it["at"] for it in warm], memory)
        problems = list(self.problems)
        grown = growth_problem("memory", seen, _SLOPE_PERCENT_PER_HOUR_MAX)
        if grown is not None:
            problems.append(grown)
        for name, more_max in (
            ("process_open_fds", _DESCRIPTORS_MORE_MAX),
            ("trio_hub_running_tasks", 0),
            ("trio_hub_connections", 0),
        ):
            if after[name] > before[name] + more_max:
                problems.append(f"{name} was {before[name]:g} and is {after[name]:g} at the end")
        if not self.counts["channels checked"]:
            problems.append("no channel was checked: the run was too short to say anything")
        return {
            "minutes": self.minutes,
            "agents": self.agents,
            **self.counts,
            "hub_posts_per_second": round(self.counts["posts"] / (self.minutes * 60), 1),
            "memory_mb_first_and_last": [round(memory[0] / 1e6, 1), round(memory[-1] / 1e6, 1)],
            "memory_percent_per_hour": round(seen.percent_per_hour, 2),
            "memory_error": round(seen.error, 2) if seen.error < math.inf else None,
            "memory_one_percent_per_hour": verdict(seen, _SLOPE_PERCENT_PER_HOUR_MAX),
            "descriptors_before_peak_after": self.three("process_open_fds", before, after),
            "tasks_before_peak_after": self.three("trio_hub_running_tasks", before, after),
            "redeliveries": after["trio_hub_redeliveries_total"],
            "commits_failed": after["trio_hub_commits_failed_total"],
            "problems": problems,
        }

    def three(self, name: str, before: dict[str, float], after: dict[str, float]) -> list[float]:
        """Return a figure before, at its highest, and after everybody has left."""
        return [before[name], max(it[name] for it in self.samples), after[name]]


async def _nothing(_turn: Turn) -> None:
    return None


@asynccontextmanager
async def _hub(directory: Path) -> AsyncIterator[tuple[str, tuple[str, int]]]:
    """Run a hub, and return its URL and where its metrics are."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        metrics_port = free.getsockname()[1]
    words = [sys.executable, "-m", "trio_hub", "--port", "0", "--data", str(directory / "data")]
    words += ["--metrics-port", str(metrics_port), "--retain-ended", "60s"]
    with (directory / "hub.log").open("w") as log:
        process = await trio.lowlevel.open_process(
            [*words, "--log-level", "error"], stdout=-1, stderr=log
        )
    try:
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            more = await process.stdout.receive_some()
            assert more, (directory / "hub.log").read_text()
            line += more
        yield line.split()[-1].decode(), ("127.0.0.1", metrics_port)
        process.terminate()
        with trio.move_on_after(20):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def _main(arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hub-soak-") as name:
        directory = Path(name)
        async with _hub(directory) as (url, metrics):
            soak = Soak(
                url, metrics, arguments.minutes, arguments.agents, random.Random(arguments.seed)
            )
            report = await soak.run()
        complaints = (directory / "hub.log").read_text()
    if complaints:
        report["problems"].append(f"the hub logged errors: {complaints[-2000:]}")
    return report


def main() -> int:
    """Read the flags, soak, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    report = trio.run(_main, parser.parse_args())
    width = max(map(len, report))
    for name, value in report.items():
        if name != "problems":
            print(f"{name:<{width}}  {value}", file=sys.stderr)
    for problem in report["problems"]:
        print(f"DID NOT HOLD: {problem}", file=sys.stderr)
    print(json.dumps(report, indent=2))
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
