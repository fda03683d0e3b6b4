"""
The file of API keys that ``--keys`` names, read and written.

::

    alice = "a key as it is"           # one line for each agent, written by hand

    [[key]]                            # as `trio_hub keys add` writes it
    key_id = "8c2f01aa"
    name = "bob"
    sha256 = "..."
    created_at = "2026-01-01T00:00:00+00:00"
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import tomli_w

from ..auth import HashedKey
from .command import CommandError
from .toml_files import load_toml, malformed, toml_name

__all__ = ["KeyFile", "read_key_file", "write_key_file"]

_WHAT: Final = "keys file"
_TABLES: Final = "key"


@attrs.frozen
class KeyFile:
    """
    What a keys file holds: keys as they are, by name, and hashed ones.

    Attributes:
        is_meant: Whether it lists keys, if only none: it is not a file that was just begun.
    """

    plain: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    hashed: Sequence[HashedKey] = ()
    is_meant: bool = attrs.field(default=True, eq=False)

    @property
    def is_empty(self) -> bool:
        """Whether nobody could connect with it."""
        return not self.plain and not self.hashed


def read_key_file(path: Path) -> KeyFile:
    """
    Read a keys file.

    Raises:
        CommandError: It cannot be read, or something in it is no key; the error names every one
            that is wrong, and shows no key.
    """
    table = load_toml(path, _WHAT)
    is_meant = bool(table)
    listed = table.pop(_TABLES, []) if isinstance(table.get(_TABLES), list) else []
    problems = [problem for item in table.items() for problem in _problems_with_plain(*item)]
    hashed: list[HashedKey] = []
    for number, entry in enumerate(listed, 1):
        try:
            hashed.append(HashedKey(**entry))
        except (TypeError, ValueError) as error:
            problems.append(f"[[{_TABLES}]] number {number}: {error}")
    ids = [key.key_id for key in hashed]
    problems += [f"two keys have the key_id {it}" for it in sorted(set(ids)) if ids.count(it) > 1]
    if problems:
        raise malformed(path, _WHAT, problems)
    return KeyFile(table, hashed, is_meant)


def write_key_file(path: Path, content: KeyFile) -> None:
    """
    Put a keys file in the place of the one that is there, at once or not at all.

    Raises:
        CommandError: It cannot be written; the old one is as it was.

    Durability: on disk when it returns. For its owner's eyes only.
    """
    data: dict[str, Any] = dict(content.plain)
    data[_TABLES] = [
        {name: value for name, value in attrs.asdict(key).items() if value is not None}
        for key in content.hashed
    ]
    partial = path.with_name(f"{path.name}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            tomli_w.dump(data, file)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CommandError(f"cannot write the {_WHAT} {path}: {reason}") from None


def _problems_with_plain(name: str, key: object) -> list[str]:
    if isinstance(key, Mapping):
        inner = next(iter(key), "...")
        return [f'{name}: expected a string, got a table; quote a name with dots: "{name}.{inner}"']
    if not isinstance(key, str):
        return [f"{name}: expected a string, got {toml_name(key)}"]
    if not key.strip():
        return [f"{name}: the key is empty"]
    return []
