"""
The commands, and how one of them is found and run.

To add a command, write a module with a `Command` in it and name it in `COMMANDS`. Only the module
of the command that was typed is imported: what one of them needs delays none of the others.
Without a command, what is typed is meant for ``serve``.
"""

from __future__ import annotations

import argparse
import pkgutil
import sys
from collections.abc import Sequence
from typing import NoReturn

import attrs

from .._version import __version__
from ._stdout import silence_stdout
from .command import USAGE_STATUS, Command, CommandError

__all__ = ["COMMANDS", "main"]

PROGRAM = "trio_hub"


@attrs.frozen
class Listed:
    """
    A command in the list of them.

    Attributes:
        name: The word for it on the command line.
        summary: Half a line, for the list of commands.
        place: Where its `Command` is, in this package, as ``module:NAME``.
    """

    name: str
    summary: str
    place: str

    def load(self) -> Command:
        """Import it."""
        command: Command = pkgutil.resolve_name(f"{__package__}.{self.place}")
        return command


_SERVE = Listed("serve", "serve a hub (this is what happens without a command)", "serve:SERVE")

COMMANDS: tuple[Listed, ...] = (
    _SERVE,
    Listed(
        "demo",
        "kill an agent and the hub in the middle of things, and see nothing lost",
        "demo:DEMO",
    ),
    Listed("dead-letters", "see to what a hub could not deliver", "dead_letters:DEAD_LETTERS"),
    Listed("health", "ask a hub how it is doing", "health:HEALTH"),
    Listed("drain", "have a hub end in good order", "drain:DRAIN"),
    Listed("keys", "make, list, revoke and rotate API keys", "keys:KEYS"),
    Listed("audit", "read or check the audit log of a hub that is not running", "audit:AUDIT"),
    Listed("backup", "copy a data directory into one file, while the hub runs", "backup:BACKUP"),
    Listed("restore", "make a data directory out of a backup", "backup:RESTORE"),
    Listed(
        "compact",
        "make the data directory of a hub that does not run smaller",
        "compact:COMPACT",
    ),
    Listed("graph", "check the graph of a workflow, and draw it", "graph:GRAPH"),
    Listed("mcp", "the agents of a hub as tools for MCP clients", "mcp:MCP"),
    Listed("chat", "talk with an agent, line by line", "chat:CHAT"),
    Listed("peers", "who is at a hub, and what they can do", "peers:PEERS"),
    Listed("rules", "set ceilings over what agents may do", "rules:RULES"),
    Listed("agents", "shut agents out, and let them come again", "agents:AGENTS"),
)

# What a shell reports of a program that Ctrl-C ended.
_INTERRUPTED_STATUS = 130

_EPILOG = f"""\
Without a command, serve is meant: `{PROGRAM} --port 9000` is `{PROGRAM} serve --port 9000`.

examples:
  python -m {PROGRAM}                        serve on 127.0.0.1:8765, kept in your data directory
  python -m {PROGRAM} --memory --port 0      serve on a free port, keep nothing
  python -m {PROGRAM} demo                   see what happens when processes are killed
  python -m {PROGRAM} serve --help           all options of the hub
"""


class _Parser(argparse.ArgumentParser):
    """Complains in one line, where argparse would print the usage first."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")


def _make_parser(typed: str) -> argparse.ArgumentParser:
    """
    Make the parser for a command line.

    Args:
        typed: Its first word. Of the other commands the parser knows only that they are there.
    """
    parser = _Parser(
        prog=PROGRAM,
        description="A hub for AI agents: durable channels over WebSocket.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for listed in COMMANDS:
        if listed.name != typed:
            commands.add_parser(listed.name, help=listed.summary)
            continue
        command = listed.load()
        one = commands.add_parser(
            listed.name,
            help=listed.summary,
            description=command.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    return parser


def _with_command(words: Sequence[str]) -> list[str]:
    """Put ``serve`` in front of bare options."""
    if not words:
        return [_SERVE.name]
    if words[0].startswith("-") and words[0] not in ("-h", "--help", "--version"):
        return [_SERVE.name, *words]
    return list(words)


def main(words: Sequence[str] | None = None) -> int:
    """
    Run the program and return its exit status: 0 where all was done, 1 where not all could be,
    2 where it was used wrongly or could not begin.

    Args:
        words: The command line without the program's name; None is the process's own.
    """
    try:
        typed = _with_command(sys.argv[1:] if words is None else words)
        arguments = _make_parser(typed[0]).parse_args(typed)
        status: int = arguments.run(arguments)
    except CommandError as error:
        print(f"{PROGRAM}: {_one_line(error)}", file=sys.stderr)
        return USAGE_STATUS
    except BrokenPipeError:
        # Whoever read our output has left (`... | head`), and with it the reason to go on.
        silence_stdout()
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED_STATUS
    return status


def _one_line(error: CommandError) -> str:
    return " ".join(str(error).split())
