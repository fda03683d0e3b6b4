"""
``rules``: the ceilings that operators set over what agents may do.

A rule is for a name, whoever has it and whether or not anybody has come under it yet. What is in
force is the stricter of it and of what the agent has set for itself, and ``get`` shows all three.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from ..client import HubClient
from ..errors import FrameError, ProtocolError
from ..records import OperatorRule, Rule
from ..wire.validation import decode_strictly, encode
from .command import Command, CommandError
from .operator import add_action, run_as_operator
from .paging import through
from .tables import print_table, printable

__all__ = ["RULES"]

_PAGE = 500
_COLUMNS = ("field", "operators", "agent", "in force")
_NOTHING = "-"

# Each field of the command line, and where it stands in an operator's rule.
_FIELDS: dict[str, tuple[str, ...]] = {
    "outbound_to": ("access", "outbound_to"),
    "inbound_from": ("access", "inbound_from"),
    "initiate": ("access", "channel_types", "initiate"),
    "accept": ("access", "channel_types", "accept"),
    "max_concurrent_channels": ("limits", "max_concurrent_channels"),
    "max_concurrent_tasks": ("limits", "max_concurrent_tasks"),
    "channel_ttl_max": ("limits", "channel_ttl_max"),
    "delegation_depth": ("limits", "delegation_depth"),
    "per_minute": ("limits", "rate", "per_minute"),
    "burst": ("limits", "rate", "burst"),
    "max_pending": ("limits", "inbox", "max_pending"),
    "high_water": ("limits", "inbox", "high_water"),
    "overflow": ("limits", "inbox", "overflow"),
}
_LISTS = ("outbound_to", "inbound_from", "initiate", "accept")
_WORDS = ("channel_ttl_max", "overflow")

_DESCRIPTION = f"""\
Set, read and clear what operators of a hub allow an agent at most, whatever it sets for itself.

  python -m trio_hub rules set intern --name ops outbound_to='support-*,boss' per_minute=60
  python -m trio_hub rules set intern --name ops outbound_to=
  python -m trio_hub rules get intern --name ops

Fields are {", ".join(list(_FIELDS)[:5])},
{", ".join(list(_FIELDS)[5:10])},
{", ".join(list(_FIELDS)[10:])}.
set changes those that are given and leaves the others; an empty value takes a field back. Lists
are globs with commas between them, [] is nobody. 0 is no limit; times are such as 30s, 15m, 2h.

