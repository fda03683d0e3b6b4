"""
``dead-letters``: what a hub could not deliver, for those who look after it.

Only ``read`` shows what was said; a list shows ids, counts and reasons. Every letter that could
not be dealt with is named on stderr, and makes the status 1.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import attrs

from ..client import HubClient
from ..errors import NotFoundError, StoreError
from ..records import EV_TEXT, Envelope, KeptLetter
from ..wire.validation import encode
from .command import Command, CommandError, count
from .operator import add_action, run_as_operator
from .paging import through
from .tables import print_table, printable

__all__ = ["DEAD_LETTERS"]

_PAGE = 500
_COLUMNS = ("died at", "agent", "envelope", "sent", "state", "reason")

_DESCRIPTION = """\
List, read, replay and discard what a hub could not deliver: envelopes that their recipient
failed on too often, could not take, or had no room for.

  python -m trio_hub dead-letters list --name ops --key-file ops.key
  python -m trio_hub dead-letters replay --name ops --agent bob --all

The name must be an operator of the hub (its --operator); any agent may see to its own letters
with --agent. Status 0: done; 1: not all letters could be dealt with, each is named on stderr;
2: the hub cannot be reached, or does not let us.
"""

Work = Callable[[HubClient, Namespace], Awaitable[int]]


async def _list(client: HubClient, arguments: Namespace) -> int:
    agent_id = await _agent_id(client, arguments)
    rows: list[tuple[str, ...]] = []
    async for letter in _letters(client, agent_id, limit=arguments.limit):
        name = await client.name_for(letter.agent_id)
        if arguments.json:
            print(json.dumps({"agent": name, **attrs.asdict(letter)}))
        else:
            state = "replaying" if letter.replaying else "dead"
            sent = str(letter.attempts)
            rows.append((letter.died_at, name, letter.envelope_id, sent, state, letter.reason))
    if rows:
        print_table(_COLUMNS, rows)
    elif not arguments.json:
        print("no dead letters")
    return 0


async def _read(client: HubClient, arguments: Namespace) -> int:
    async def show(letter: KeptLetter) -> None:
        envelope = await client.read_dead_letter(letter.agent_id, letter.envelope_id)
        if arguments.json:
            print(encode(envelope).decode())
        else:
            await _print_envelope(client, letter, envelope)

    return await _for_each(client, arguments, show)


async def _replay(client: HubClient, arguments: Namespace) -> int:
    async def replay(letter: KeptLetter) -> None:
        marked = await client.replay_dead_letter(letter.agent_id, letter.envelope_id)
        await _tell(client, arguments, "replaying", marked)

    return await _for_each(client, arguments, replay)


async def _discard(client: HubClient, arguments: Namespace) -> int:
    async def discard(letter: KeptLetter) -> None:
        await client.discard_dead_letter(letter.agent_id, letter.envelope_id)
        await _tell(client, arguments, "discarded", letter)

    return await _for_each(client, arguments, discard)


async def _for_each(
    client: HubClient, arguments: Namespace, work: Callable[[KeptLetter], Awaitable[None]]
) -> int:
    """Do something with every letter that was named. Returns the exit status."""
    agent_id = await _agent_id(client, arguments)
    status = 0
    if getattr(arguments, "all", False):
        # All that are there now: a letter that is replayed may come back while we are at it.
        chosen = [letter async for letter in _letters(client, agent_id)]
    else:
        chosen = []
        for envelope_id in arguments.envelope_ids:
            found = await _find(client, agent_id, envelope_id)
            if not found:
                print(
                    f"trio_hub: there is no dead letter {printable(envelope_id)}", file=sys.stderr
                )
                status = 1
            chosen += found
    for letter in chosen:
        try:
            await work(letter)
        except (NotFoundError, StoreError) as error:
            print(f"trio_hub: {letter.envelope_id}: {printable(error.message)}", file=sys.stderr)
            status = 1
    return status


async def _find(client: HubClient, agent_id: str | None, envelope_id: str) -> list[KeptLetter]:
    """Return the letter of an envelope; there are several where no agent was named."""
    found: list[KeptLetter] = []
    async for letter in _letters(client, agent_id, after=envelope_id):
        if letter.envelope_id != envelope_id:
            break
        found.append(letter)
    if len(found) > 1:
        names = [await client.name_for(letter.agent_id) for letter in found[:5]]
        raise CommandError(
            f"{envelope_id} is a dead letter of {len(found)} agents ({', '.join(names)}...): say "
            "whose with --agent"
        )
    return found


def _letters(
    client: HubClient, agent_id: str | None, *, after: str | None = None, limit: int | None = None
) -> AsyncIterator[KeptLetter]:
    async def ask(most: int, behind: str | None) -> tuple[Sequence[KeptLetter], str | None]:
        page = await client.list_dead_letters(agent_id, limit=most, after=behind)
        await client.names_for({letter.agent_id for letter in page.letters})
        return page.letters, page.after

    return through(ask, page=_PAGE, limit=limit, after=after)


async def _agent_id(client: HubClient, arguments: Namespace) -> str | None:
    if arguments.agent is None:
        return None
    try:
        return await client.id_for(arguments.agent)
    except NotFoundError as error:
        raise CommandError(f"--agent: {error}") from error


async def _tell(client: HubClient, arguments: Namespace, done: str, letter: KeptLetter) -> None:
    name = await client.name_for(letter.agent_id)
    if arguments.json:
        print(json.dumps({"done": done, "agent": name, **attrs.asdict(letter)}))
    else:
        print(f"{done} {letter.envelope_id} of {printable(name)}")


async def _print_envelope(client: HubClient, letter: KeptLetter, envelope: Envelope) -> None:
    facts = {
        "envelope": letter.envelope_id,
        "channel": letter.channel_id,
        "position": str(letter.position),
        "from": await client.name_for(envelope.sender_id),
        "for": await client.name_for(letter.agent_id),
        "type": envelope.event_type,
        "posted at": envelope.created_at,
        "died at": letter.died_at,
        "sent": str(letter.attempts),
        "reason": letter.reason,
    }
    for name, value in facts.items():
        print(f"{name:<10} {printable(value)}")
    text = envelope.event_data.get("text")
    print()
    if envelope.event_type == EV_TEXT and isinstance(text, str):
        for line in text.split("\n"):
            print(printable(line))
    else:
        # In ASCII, so that nothing in it reaches the terminal as it is.
        print(json.dumps(envelope.event_data, indent=2))
    print()


def _add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(title="what to do", metavar="ACTION", required=True)
    for name, summary, work in (
        ("list", "show which letters there are", _list),
        ("read", "show what was to be delivered", _read),
        ("replay", "deliver letters once more", _replay),
        ("discard", "throw letters away", _discard),
    ):
        action = add_action(actions.add_parser, name, summary, work)
        action.add_argument("--agent", metavar="NAME", help="only this agent's (a name or an id)")
        if work is _list:
            action.add_argument(
                "--limit", type=count, metavar="N", help="at most so many (default: all)"
            )
        else:
            action.add_argument("envelope_ids", nargs="*", metavar="ENVELOPE", help="envelope ids")
        if work in (_replay, _discard):
            action.add_argument("--all", action="store_true", help="all that there are now")


def _run(arguments: Namespace) -> int:
    if "envelope_ids" in arguments:
        everything = getattr(arguments, "all", False)
        if everything == bool(arguments.envelope_ids):
            raise CommandError(
                "say which letters: envelope ids"
                + (", or --all, and not both" if "all" in arguments else "")
            )
    work: Work = arguments.work
    return run_as_operator(arguments, work)


DEAD_LETTERS = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
