"""
Ask every question of every hub in one run, by turns, and print what it means.

::

    python -m benchmarks.run                  # everything, about a quarter of an hour
    python -m benchmarks.run --quick          # small sizes, one round: does it still work?
    python -m benchmarks.run --questions one_conversation --peers trio_hub,ag2-disk
    python -m benchmarks.run --compare main~5 # what has changed since, in our hub alone
    python -m benchmarks.run --long           # a million envelopes, ten thousand agents
    python -m benchmarks.run --plots docs/plots # what grows with what, drawn

Hubs take turns (A B A B ...) so that a slow minute of the machine is everybody's, each answer
is the median of the rounds, and every hub starts anew for every answer. The table says in
every row what is durable; all samples go into a JSON file together with the commit, the
machine and the interpreters.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.agenda import FULL, LONG, QUICK, QUICK_SWEEPS, SWEEPS, Question
from benchmarks.peers import PEERS, ROOT, Peer, PeerFailed, RunningPeer, figures_of, start
from benchmarks.questions import cold_post, one_turn, open_store, reconnect_storm
from benchmarks.revisions import NoSuchRevision, at_revision

_LOAD_TIMEOUT_SECONDS = 1800


#: Questions that start hubs or clients of their own; asked of hubs that keep what is posted.
RESTARTS: dict[str, Callable[..., dict[str, float]]] = {
    "cold_post": cold_post.measure,
    "one_turn": one_turn.measure,
    "open_store": open_store.measure,
    "reconnect_storm": reconnect_storm.measure,
}


@dataclass(frozen=True)
class Bench:
    """The interpreters of one run."""

    pythons: dict[str, str]
    generator: str

    def answer(self, question: Question, peer: Peer) -> dict[str, float]:
        """Start the hub, ask, end it."""
        python = self.pythons[peer.name]
        if question.name in RESTARTS:
            return RESTARTS[question.name](peer, python, self.load, **question.sizes)
        # Our client comes with our hub; everybody else's load is the same for all.
        generator = self.generator if question.load == "plain_load" else python
        with start(peer, python) as running:
            return self.load(
                running,
                question.name,
                question.sizes,
                [generator, "-m", f"benchmarks.{question.load}"],
            )

    def load(
        self,
        running: RunningPeer,
        question: str,
        sizes: dict[str, int],
        command: Sequence[str] = (),
    ) -> dict[str, float]:
        """Run a load (the plain one by default) against a hub, and return what it printed."""
        command = list(command or [self.generator, "-m", "benchmarks.plain_load"])
        command += ["--url", running.url, "--hub-pid", str(running.pid), "--question", question]
        command += ["--with", *(f"{name}={value}" for name, value in sizes.items())]
        what = f"{question} against {running.peer.name}"
        return figures_of(command, what, timeout=_LOAD_TIMEOUT_SECONDS)


def is_for_ours(question: Question) -> bool:
    """Say whether only this project's hubs are asked it."""
    return question.ours_alone or question.load != "plain_load"


def ask(bench: Bench, question: Question, peers: list[Peer], rounds: int) -> dict[str, Any]:
    """Ask one question of all peers by turns. Returns samples, medians and failures of each."""
    asked = [
        peer
        for peer in peers
        if (peer.keeps or question.name not in RESTARTS)
        and (peer.name.startswith("trio_hub") or not is_for_ours(question))
        and (peer.questions is None or question.name in peer.questions)
    ]
    samples: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in asked}
    failures: dict[str, str] = {}
    for number in range(min(rounds, question.rounds)):
        for peer in asked:
            if peer.name in failures:
                continue
            print(f"  {question.title}: {peer.name}, round {number + 1}", file=sys.stderr)
            try:
                samples[peer.name].append(bench.answer(question, peer))
            except (PeerFailed, subprocess.TimeoutExpired) as failure:
                failures[peer.name] = str(failure)
    return {
        "question": question.name,
        "sizes": question.sizes,
        "headline": question.headline,
        "peers": {
            peer.name: {
                "durability": peer.durability,
                "samples": samples[peer.name],
                "median": medians(samples[peer.name]),
                "failure": failures.get(peer.name),
            }
            for peer in asked
        },
    }


