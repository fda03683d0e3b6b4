"""
``audit``: the audit log in a data directory, read and checked without a hub.

It works on the directory itself, so the hub must not run; while it does, an operator reads the
log over the wire.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import attrs
import trio

from ..errors import ProtocolError, StoreError
from ..hub.audit import AuditLog, read_audit_records
from ..hub.audit_chain import ChainCheck
from ..hub.committer import Committer
from ..hub.paths import AUDIT_LOG
from ..records import AuditRecord
from ..stores import DiskKnowledgeStore, KnowledgeStore
from ..stores.disk import DATABASE_NAME
from .command import Command, CommandError, count
from .tables import print_table

__all__ = ["AUDIT"]

_PAGE = 1000
_COLUMNS = ("position", "at", "kind", "agent", "channel", "by", "details")

_DESCRIPTION = """\
Read or check the audit log in a data directory whose hub is not running.

  python -m trio_hub audit verify --data hub-data
  python -m trio_hub audit show --data hub-data --kind rule_changed --limit 20

verify prints how many records there are and the hash of the last one: its head. Nothing in the
log itself can show that its end was cut off or that all of it was written anew, so keep the head
somewhere else, and give it with --head the next time.

Status 0: the log is whole; 1: it is not, and the first bad record is named on stdout; 2: it
cannot be read at all.
"""

Work = Callable[[KnowledgeStore, Namespace], Awaitable[int]]


async def _verify(store: KnowledgeStore, arguments: Namespace) -> int:
    check = ChainCheck()
    known: int | None = None
    async for raw in _raws(store):
        if not check.add(raw):
            print(f"record {check.records} is bad: {check.problem}")
            print(f"the {check.records} records before it are whole")
            return 1
        if check.head == arguments.head:
            known = check.records
    if arguments.head is not None and known is None:
        print(f"no record has the hash {arguments.head}: the log was cut off, or written anew")
        return 1
    print(f"{check.records} records, all of them whole")
    if known is not None:
        print(f"{check.records - known} of them are newer than the head that was given")
    if check.records:
        print(f"head {check.head}")
    return 0


async def _show(store: KnowledgeStore, arguments: Namespace) -> int:
    audit = AuditLog(store, Committer(store), lambda: 0.0)
    for problem in await audit.load():
        raise CommandError(problem)
    found: list[AuditRecord] = []
    before = len(audit)
    while before > 0 and len(found) < arguments.limit:
        page = await audit.query(
            kind=arguments.kind,
            agent_id=arguments.agent,
            channel_id=arguments.channel,
            since=arguments.since,
            until=arguments.until,
            limit=arguments.limit - len(found),
            before=before,
        )
        found[:0] = page.records
        before = page.start
    if arguments.json:
        for record in found:
            print(json.dumps(attrs.asdict(record)))
    elif found:
        print_table(_COLUMNS, [_row(record) for record in found])
    else:
        print("no records")
    return 0


def _row(record: AuditRecord) -> tuple[str, ...]:
    return (
        str(record.position),
        record.at,
        record.kind,
        record.agent_id or "",
        record.channel_id or "",
        record.by or "",
        json.dumps(record.details) if record.details else "",
    )


async def _raws(store: KnowledgeStore) -> AsyncIterator[bytes | None]:
    length = await store.length(AUDIT_LOG)
    for start in range(0, length, _PAGE):
        for raw in await read_audit_records(store, start, min(start + _PAGE, length)):
            yield raw


def _add_arguments(parser: ArgumentParser) -> None:
    data = ArgumentParser(add_help=False)
    data.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the hub's data directory"
    )
    doing = parser.add_subparsers(title="what to do", metavar="WHAT", required=True)
    verify = doing.add_parser("verify", parents=[data], help="check that no record was changed")
    verify.add_argument("--head", metavar="HASH", help="a hash that the log must hold")
    verify.set_defaults(work=_verify)
    show = doing.add_parser("show", parents=[data], help="print the latest records")
    show.add_argument("--kind", help="only of this kind, such as rule_changed")
    show.add_argument("--agent", metavar="ID", help="only what happened to it, or what it did")
    show.add_argument("--channel", metavar="ID", help="only in this channel")
    show.add_argument("--since", metavar="TIME", help="not before this time, ISO 8601")
    show.add_argument("--until", metavar="TIME", help="before this time")
    show.add_argument("--limit", type=count, default=50, metavar="N", help="at most so many (50)")
    show.add_argument("--json", action="store_true", help="one JSON object on each line")
    show.set_defaults(work=_show)


async def _open_and(work: Work, arguments: Namespace) -> int:
    # Opening a store makes it where there is none, which nobody wants who looks for a log.
    if not await trio.Path(arguments.data / DATABASE_NAME).exists():
        raise CommandError(f"{arguments.data} is no data directory of a hub")
    try:
        async with DiskKnowledgeStore(arguments.data) as store:
            return await work(store, arguments)
    except (StoreError, ProtocolError, OSError) as error:
        raise CommandError(str(error)) from error


def _run(arguments: Namespace) -> int:
    return trio.run(_open_and, arguments.work, arguments)


AUDIT = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
