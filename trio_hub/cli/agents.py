"""
``agents``: shut an agent out of a hub, and let it come again.

A revocation is of a name, whoever has it and whether or not anybody has come under it yet.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from ..client import HubClient
from ..errors import ProtocolError
from ..records import Revocation
from ..wire.validation import encode
from .command import Command, CommandError
from .operator import add_action, run_as_operator
from .paging import through
from .tables import print_table, printable

__all__ = ["AGENTS"]

_PAGE = 500

_DESCRIPTION = """\
Shut agents out of a hub, let them come again, and show who is shut out.

  python -m trio_hub agents revoke intern --name ops --reason 'its laptop was stolen'
  python -m trio_hub agents revoked --name ops
  python -m trio_hub agents reinstate intern --name ops

Whoever is connected by a revoked name is told the reason and let go at once, and whoever comes by
it is refused, also after a restart of the hub, until it is reinstated. What the agent is owed is
kept for it. Other keys, tokens and certificates for the same name let nobody in either.

The name that you come as must be an operator of the hub (its --operator), and another one than
the name that you revoke. Status 0: done; 1: it was not revoked; 2: the hub cannot be reached, or
does not let us, or a value makes no sense.
"""

Work = Callable[[HubClient, Namespace], Awaitable[int]]


async def _revoke(client: HubClient, arguments: Namespace) -> int:
    agent = arguments.agent
    if agent == arguments.name:
        raise CommandError(
            f"{printable(agent)} is the name that you come as: have another operator revoke it"
        )
    with _explained():
        revocation = await client.revoke_agent(agent, arguments.reason)
    if arguments.json:
        print(_line(revocation))
    else:
        print(f"revoked {printable(agent)}")
    return 0


async def _reinstate(client: HubClient, arguments: Namespace) -> int:
    with _explained():
        revocation = await client.reinstate_agent(arguments.agent)
    if arguments.json:
        print(_line(revocation))
    elif revocation is None:
        print(f"{printable(arguments.agent)} was not revoked")
    else:
        print(f"reinstated {printable(arguments.agent)}")
    return 1 if revocation is None else 0


async def _revoked(client: HubClient, arguments: Namespace) -> int:
    rows: list[tuple[str, ...]] = []
    async for it in _all(client):
        if arguments.json:
            print(_line(it))
        else:
            rows.append((it.name, it.at, it.by, it.reason))
    if rows:
        print_table(("agent", "since", "by", "reason"), rows)
    elif not arguments.json:
        print("nobody is revoked")
    return 0


def _all(client: HubClient) -> AsyncIterator[Revocation]:
    async def ask(most: int, after: str | None) -> tuple[Sequence[Revocation], str | None]:
        page = await client.list_revocations(limit=most, after=after)
        return page.revocations, page.after

    return through(ask, page=_PAGE)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ProtocolError as error:
        raise CommandError(error.message) from error


def _line(revocation: Revocation | None) -> str:
    return encode(revocation).decode()


def _add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(title="what to do", metavar="ACTION", required=True)
    for name, summary, work in (
        ("revoke", "shut out whoever has a name", _revoke),
        ("reinstate", "let whoever has a name come again", _reinstate),
        ("revoked", "show who is shut out, why and by whom", _revoked),
    ):
        action = add_action(actions.add_parser, name, summary, work)
        if work is not _revoked:
            action.add_argument("agent", metavar="AGENT", help="the name of the agent")
        if work is _revoke:
            action.add_argument(
                "--reason",
                required=True,
                metavar="TEXT",
                help="a sentence that the agent is told, and the audit log keeps",
            )


def _run(arguments: Namespace) -> int:
    work: Work = arguments.work
    return run_as_operator(arguments, work)


AGENTS = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
