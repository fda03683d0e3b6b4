"""What the hub keeps of an agent's tasks beside its resume, which everybody reads and AG2 too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from ..errors import FrameError
from ..protocol.latency_sketch import LatencySketch
from ..wire.validation import decode_strictly
from . import paths

__all__ = ["COUNTED_TASKS_MAX", "Measured", "read_measured"]

#: Tasks of one capability that are known to be counted, the last ones. Who counts one again does so
#: because an answer was lost, moments ago.
COUNTED_TASKS_MAX: Final = 128


@attrs.frozen(kw_only=True)
class Measured:
    """
    Of tasks that exercised one capability.

    Attributes:
        latencies: How long they took.
        counted: The ids of those that were counted last.
    """

    capability: str
    latencies: LatencySketch = attrs.field(factory=LatencySketch)
    counted: tuple[str, ...] = ()

    def after(self, latencies: LatencySketch, task_id: str | None) -> Measured:
        """Return what is kept after one more task."""
        counted = self.counted if task_id is None else (*self.counted, task_id)[-COUNTED_TASKS_MAX:]
        return attrs.evolve(self, latencies=latencies, counted=counted)


def read_measured(parts: Mapping[str, bytes]) -> tuple[dict[str, Measured], list[FrameError]]:
    """
    Return what can be read, by capability, and what was wrong with the rest.

    Args:
        parts: The documents of one agent, by what follows its id in their paths.
    """
    found: dict[str, Measured] = {}
    damaged: list[FrameError] = []
    for what, data in parts.items():
        if what.startswith(paths.LATENCIES_PREFIX):
            try:
                measured = decode_strictly(data, Measured, "latencies")
                found[measured.capability] = measured
            except FrameError as error:
                damaged.append(error)
    return found, damaged
