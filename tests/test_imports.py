"""What is not imported until something needs it: that is what a start costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Heavy, and only for one command, one adapter or one way to configure a hub.
ONLY_WHERE_ASKED_FOR = {
    "anthropic",
    "cryptography",
    "httpx",
    "hypothesis",
    "jwt",
    "mcp",
    "openai",
    "opentelemetry",
    "prometheus_client",
    "prompt_toolkit",
    "pytest",
    "trio_hub.mcp",
    "trio_hub.providers",
    "trio_hub.testing",
}
#: What everything of ours that does anything stands on.
BASE = {"cattrs", "h11", "msgspec", "rich", "structlog", "trio", "yaml"}
#: Has a process say at its end what it has imported: a program that prints its help just ends.
SAYING = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
SERVING = ["serve", "--port", "0", "--data"]
#: Far more than the hub takes to end.
PATIENCE_SECONDS = 60.0
#: The two shells, and what stands above them.
SHELLS = {"trio_hub.client", "trio_hub.federation", "trio_hub.hub"}


def imported_by(code: str) -> set[str]:
    """Return what a process of its own has imported once it has run `code`."""
    done = subprocess.run(
        [sys.executable, "-c", SAYING + code], capture_output=True, check=True, text=True
    )
    return set(done.stderr.split())


def imported_by_command(*words: str) -> set[str]:
    """Return what the program has imported once it has done what was typed."""
    return imported_by(f"from trio_hub.cli import main\nmain({list(words)!r})")


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("import trio_hub; trio_hub.__version__", BASE | SHELLS | {"attrs"}),
        ("from trio_hub import NotFoundError", BASE | SHELLS | {"attrs"}),
        ("from trio_hub import Envelope", {"trio", "rich", "yaml"} | SHELLS),
        ("from trio_hub import HubClient", {"yaml", "trio_hub.hub"}),
        ("from trio_hub import Hub", {"yaml", "trio_hub.client"}),
    ],
    ids=["nothing", "error", "record", "client", "hub"],
)
def test_the_package_imports_what_is_asked_of_it(code: str, without: set[str]) -> None:
    assert imported_by(code) & (ONLY_WHERE_ASKED_FOR | without) == set()


@pytest.mark.parametrize(
    ("words", "without"),
    [
        (("--help",), BASE | SHELLS),
        (("--version",), BASE | SHELLS),
        (("keys", "list", "--help"), {"cattrs", "h11", "msgspec", "yaml"} | SHELLS),
    ],
    ids=["help", "version", "keys"],
)
def test_a_command_imports_what_it_needs(words: tuple[str, ...], without: set[str]) -> None:
    assert imported_by_command(*words) & (ONLY_WHERE_ASKED_FOR | without) == set()


def test_a_hub_that_serves_imports_what_a_hub_needs(tmp_path: Path) -> None:
    hub = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"{SAYING}from trio_hub.cli import main\nmain({[*SERVING, str(tmp_path)]!r})",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with hub:
        assert hub.stdout is not None
        assert hub.stdout.readline().startswith("trio_hub listening on ")
        hub.terminate()
        _, said = hub.communicate(timeout=PATIENCE_SECONDS)
    imported = set(said.splitlines()[-1].split())
    assert "trio_hub.hub.hub" in imported
    unneeded = ONLY_WHERE_ASKED_FOR | {
        "platformdirs",
        "trio_hub.client",
        "trio_hub.federation",
        "trio_hub.metrics",
        "yaml",
    }
    assert imported & unneeded == set()