def medians(samples: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    if not samples:
        return {}
    return {name: statistics.median(one[name] for one in samples) for name in samples[0]}


def times_better(figure: str, ours: float | None, theirs: float | None) -> str:
    """Write how many times better the first is, whichever way the figure counts."""
    if not ours or not theirs or math.isnan(ours) or math.isnan(theirs):
        return "-"
    more_is_better = figure.endswith("_per_second")
    return f"{ours / theirs if more_is_better else theirs / ours:.2f}x"


def table(result: dict[str, Any]) -> str:
    """Write one question's answers, a row for each hub with what is durable in it."""
    headline = result["headline"]
    shown = [headline]
    for answer in result["peers"].values():
        shown += [name for name in answer["median"] if name not in shown]
    # The ten parts of the long channel are for the file; their two ends are in the table.
    shown = [name for name in shown if not name.startswith("part_")][:7]
    rivals = [name for name in result["peers"] if not name.startswith("trio_hub") or "@" in name]
    head = ["hub", *shown, *(f"vs {rival}" for rival in rivals)]
    head += [f"cpu vs {rival}" for rival in rivals if "hub_cpu_us" in shown]
    rows = [[*head, "an answered post is"]]
    for name, answer in result["peers"].items():
        median = answer["median"]
        row = [name, *(f"{median[f]:,.4g}" if f in median else "-" for f in shown)]
        for figure in (headline, "hub_cpu_us") if "hub_cpu_us" in shown else (headline,):
            for rival in rivals:
                theirs = result["peers"][rival]["median"].get(figure)
                row.append(times_better(figure, median.get(figure), theirs))
        failed = answer["failure"]
        rows.append([*row, answer["durability"] if failed is None else f"FAILED: {failed[-300:]}"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    sizes = ", ".join(f"{name} {value:,}" for name, value in result["sizes"].items())
    lines = [f"{result['question']}: {sizes} (vs: times better, by {headline})"]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=True)]
        lines.append("  ".join([*cells, row[-1]]))
    return "\n".join(lines)


def surroundings(bench: Bench) -> dict[str, Any]:
    """Describe what the figures were taken on."""

    def first_line(*command: str) -> str:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).strip()

    model = ""
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        named = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else ""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": first_line("git", "rev-parse", "--short", "HEAD"),
        "uncommitted_changes": bool(first_line("git", "status", "--porcelain", "trio_hub")),
        "machine": platform.platform(),
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "pythons": {
            name: first_line(python, "--version") for name, python in bench.pythons.items()
        },
        "generator_python": first_line(bench.generator, "--version"),
    }


def main() -> int:
    """Read the flags, run, print, write. Returns 1 when any hub failed a question."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-revision-") as directory:
        return run(Path(directory))


def run(directory: Path) -> int:
    """Do what `main` says, with a place for another revision."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes and one round")
    parser.add_argument("--rounds", type=int, help="default 3; 1 with --quick")
    parser.add_argument("--peers", help=f"of {','.join(PEERS)}; default: all that can be run")
    parser.add_argument("--questions", help="names, with commas between; default: all")
    parser.add_argument("--compare", metavar="REV", help="this hub and that of a revision only")
    parser.add_argument("--long", action="store_true", help="ask what takes minutes, and only that")
    parser.add_argument(
        "--plots", type=Path, metavar="DIRECTORY", help="ask by growing sizes, and draw it there"
    )
    parser.add_argument("--ag2-python", default=sys.executable, help="an interpreter with ag2")
    parser.add_argument("--trio-hub-python", default=sys.executable, help="... with trio_hub")
    parser.add_argument("--generator-python", default=sys.executable, help="... with websockets")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()

    by_module = {"ag2": arguments.ag2_python, "trio_hub.__main__": arguments.trio_hub_python}
    wanted = list(PEERS.values())
    if arguments.peers is not None:
        unknown = set(arguments.peers.split(",")) - set(PEERS)
        if unknown:
            parser.error(f"no such peer: {', '.join(sorted(unknown))}")
        wanted = [PEERS[name] for name in arguments.peers.split(",")]
    if arguments.compare is not None:
        try:
            other = at_revision(arguments.compare, directory)
        except NoSuchRevision as error:
            parser.error(str(error))
        wanted = [other, *(wanted if arguments.peers is not None else [PEERS["trio_hub"]])]
    peers = [peer for peer in wanted if peer.available(by_module[peer.module])]
    for peer in wanted:
        if peer not in peers:
            print(f"{peer.name}: left out, {by_module[peer.module]} cannot run it")
    if not peers:
        return 1
    bench = Bench({p.name: by_module[p.module] for p in peers}, arguments.generator_python)
    if arguments.plots is not None:
        questions = QUICK_SWEEPS if arguments.quick else SWEEPS
    elif arguments.long:
        questions = LONG
    else:
        questions = QUICK if arguments.quick else FULL
    if arguments.questions is not None:
        names = arguments.questions.split(",")
        unknown = set(names) - {question.name for question in questions}
        if unknown:
            parser.error(f"no such question: {', '.join(sorted(unknown))}")
        questions = tuple(question for question in questions if question.name in names)

    report: dict[str, Any] = {"surroundings": surroundings(bench), "results": []}
    for question in questions:
        result = ask(bench, question, peers, arguments.rounds or (1 if arguments.quick else 3))
        report["results"].append(result)
        print(table(result), end="\n\n", flush=True)
    arguments.results.mkdir(parents=True, exist_ok=True)
    stamp = report["surroundings"]["at"].replace(":", "").replace("+0000", "Z")
    kind = "quick" if arguments.quick else "full"
    path = arguments.results / f"{stamp}-{report['surroundings']['commit']}-{kind}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written to {path}")
    if arguments.plots is not None:
        from benchmarks.plots import draw  # with nothing to draw, matplotlib is not needed

        draw(report, arguments.plots)
        print(f"drawn in {arguments.plots}")
    answers = [answer for result in report["results"] for answer in result["peers"].values()]
    return int(any(answer["failure"] is not None for answer in answers))


if __name__ == "__main__":
    sys.exit(main())