The name that you come as must be an operator of the hub (its --operator). Status 0: done; 1: there
is no such rule; 2: the hub cannot be reached, or does not let us, or a value makes no sense.
"""

Work = Callable[[HubClient, Namespace], Awaitable[int]]


async def _list(client: HubClient, arguments: Namespace) -> int:
    rows: list[tuple[str, str]] = []
    async for name in _names(client):
        rule = await client.get_operator_rule(name)
        if rule is None:
            # Cleared since.
            continue
        if arguments.json:
            print(json.dumps({"name": name, "rule": _plain(rule)}))
        else:
            says = (
                f"{field}={_shown(value)}" for field, value in _values(rule) if value is not None
            )
            rows.append((name, " ".join(says) or _NOTHING))
    if rows:
        print_table(("name", "rule"), rows)
    elif not arguments.json:
        print("no rules")
    return 0


async def _get(client: HubClient, arguments: Namespace) -> int:
    name = arguments.agent
    rule = await client.get_operator_rule(name)
    agent_id = await client.find_agent_id(name)
    own = None if agent_id is None else await client.get_rule(agent_id)
    in_force = None if agent_id is None else await client.get_effective_rule(agent_id)
    if arguments.json:
        shown = {"operators": rule, "agent": own, "in_force": in_force}
        print(json.dumps({"name": name, **{key: _plain(it) for key, it in shown.items()}}))
    else:
        by_operators = dict(_values(rule))
        by_agent = dict(_values(own))
        effective = _plain(in_force)
        rows = []
        for field in _FIELDS:
            if field in _LISTS and effective is not None:
                lists = [_shown(it) for it in effective["access"][field]]
                both = " and ".join(lists) or "*"
            else:
                both = _shown(_at(effective, _in_agents_rule(field)))
            cells = (_shown(by_operators[field]), _shown(by_agent[field]), both)
            rows.append((field, *cells))
        print_table(_COLUMNS, rows)
    if rule is None:
        print(f"trio_hub: operators have set nothing for {printable(name)}", file=sys.stderr)
        return 1
    return 0


async def _set(client: HubClient, arguments: Namespace) -> int:
    name = arguments.agent
    before = None if arguments.replace else await client.get_operator_rule(name)
    rule = _changed(before or OperatorRule(), arguments.fields)
    if arguments.fields.get("burst") and rule.limits.rate is None:
        raise CommandError("burst says nothing without per_minute: set that, too")
    await _keep(client, name, rule)
    if arguments.json:
        print(json.dumps({"name": name, "rule": _plain(rule)}))
    else:
        print(f"set for {printable(name)}")
    return 0


async def _clear(client: HubClient, arguments: Namespace) -> int:
    name = arguments.agent
    if await client.get_operator_rule(name) is None:
        print(f"trio_hub: operators have set nothing for {printable(name)}", file=sys.stderr)
        return 1
    await _keep(client, name, None)
    if arguments.json:
        print(json.dumps({"name": name, "rule": None}))
    else:
        print(f"cleared for {printable(name)}")
    return 0


async def _keep(client: HubClient, name: str, rule: OperatorRule | None) -> None:
    try:
        await client.set_operator_rule(name, rule)
    except ProtocolError as error:
        raise CommandError(error.message) from error


def _names(client: HubClient) -> AsyncIterator[str]:
    async def ask(most: int, behind: str | None) -> tuple[Sequence[str], str | None]:
        page = await client.list_operator_rules(limit=most, after=behind)
        return page.names, page.after

    return through(ask, page=_PAGE)


def _changed(rule: OperatorRule, fields: Mapping[str, Any]) -> OperatorRule:
    """Return a rule with some fields replaced; None takes one back."""
    plain = _plain(rule)
    rate = plain["limits"]["rate"] = plain["limits"]["rate"] or {"per_minute": 0, "burst": 0}
    for name, value in fields.items():
        *parents, last = _FIELDS[name]
        block = plain
        for parent in parents:
            block = block[parent]
        block[last] = 0 if value is None and block is rate else value
    if not rate["per_minute"]:
        plain["limits"]["rate"] = None
    try:
        return decode_strictly(encode(plain), OperatorRule, "rule")
    except FrameError as error:
        raise CommandError(str(error)) from error


def _field(word: str) -> tuple[str, Any]:
    """Read ``FIELD=VALUE``."""
    name, equals, text = word.partition("=")
    if not equals or name not in _FIELDS:
        raise CommandError(
            f"{printable(word)!r}: say FIELD=VALUE, with one of {', '.join(_FIELDS)}"
        )
    if not text:
        return name, None
    if name in _LISTS:
        return name, [] if text == "[]" else [it for it in map(str.strip, text.split(",")) if it]
    if name in _WORDS:
        return name, text
    try:
        return name, int(text)
    except ValueError:
        raise CommandError(f"{printable(word)!r}: {name} is a whole number") from None


def _in_agents_rule(field: str) -> tuple[str, ...]:
    path = _FIELDS[field]
    return (*path[:-1], "channel_ttl_default") if field == "channel_ttl_max" else path


def _values(rule: OperatorRule | Rule | None) -> Iterator[tuple[str, Any]]:
    """Return what a rule says in each field, None where it says nothing."""
    plain = _plain(rule)
    for field, path in _FIELDS.items():
        yield field, _at(plain, _in_agents_rule(field) if isinstance(rule, Rule) else path)


def _at(plain: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if plain is None:
            return None
        plain = plain[part]
    return plain


def _plain(rule: object) -> Any:
    return json.loads(encode(rule))


def _shown(value: Any) -> str:
    match value:
        case None:
            return _NOTHING
        case list():
            return ",".join(value) or "[]"
        case _:
            return str(value)


def _add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(title="what to do", metavar="ACTION", required=True)
    for name, summary, work in (
        ("list", "show all rules that operators have set", _list),
        ("get", "show the rule for a name, and what is in force", _get),
        ("set", "change the rule for a name", _set),
        ("clear", "take the rule for a name away", _clear),
    ):
        action = add_action(actions.add_parser, name, summary, work)
        if work is not _list:
            action.add_argument("agent", metavar="AGENT", help="the name that the rule is for")
        if work is _set:
            action.add_argument("words", nargs="+", metavar="FIELD=VALUE", help="what to set")
            action.add_argument(
                "--replace", action="store_true", help="take all fields back that are not given"
            )


def _run(arguments: Namespace) -> int:
    if "words" in arguments:
        arguments.fields = dict(map(_field, arguments.words))
        # Before anybody is asked: what makes no sense by itself.
        _changed(OperatorRule(), arguments.fields)
    work: Work = arguments.work
    return run_as_operator(arguments, work)


RULES = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
