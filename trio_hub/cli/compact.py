"""``compact``: let go of what is not kept any more, and give the disk what that leaves."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import trio

from ..errors import StoreError
from ..hub import Hub
from ..protocol.retention import Retention
from ..stores import DiskKnowledgeStore, compact
from ..stores.backup import DATABASE_NAME
from .command import Command, CommandError
from .logs import configure_logging
from .retention import RETENTION_OPTIONS, make_retention

__all__ = ["COMPACT"]

_DESCRIPTION = """\
Make the data directory of a hub that does not run smaller.

  python -m trio_hub compact --data hub-data --retain-ended 30d --archive hub-archive

First, channels that ended long enough ago and owe nobody anything are archived and taken out, and
the logs of open channels are trimmed, as a hub with the same options does while it runs. Then the
database is rewritten without the space that they left, which takes as much free disk as the
result. Ending it at any moment is safe.

Status 0: done; 2: it could not be, and nothing is lost.
"""


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the hub's data directory"
    )
    for option in RETENTION_OPTIONS:
        option.add_to(parser)


def _run(arguments: Namespace) -> int:
    configure_logging(level="error", format="text")
    wishes = {option.key: getattr(arguments, option.key, None) for option in RETENTION_OPTIONS}
    retention = make_retention(wishes)
    # Opening a store makes it where there is none, which nobody wants who compacts.
    if not (arguments.data / DATABASE_NAME).exists():
        raise CommandError(f"{arguments.data} is no data directory of a hub")
    try:
        if not retention.keeps_all:
            channels, records = trio.run(_let_go, arguments.data, retention, wishes["archive"])
            print(f"{channels} channels taken out")
            if not retention.keeps_records:
                print(f"{records} records of open channels taken out")
        before, after = compact(arguments.data)
    except (StoreError, OSError) as error:
        raise CommandError(str(error)) from error
    print(f"{arguments.data}: {before} bytes before, {after} now")
    return 0


async def _let_go(data: Path, retention: Retention, archive: Path | None) -> tuple[int, int]:
    async with Hub.open(DiskKnowledgeStore(data), retention=retention, archive=archive) as hub:
        channels = await hub.retire_due()
        await hub.trim_due()
        # The hub may have begun by itself.
        return channels, hub.health().records_trimmed


COMPACT = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
