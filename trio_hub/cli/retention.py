"""The options that say how long a hub keeps channels that have ended; ``serve`` and ``compact``."""

from __future__ import annotations

from typing import Final

from ..protocol.retention import Retention
from ..records import Duration
from . import options as o
from .command import CommandError

__all__ = ["RETENTION_OPTIONS", "make_retention"]

RETENTION_OPTIONS: Final = (
    o.Option(
        name="retain-ended",
        kind=o.duration,
        help="how long channels are kept after their end, such as 30d (default: for ever)",
    ),
    o.Option(
        name="retain-ended-max",
        kind=o.count,
        help="how many ended channels of one type are kept, the youngest (default: all)",
    ),
    o.Option(
        name="archive",
        kind=o.path("DIR"),
        help="the directory for the logs of channels that are not kept any more (default: none)",
    ),
)


def make_retention(
    retain_ended: Duration | None, retain_ended_max: int | None, *, archives: bool
) -> Retention:
    """
    Return what the options wish.

    Raises:
        CommandError: There is an archive, and nothing ever goes into it.
    """
    retention = Retention(ended_for=retain_ended, ended_max=retain_ended_max)
    if archives and retention.keeps_all:
        raise CommandError(
            "--archive has nothing to do where channels are kept for ever: give --retain-ended or "
            "--retain-ended-max"
        )
    return retention
