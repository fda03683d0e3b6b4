"""``keys``: make, list, revoke and rotate the API keys in a keys file."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

import attrs

from ..auth import HashedKey, make_key
from ..ids import iso_from_seconds
from ..records.duration import duration_seconds
from .command import Command, CommandError
from .key_file import KeyFile, read_key_file, write_key_file
from .options import typed_duration
from .tables import print_table

__all__ = ["KEYS"]

_DESCRIPTION = """\
Make, list, revoke and rotate the API keys of agents, in the file that the hub's --keys names.

  python -m trio_hub keys add alice --keys keys.toml
  python -m trio_hub keys rotate alice --keys keys.toml --grace 1d
  python -m trio_hub keys revoke 8c2f01aa --keys keys.toml
  python -m trio_hub keys list --keys keys.toml

A new key is printed once and kept nowhere: the file holds its hash. A hub that runs takes over
changes of the file within a second, and parts with who is connected by a key that is revoked.
"""


def _add(arguments: Namespace) -> int:
    content = _content_of(arguments.keys, may_be_new=True)
    now = time.time()
    ends = None if arguments.expires is None else now + duration_seconds(arguments.expires)
    token, key = make_key(arguments.name, now, ends)
    write_key_file(arguments.keys, attrs.evolve(content, hashed=[*content.hashed, key]))
    print(token)
    return 0


def _rotate(arguments: Namespace) -> int:
    content = _content_of(arguments.keys)
    name, now = arguments.name, time.time()
    if name not in content.plain and all(key.name != name for key in content.hashed):
        raise CommandError(f"{arguments.keys} has no key of {name!r}: use `keys add`")
    ends = now + duration_seconds(arguments.grace)
    if name in content.plain:
        raise CommandError(
            f"the key of {name!r} stands in {arguments.keys} as it is, and cannot be given an "
            "end: use `keys add`, and delete its line once the new one is in use"
        )
    token, new = make_key(name, now)
    old = [_ending(key, ends) if key.name == name else key for key in content.hashed]
    write_key_file(arguments.keys, attrs.evolve(content, hashed=[*old, new]))
    print(token)
    return 0


def _ending(key: HashedKey, ends: float) -> HashedKey:
    """Let a key end then, if it does not end before."""
    if not key.is_valid_at(ends):
        return key
    return attrs.evolve(key, expires_at=iso_from_seconds(ends))


def _revoke(arguments: Namespace) -> int:
    content = _content_of(arguments.keys)
    kept = [key for key in content.hashed if key.key_id != arguments.key_id]
    if len(kept) == len(content.hashed):
        raise CommandError(f"{arguments.keys} has no key with the id {arguments.key_id!r}")
    write_key_file(arguments.keys, attrs.evolve(content, hashed=kept))
    return 0


def _list(arguments: Namespace) -> int:
    content = _content_of(arguments.keys)
    now = time.time()
    rows = [
        (
            key.key_id,
            key.name,
            key.created_at,
            key.expires_at or "never",
            "yes" if key.is_valid_at(now) else "expired",
        )
        for key in content.hashed
    ]
    rows += [("-", name, "-", "never", "yes") for name in content.plain]
    print_table(("key_id", "name", "created_at", "expires_at", "valid"), rows)
    return 0


def _content_of(path: Path, *, may_be_new: bool = False) -> KeyFile:
    if may_be_new and not path.exists():
        return KeyFile()
    return read_key_file(path)


def _add_arguments(parser: ArgumentParser) -> None:
    common = ArgumentParser(add_help=False)
    common.add_argument("--keys", type=Path, required=True, metavar="FILE", help="the keys file")
    doing = parser.add_subparsers(title="what to do", metavar="WHAT", required=True)
    add = doing.add_parser("add", parents=[common], help="make one more key for an agent")
    add.add_argument("name", help="the agent")
    add.add_argument(
        "--expires", type=typed_duration, metavar="DURATION", help="after so long, such as 90d"
    )
    add.set_defaults(work=_add)
    rotate = doing.add_parser(
        "rotate", parents=[common], help="make a new key, and let the old ones end soon"
    )
    rotate.add_argument("name", help="the agent")
    rotate.add_argument(
        "--grace",
        type=typed_duration,
        default="1d",
        metavar="DURATION",
        help="how long the old ones go on (default: %(default)s)",
    )
    rotate.set_defaults(work=_rotate)
    revoke = doing.add_parser("revoke", parents=[common], help="take a key away")
    revoke.add_argument("key_id", help="its id, as `keys list` shows it")
    revoke.set_defaults(work=_revoke)
    listing = doing.add_parser("list", parents=[common], help="show whose keys there are")
    listing.set_defaults(work=_list)


def _run(arguments: Namespace) -> int:
    status: int = arguments.work(arguments)
    return status


KEYS = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
