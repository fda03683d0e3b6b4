"""What stays in memory of something that was done and is over."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

__all__ = ["bytes_held_after"]


def bytes_held_after(work: Callable[[], object]) -> int:
    """Return how many bytes are held once `work` has returned that were not held before."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
