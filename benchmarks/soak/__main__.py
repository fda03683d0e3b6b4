"""
Let a hub live among unreliable agents for a while, and judge what is left of it.

::

    python -m benchmarks.soak --minutes 3      # or 60

One process is the hub (``python -m trio_hub``, on a disk). Others are full of agents in groups
that talk in one channel after another, whose connections are cut every few seconds; some of them
do not read for a while. Beside them come strangers that send garbage, passers-by who register and
unregister, guests whose keys are revoked while they talk, and agents that an operator shuts out and
lets in again. Each channel is read back and given
to the checkers of `trio_hub.testing` once it has ended, then the hub lets it go.

What the hub says of itself is read from its own metrics: memory, file descriptors, tasks. It
prints a table, and a report in JSON; the status is 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
import trio

from .crowd import Orders
from .hub import JUDGED, SoakedHub, run_hub
from .plot import draw
from .report import Seen, make_report
from .revocation import Revocations
from .shut_out import OPERATOR, ShutOuts
from .talk import Talk

_SAMPLE_SECONDS = 2.0
_EMPTY_WITHIN_SECONDS = 30.0
_REVOKED_PAIRS = 2
_SHUT_OUT_PAIRS = 2
_SLOW_EVERY = 20


@attrs.define
class Soak:
    """One run."""

    hub: SoakedHub
    until: float
    orders: list[Orders]
    talk: Talk
    seen: Seen = attrs.field(factory=Seen)

    async def run(self) -> Seen:
        """Soak, and return what was seen."""
        self.seen.before = await self.hub.sample()
        async with trio.open_nursery() as around:
            around.start_soon(self._watch)
            async with trio.open_nursery() as everybody:
                for orders in self.orders:
                    everybody.start_soon(self._crowd, orders)
                revocations = Revocations(self.hub.url, self.hub.keys, self.talk)
                for number in range(_REVOKED_PAIRS):
                    everybody.start_soon(revocations.pair, number, self.hub.tokens)
                shut_outs = ShutOuts(self.hub.url, self.hub.tokens, self.talk)
                everybody.start_soon(shut_outs.run, _pairs_to_shut_out())
                await trio.sleep(self.until - time.monotonic())
                self.talk.stopping = True
            around.cancel_scope.cancel()
        self._add(self.talk.report())
        self.seen.after = await self._last_sample()
        return self.seen

    async def _watch(self) -> None:
        """Take samples until cancelled."""
        while True:
            sample = await self.hub.sample()
            if sample.keys() >= JUDGED:
                self.seen.samples.append(sample)
            else:
                # Cut short: the hub, or this very process, was too busy for ten seconds.
                self.seen.counts["samples missed"] += 1
            await trio.sleep(_SAMPLE_SECONDS)

    async def _crowd(self, orders: Orders) -> None:
        """Run one process full of agents, and take its report."""
        done = await trio.run_process(
            [sys.executable, "-m", "benchmarks.soak.crowd"],
            stdin=json.dumps(attrs.asdict(orders)).encode(),
            capture_stdout=True,
        )
        self._add(json.loads(done.stdout))

    def _add(self, report: dict[str, Any]) -> None:
        self.seen.counts.update(report["counts"])
        self.seen.problems += report["problems"]
        self.seen.latencies.merge(report["latencies"])
        self.seen.lags.merge(report["lags"])

    async def _last_sample(self) -> dict[str, float]:
        """Look at the hub once more, when everybody has left."""
        with trio.move_on_after(_EMPTY_WITHIN_SECONDS):
            # Another process: there is no event to wait for.
            while (await self.hub.sample())["trio_hub_connections"]:  # noqa: ASYNC110
                await trio.sleep(0.2)
        return await self.hub.sample()


def _names(agents: int, processes: int) -> list[str]:
    """Return everybody who needs a key."""
    names = [f"agent-{number}" for number in range(agents)]
    names += [f"passer-by-{number}" for number in range(processes)]
    for number in range(_REVOKED_PAIRS):
        names += [f"host-{number}", f"guest-{number}"]
    return [*names, OPERATOR, *itertools.chain(*_pairs_to_shut_out())]


def _pairs_to_shut_out() -> list[tuple[str, str]]:
    """Return the names of hosts, and of the agents that they talk with and that are shut out."""
    return [(f"neighbour-{it}", f"suspect-{it}") for it in range(_SHUT_OUT_PAIRS)]


def _orders(arguments: argparse.Namespace, hub: SoakedHub, until: float) -> list[Orders]:
    """Share the agents out among the processes, a group's worth at a time."""
    share = -(-arguments.agents // arguments.processes)
    orders = []
    for number in range(arguments.processes):
        mine = range(number * share, min((number + 1) * share, arguments.agents))
        passer_by = f"passer-by-{number}"
        orders.append(
            Orders(
                url=hub.url,
                until=until,
                seed=arguments.seed + number,
                tokens={f"agent-{it}": hub.tokens[f"agent-{it}"] for it in mine},
                slow=tuple(f"agent-{it}" for it in mine if it % _SLOW_EVERY == 0),
                passer_by=(passer_by, hub.tokens[passer_by]),
            )
        )
    return [it for it in orders if it.tokens]


async def _main(arguments: argparse.Namespace) -> dict[str, Any]:
    # What has ended must be gone by the time that growth is judged.
    retain_ended = "60s" if arguments.minutes >= 10 else "30s"
    names = _names(arguments.agents, arguments.processes)
    with tempfile.TemporaryDirectory(prefix="hub-soak-") as name:
        async with run_hub(Path(name), names, retain_ended, OPERATOR) as hub:
            talk = Talk(random.Random(arguments.seed - 1))
            until = time.monotonic() + arguments.minutes * 60
            seen = await Soak(hub, until, _orders(arguments, hub, until), talk).run()
        complaints = hub.log.read_text()
    if complaints:
        seen.problems.append(f"the hub logged errors: {complaints[-2000:]}")
    about = {"minutes": arguments.minutes, "agents": arguments.agents, "seed": arguments.seed}
    return {**about, **make_report(seen, arguments.minutes * 60)}


def main() -> int:
    """Read the flags, soak, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--processes", type=int, default=4, help="that the agents are in")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the report, with all samples")
    parser.add_argument("--plot", type=Path, help="draw it there (.png, .svg); needs matplotlib")
    arguments = parser.parse_args()
    report = trio.run(_main, arguments)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2))
    if arguments.plot is not None:
        try:
            draw(report, arguments.plot)
        except ImportError:
            print("not drawn: there is no matplotlib here", file=sys.stderr)
    width = max(map(len, report))
    for name, value in report.items():
        if name not in ("problems", "history"):
            print(f"{name:<{width}}  {value}")
    for problem in report["problems"]:
        print(f"DID NOT HOLD: {problem}")
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
