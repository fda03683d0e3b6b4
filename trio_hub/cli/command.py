"""What a command of the program is, and how one fails: in one line, with status 2."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable

import attrs

__all__ = ["USAGE_STATUS", "Command", "CommandError", "count"]

#: The exit status of a program that was used in a way it cannot do anything about.
USAGE_STATUS = 2


class CommandError(Exception):
    """
    The command cannot do what it was asked to do; it says why, in one line, and ends.

    Args:
        message: What was wrong, with the flag or file, and what to do.
    """


@attrs.frozen(kw_only=True)
class Command:
    """
    What one command does; its name and what the list of commands says of it stand in `main`.

    Attributes:
        description: What it does, for its own ``--help``.
        add_arguments: Adds its flags to its parser.
        run: Does it, and returns the exit status.
    """

    description: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]


def count(word: str) -> int:
    """Read a number of things, one at least, for a flag. Raises `ValueError`."""
    number = int(word)
    if number < 1:
        raise ValueError(word)
    return number
