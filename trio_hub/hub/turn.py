"""
A turn: one stretch of the hub's work without a checkpoint, and what is due at its end.

What happens in a turn (a group of commits settled, a message full of receipts taken) changes
mailboxes and pushes answers. At its end the mailboxes are looked at once, and each connection is
written to once: no task has to be woken for it. Whatever happens outside of a turn wakes the
dispatcher and the writers, which are tasks, and are as right and only slower.
"""

from __future__ import annotations

from collections.abc import Callable

from ..links import Cork

__all__ = ["Turn"]


class Turn:
    """
    The turns of one hub; there is one at a time.

    Attributes:
        cork: Keeps what is pushed during a turn.
        dispatch: Called at the end of a turn to push what mailboxes have for their connections.
    """

    __slots__ = ("cork", "dispatch")

    def __init__(self) -> None:
        self.cork = Cork()
        self.dispatch: Callable[[], None] = _nothing

    @property
    def is_on(self) -> bool:
        """Whether somebody is in a turn, and will end it."""
        return self.cork.is_in

    def begin(self) -> None:
        """Begin a turn, or go on with it. There must be no checkpoint until its end."""
        self.cork.put_in()

    def __enter__(self) -> None:
        self.begin()

    def __exit__(self, *_exc_info: object) -> None:
        self.end()

    def end(self) -> None:
        """Dispatch, and have everything written."""
        try:
            self.dispatch()
        finally:
            self.cork.pull()


def _nothing() -> None:
    pass
