"""``peers``: who is at a hub, what they can do, and how well they did it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import get_args

import attrs
import trio

from ..client import AgentClient, PeerProfile
from ..errors import NotFoundError
from ..protocol.discovery import PEERS_MAX
from ..records import PassportKind, PeerOrder, PeerSummary, TrackRecord
from ..wire.validation import encode
from .command import Command, count
from .connecting import add_connection_arguments, explained, make_link, passport_of
from .logs import configure_logging
from .paging import through
from .tables import print_table, printable
from .visiting import visiting

__all__ = ["PEERS"]

_COLUMNS = ("name", "kind", "capabilities", "tasks", "success", "median", "summary")
_SUMMARY_CHARACTERS = 60

_DESCRIPTION = """\
Find those whom an agent could ask, or read all that is known of one of them.

  python -m trio_hub peers find --name hanna --capability refunds --sort-by track_record
  python -m trio_hub peers describe bob --name hanna

Whom a rule keeps the agent --name from is not found. Status 0: done; 1: there is nobody of that
name; 2: the hub cannot be reached, or does not let us in.
"""

Work = Callable[[AgentClient, Namespace], Awaitable[int]]


async def _find(agent: AgentClient, arguments: Namespace) -> int:
    rows: list[tuple[str, ...]] = []
    async for peer in _found(agent, arguments):
        if arguments.json:
            print(encode(peer).decode())
            continue
        tasks, success, median, _ = _figures(peer.track_record)
        capabilities = ", ".join(peer.capabilities)
        summary = peer.summary[:_SUMMARY_CHARACTERS]
        rows.append((peer.name, peer.kind, capabilities, tasks, success, median, summary))
    if rows:
        print_table(_COLUMNS, rows)
    elif not arguments.json:
        print("nobody")
    return 0


def _found(agent: AgentClient, arguments: Namespace) -> AsyncIterator[PeerSummary]:
    async def ask(most: int, behind: str | None) -> tuple[Sequence[PeerSummary], str | None]:
        page = await agent.peers.find(
            capability=arguments.capability,
            domain=arguments.domain,
            text=arguments.text,
            kind=arguments.kind,
            sort_by=arguments.sort_by,
            limit=most,
            after=behind,
        )
        return tuple(page), page.after

    return through(ask, page=PEERS_MAX, limit=arguments.limit)


async def _describe(agent: AgentClient, arguments: Namespace) -> int:
    try:
        profile = await agent.peers.describe(arguments.peer)
    except NotFoundError as error:
        print(f"trio_hub: {printable(error.message)}", file=sys.stderr)
        return 1
    if arguments.json:
        print(encode(attrs.asdict(profile, recurse=False)).decode())
    else:
        _print_profile(profile)
    return 0


def _print_profile(profile: PeerProfile) -> None:
    passport, resume, skill = profile.passport, profile.resume, profile.skill
    facts = {
        "name": profile.name,
        "id": profile.agent_id,
        "kind": passport.effective_kind,
        "owner": passport.owner,
        "model": passport.model or "",
        "summary": resume.summary,
        "claims": ", ".join(resume.claimed_capabilities),
        "domains": ", ".join(resume.domains),
        "skill": "" if skill is None else skill.description or skill.name,
    }
    for name, value in facts.items():
        if value:
            print(f"{name:<8} {printable(value)}")
    if profile.track_record:
        print()
        rows = [(name, *_figures(it)) for name, it in sorted(profile.track_record.items())]
        print_table(("observed", "tasks", "success", "median", "95 of 100"), rows)
    if skill is not None:
        print()
        for line in skill.body.split("\n"):
            print(printable(line))
        if skill.problem is not None:
            print(
                f"trio_hub: the front matter of its skill page cannot be read: {skill.problem}",
                file=sys.stderr,
            )


def _figures(record: TrackRecord) -> tuple[str, str, str, str]:
    rate = record.success_rate
    return (
        str(record.n),
        "" if rate is None else f"{rate:.0%}",
        _duration(record.p50_latency_ms),
        _duration(record.p95_latency_ms),
    )


def _duration(milliseconds: int | None) -> str:
    return "" if milliseconds is None else f"{milliseconds / 1000:g} s"


def _add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(title="what to do", metavar="ACTION", required=True)
    find = actions.add_parser("find", help="show who there is", allow_abbrev=False)
    find.add_argument("--capability", help="only those that claim it, or were seen to have it")
    find.add_argument("--domain", help="only those that name this domain")
    find.add_argument(
        "--text", help="only those with this in name, summary, a domain or a capability"
    )
    find.add_argument("--kind", choices=get_args(PassportKind), help="only those of this kind")
    find.add_argument(
        "--sort-by",
        choices=get_args(PeerOrder),
        default="name",
        help="by what to order them (default: %(default)s)",
    )
    find.add_argument("--limit", type=count, metavar="N", help="at most so many (default: all)")
    describe = actions.add_parser("describe", help="show one of them", allow_abbrev=False)
    describe.add_argument("peer", help="its name or id")
    for one, work in ((find, _find), (describe, _describe)):
        add_connection_arguments(one, name_help="the agent or person to look around as")
        one.add_argument("--json", action="store_true", help="one JSON object per line")
        one.set_defaults(work=work)


def _run(arguments: Namespace) -> int:
    configure_logging(level="error", format="text")
    return trio.run(partial(_visit, arguments, arguments.work))


async def _visit(arguments: Namespace, work: Work) -> int:
    with explained(arguments):
        async with visiting(make_link(arguments), passport_of(arguments), arguments) as agent:
            return await work(agent, arguments)


PEERS = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
