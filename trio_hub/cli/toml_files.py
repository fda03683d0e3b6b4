"""Reading the files that a person wrote: every fault in one of them is named, all at once."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .command import CommandError

__all__ = ["load_toml", "malformed", "read_file", "read_keys", "toml_name"]

_TOML_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a table",
}


def read_file(path: Path, what: str) -> bytes:
    """
    Return the content of a file.

    Args:
        what: What it is in the error, such as ``"keys file"``.

    Raises:
        CommandError: It cannot be read, and why.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CommandError(f"cannot read the {what} {path}: {reason}") from None


def load_toml(path: Path, what: str) -> dict[str, Any]:
    """
    Return the content of a TOML file.

    Raises:
        CommandError: It cannot be read, or is not TOML; the error says in which line.
    """
    try:
        return tomllib.loads(read_file(path, what).decode())
    except UnicodeDecodeError:
        raise malformed(path, what, ["it is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise malformed(path, what, [f"not TOML: {error}"]) from None


def malformed(path: Path, what: str, problems: list[str]) -> CommandError:
    """Return the error for a file with these problems."""
    return CommandError(f"malformed {what} {path}: {'; '.join(problems)}")


def toml_name(value: object) -> str:
    """Name the kind of a TOML value, never the value: it may be a secret."""
    return _TOML_NAMES.get(type(value), "a date or time")


def read_keys(path: Path) -> dict[str, str]:
    """
    Read the API keys of agents: ``name = "key"``, one line for each.

    Raises:
        CommandError: It cannot be read or something in it is no key; the error names every
            agent whose key is wrong, and shows no key.
    """
    table = load_toml(path, "keys file")
    problems = [problem for item in table.items() for problem in _problems_with_key(*item)]
    if not table:
        problems = ['it names no agent, so nobody could connect: write NAME = "KEY" in it']
    if problems:
        raise malformed(path, "keys file", problems)
    return table


def _problems_with_key(name: str, key: object) -> list[str]:
    if isinstance(key, Mapping):
        inner = next(iter(key), "...")
        return [f'{name}: expected a string, got a table; quote a name with dots: "{name}.{inner}"']
    if not isinstance(key, str):
        return [f"{name}: expected a string, got {toml_name(key)}"]
    if not key.strip():
        return [f"{name}: the key is empty"]
    return []
