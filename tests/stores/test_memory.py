"""`MemoryKnowledgeStore` keeps the contract, and keeps its content when it is entered again."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_hub.stores import MemoryKnowledgeStore, Put
from trio_hub.testing.trim_contract import TrimmingStoreContract


class TestMemoryKnowledgeStore(TrimmingStoreContract):
    def make_store(self, tmp_path: Path) -> MemoryKnowledgeStore:
        return MemoryKnowledgeStore()


async def test_it_says_that_it_is_not_durable() -> None:
    async with MemoryKnowledgeStore() as store:
        assert not store.health().durable


async def test_data_that_could_still_change_is_refused() -> None:
    async with MemoryKnowledgeStore() as store:
        with pytest.raises(TypeError, match="bytearray"):
            await store.commit([Put("/d", bytearray(b"x"))])  # type: ignore[arg-type]
        assert not await store.exists("/d")


async def test_what_is_no_change_is_refused() -> None:
    async with MemoryKnowledgeStore() as store:
        with pytest.raises(TypeError, match="is no change"):
            await store.commit([("/d", b"x")])  # type: ignore[list-item]
