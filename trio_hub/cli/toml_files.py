"""Reading the files that a person wrote: every fault in one of them is named, all at once."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from .command import CommandError

__all__ = ["load_toml", "malformed", "read_file", "toml_name"]

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
