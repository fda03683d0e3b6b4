"""Logs of channels that are open are trimmed: what is old, settled and in a snapshot goes."""

from __future__ import annotations

from ..stores import KnowledgeStore, TrimmingStore

__all__ = ["firsts_of"]


async def firsts_of(store: KnowledgeStore, prefix: str) -> dict[str, int]:
    """Return where the logs below `prefix` begin that were trimmed. Raises `StoreError`."""
    return await store.firsts_under(prefix) if isinstance(store, TrimmingStore) else {}
