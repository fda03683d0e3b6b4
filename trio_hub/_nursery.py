"""A nursery for context managers whose users should not have to know that there is one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

__all__ = ["open_plain_nursery"]


@asynccontextmanager
async def open_plain_nursery() -> AsyncIterator[trio.Nursery]:
    """
    Open a nursery out of which the only exception comes bare, not in a group of one.

    For nurseries whose tasks raise nothing: then what the block raised is all there can be.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        error = group.exceptions[0]
    else:
        return
    try:
        raise error
    finally:
        del error
