"""``backup`` and ``restore``: a hub's data directory into one file, and back."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..errors import StoreError
from ..stores import back_up, restore
from .command import Command, CommandError

__all__ = ["BACKUP", "RESTORE"]

_BACKUP_DESCRIPTION = """\
Copy a hub's data directory into one file. The hub may be running, and does not pause.

  python -m trio_hub backup --data hub-data backups/monday

Everything that was answered before the copy began is in it. Status 0: the file is whole and on
disk; 2: there is none.
"""
_RESTORE_DESCRIPTION = """\
Make a data directory out of a backup.

  python -m trio_hub restore backups/monday --data hub-data

What was posted after the backup is not in it; clients that had got further are told that their
position is lost, and are given everything that they have not acked in what there is. Status 0:
a hub can be started on the directory; 2: nothing was made.
"""


def _add_backup_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="the file to make")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the hub's data directory"
    )


def _add_restore_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="the backup")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the data directory to make"
    )


def _back_up(arguments: Namespace) -> int:
    try:
        made = back_up(arguments.data, arguments.file)
    except StoreError as error:
        raise CommandError(str(error)) from error
    print(f"{made.path}: {made.size_bytes} bytes, checked and on disk")
    return 0


def _restore(arguments: Namespace) -> int:
    try:
        made = restore(arguments.file, arguments.data)
    except StoreError as error:
        raise CommandError(str(error)) from error
    print(f"{made.path}: {made.size_bytes} bytes, checked and on disk; epoch {made.epoch}")
    return 0


BACKUP = Command(
    description=_BACKUP_DESCRIPTION,
    add_arguments=_add_backup_arguments,
    run=_back_up,
)
RESTORE = Command(
    description=_RESTORE_DESCRIPTION,
    add_arguments=_add_restore_arguments,
    run=_restore,
)
