"""
The commands, and how one of them is found and run.

To add a command, write a module with a `Command` in it and name it in `COMMANDS`. Without a
command, what is typed is meant for ``serve``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from .._version import __version__
from ._stdout import silence_stdout
from .agents import AGENTS
from .audit import AUDIT
from .backup import BACKUP, RESTORE
from .chat import CHAT
from .command import USAGE_STATUS, Command, CommandError
from .compact import COMPACT
from .dead_letters import DEAD_LETTERS
from .demo import DEMO
from .drain import DRAIN
from .graph import GRAPH
from .health import HEALTH
from .keys import KEYS
from .mcp import MCP
from .peers import PEERS
from .rules import RULES
from .serve import SERVE

__all__ = ["COMMANDS", "main"]

PROGRAM = "trio_hub"

COMMANDS: tuple[Command, ...] = (
    SERVE,
    DEMO,
    DEAD_LETTERS,
    HEALTH,
    DRAIN,
    KEYS,
    AUDIT,
    BACKUP,
    RESTORE,
    COMPACT,
    GRAPH,
    MCP,
    CHAT,
    PEERS,
    RULES,
    AGENTS,
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


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="A hub for AI agents: durable channels over WebSocket.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        one = commands.add_parser(
            command.name,
            help=command.summary,
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
        return [SERVE.name]
    if words[0].startswith("-") and words[0] not in ("-h", "--help", "--version"):
        return [SERVE.name, *words]
    return list(words)


def main(words: Sequence[str] | None = None) -> int:
    """
    Run the program and return its exit status: 0 where all was done, 1 where not all could be,
    2 where it was used wrongly or could not begin.

    Args:
        words: The command line without the program's name; None is the process's own.
    """
    try:
        arguments = _make_parser().parse_args(
            _with_command(sys.argv[1:] if words is None else words)
        )
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
