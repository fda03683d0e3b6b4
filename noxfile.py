"""One verb per session. `nox` alone runs what a reviewer would run."""

from __future__ import annotations

import json
from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "typing", "tests"]
nox.options.reuse_existing_virtualenvs = True

PYPROJECT = nox.project.load_toml("pyproject.toml")


def groups(*names: str) -> list[str]:
    """Return the requirements of dependency groups, for any version of pip."""
    return list(nox.project.dependency_groups(PYPROJECT, *names))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite, but for the conversations with AG2 (`interop`)."""
    session.install("-e", ".[testing,all]", *groups("test"))
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session(python=["3.12", "3.13"])
def pythons(session: nox.Session) -> None:
    """Run the test suite with the newer interpreters, where they are installed."""
    session.install("-e", ".[testing,all]", *groups("test"))
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def properties(session: nox.Session) -> None:
    """Run the property tests at length: 5,000 examples of 50 steps for each state machine."""
    session.install("-e", ".[testing,all]", *groups("test"))
    env = {"HYPOTHESIS_PROFILE": "deep"}
    session.run("pytest", "-n", "2", "tests/properties", *session.posargs, env=env)


@nox.session
def coverage(session: nox.Session) -> None:
    """See that the tests of the pure core (`trio_hub.protocol`) take every branch of it."""
    session.install("-e", ".[testing,fast]", *groups("test"))
    session.run(
        *("coverage", "run", "--source=trio_hub/protocol"),
        *("-m", "pytest", "tests/protocol", *session.posargs),
    )
    session.run("coverage", "report", "--show-missing", "--skip-covered", "--fail-under=100")


@nox.session
def mutants(session: nox.Session) -> None:
    """Change the pure core in small ways; its tests must notice nine changes of ten."""
    session.install("-e", ".[testing,fast]", *groups("test", "mutants"))
    session.run("mutmut", "run", *session.posargs)
    session.run("mutmut", "export-cicd-stats")
    stats = json.loads(Path("mutants/mutmut-cicd-stats.json").read_text())
    # A change that makes a test wait for ever was noticed, too.
    noticed = stats["killed"] + stats["timeout"]
    session.log(
        f"{noticed} of {stats['total']} mutants were noticed: `mutmut results` has the rest"
    )
    if noticed < 0.9 * stats["total"]:
        session.error("less than nine of ten")


@nox.session
def interop(session: nox.Session) -> None:
    """Converse with real AG2 peers, in both directions."""
    session.install("-e", ".[testing,all]", *groups("test", "interop"))
    session.run("pytest", "-n", "2", "tests/interop", "-m", "interop", *session.posargs)


@nox.session
def crash(session: nox.Session) -> None:
    """Kill real processes, many times (`-- --kills 300`)."""
    session.install("-e", ".[testing,all]", *groups("test"))
    session.run("pytest", "tests/crash", *(session.posargs or ["--kills", "300"]))


@nox.session
def workers(session: nox.Session) -> None:
    """Kill workers in the middle of turns and tasks, 200 times (`-- --kills 1000`)."""
    session.install("-e", ".[testing,all]", *groups("test"))
    kills = session.posargs or ["--kills", "200"]
    session.run("pytest", "-s", "tests/crash/test_worker_kill.py", *kills)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz the decoder, with atheris and with our own mutator (`-- -runs=1000000`)."""
    session.install("-e", ".[testing,all]", *groups("test", "fuzz"))
    runs = session.posargs or ["-runs=1000000"]
    corpus = session.create_tmp()
    session.run("python", "-m", "tests.fuzz.seeds", corpus)
    session.run("python", "-m", "tests.fuzz.atheris_decoder", *runs, corpus)
    session.run("python", "-m", "tests.fuzz.run", "--inputs", "1000000")


@nox.session
def soak(session: nox.Session) -> None:
    """Let a hub live among unreliable agents for a while (`-- --minutes 60`)."""
    session.install("-e", ".[testing,all]", *groups("plot"))
    seen = Path(session.create_tmp())
    default = ["--minutes", "3", "--json", f"{seen}/soak.json", "--plot", f"{seen}/soak.png"]
    session.run("python", "-m", "benchmarks.soak", *(session.posargs or default))


@nox.session
def simulation(session: nox.Session) -> None:
    """Run whole hubs through seeded faults (`-- --seed 123`, `-- --seeds 10000`)."""
    session.install("-e", ".[testing,all]", *groups("test"))
    if session.posargs:
        session.run("pytest", "-n", "2", "tests/simulation", *session.posargs)
        return
    one_hub = ("tests/simulation/test_simulation.py", "--seeds", "500", "--operations", "1000")
    session.run("pytest", "-n", "2", *one_hub)
    session.run("pytest", "-n", "2", "tests/simulation/test_federation.py", "--seeds", "50")


@nox.session
def typing(session: nox.Session) -> None:
    """Check types, strictly."""
    session.install("-e", ".[testing,all]", *groups("typing"))
    session.run("mypy", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and spelling."""
    session.install(*groups("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell", "trio_hub", "tests", "benchmarks", "docs", "README.md", "noxfile.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, and run every code block of it and of the README."""
    session.install("-e", ".[testing,all]", *groups("docs", "test"))
    session.run("sphinx-build", "-W", "-b", "html", "docs", "docs/_build/html")
    session.run("pytest", "docs", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Ask AG2's hub and ours alike (`-- --quick`, `-- --compare REV`, `-- --plots docs/plots`)."""
    session.install("-e", ".[fast]", *groups("interop", "bench", "plot"))
    session.run("python", "-m", "benchmarks.run", *session.posargs)
