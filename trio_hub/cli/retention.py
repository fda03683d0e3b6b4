"""The options that say what a hub keeps, and for how long; ``serve`` and ``compact`` have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..protocol.retention import Retention
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
        name="retain-records",
        kind=o.duration,
        help="how long a record of an open channel is kept, such as 90d (default: for ever)",
    ),
    o.Option(
        name="retain-records-max",
        kind=o.count,
        help="how many records of one open channel are kept, the youngest (default: all)",
    ),
    o.Option(
        name="retain-records-bytes",
        kind=o.count,
        help="how many bytes of records of one open channel are kept (default: all)",
    ),
    o.Option(
        name="archive",
        kind=o.path("DIR"),
        help="the directory for what is not kept any more (default: none)",
    ),
)


def make_retention(wishes: Mapping[str, Any]) -> Retention:
    """
    Return what the options wish.

    Args:
        wishes: The options by key; one that was not given is None, or not there.

    Raises:
        CommandError: There is an archive, and nothing ever goes into it.
    """
    retention = Retention(
        ended_for=wishes.get("retain_ended"),
        ended_max=wishes.get("retain_ended_max"),
        records_for=wishes.get("retain_records"),
        records_max=wishes.get("retain_records_max"),
        records_bytes_max=wishes.get("retain_records_bytes"),
    )
    if wishes.get("archive") is not None and retention.keeps_all:
        raise CommandError(
            "--archive has nothing to do where everything is kept for ever: give one of the options "
            "that begin with --retain"
        )
    return retention
