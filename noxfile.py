"""One verb per session. `nox` alone runs what a reviewer would run."""

from __future__ import annotations

import nox

nox.needs_version = ">=2024.4"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "typing", "tests"]
nox.options.reuse_existing_virtualenvs = True

PYPROJECT = nox.project.load_toml("pyproject.toml")


def groups(*names: str) -> list[str]:
    """Return the requirements of dependency groups, for any version of pip."""
    return nox.project.dependency_groups(PYPROJECT, *names)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite (but for the sessions below)."""
    session.install("-e", ".[testing]", *groups("test"))
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def interop(session: nox.Session) -> None:
    """Run the conversations with real AG2 peers, in both directions."""
    session.install("-e", ".[testing]", *groups("test", "interop"))
    session.run("pytest", "tests/interop", "-m", "interop", *session.posargs)


@nox.session
def typing(session: nox.Session) -> None:
    """Check types, strictly."""
    session.install("-e", ".[testing]", *groups("typing"))
    session.run("mypy", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and spelling."""
    session.install(*groups("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell", "trio_hub", "tests", "benchmarks", "docs", "README.md")
