"""
What a `TrimmingStore` must do besides, as tests that you can run on your own.

It is used as `StoreContract` is, and contains it::

    from trio_hub.testing.trim_contract import TrimmingStoreContract

    class TestMyStore(TrimmingStoreContract):
        def make_store(self, tmp_path):
            return MyStore(tmp_path / "store")
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ..errors import RecordsTrimmed, StoreError
from ..stores.base import Append, Change, Delete, KnowledgeStore, Put, Trim, TrimmingStore
from .store_contract import StoreContract

__all__ = ["TrimmingStoreContract"]


def _records(count: int, path: str = "/log") -> list[Change]:
    return [Append(path, b"%d" % number) for number in range(count)]


async def _first(store: KnowledgeStore, path: str = "/log") -> int:
    assert isinstance(store, TrimmingStore)
    return await store.first(path)


class TrimmingStoreContract(StoreContract):
    """The contract suite of stores whose logs can be trimmed."""

    async def test_trimmed_log_keeps_its_positions(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            await store.commit(_records(5))
            assert await _first(store) == 0
            assert await store.commit([Trim("/log", 3)]) == ()
            assert await _first(store) == 3
            assert await store.length("/log") == 5
            assert await store.lengths_under("/") == {"/log": 5}
            assert await store.read_range("/log", 3) == [b"3", b"4"]
            assert await store.read_range("/log", 4, 99) == [b"4"]
            assert await store.append("/log", b"5") == 5

    @pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 1), (2, 5), (2, 3), (-7, 9)])
    async def test_read_of_what_was_trimmed_says_where_the_log_begins(
        self, tmp_path: Path, start: int, stop: int | None
    ) -> None:
        async with self.make_store(tmp_path) as store:
            await store.commit([*_records(5), Trim("/log", 3)])
            with pytest.raises(RecordsTrimmed, match="begins at 3") as caught:
                await store.read_range("/log", start, stop)
            assert (caught.value.path, caught.value.first) == ("/log", 3)
            assert not caught.value.retryable
            # Nothing was asked for.
            assert await store.read_range("/log", 2, 2) == []
            assert await store.read_range("/log", 2, 1) == []
            assert await store.read_range("/log", 5) == []

    async def test_last_record_always_stays(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            await store.commit(_records(3))
            for path, first in (("/log", 3), ("/log", 99), ("/none", 0)):
                with pytest.raises(StoreError, match=path):
                    await store.commit([Put("/d", b"x"), Trim(path, first)])
            assert not await store.exists("/d")
            assert await store.read_range("/log", 0) == [b"0", b"1", b"2"]
            await store.commit([Trim("/log", 2)])
            assert await store.read_range("/log", 2) == [b"2"]
            assert store.health().ok

    async def test_position_that_is_none_is_refused(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            await store.commit(_records(3))
            with pytest.raises(ValueError, match="-1"):
                await store.commit([Trim("/log", -1)])
            with pytest.raises(ValueError, match="position"):
                await store.commit([Trim("/log", 2**63)])
            assert await _first(store) == 0

    async def test_log_is_never_trimmed_backwards(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            await store.commit([*_records(5), Trim("/log", 3)])
            await store.commit([Trim("/log", 1), Trim("/log", 0), Trim("/log", 3)])
            assert await _first(store) == 3
            assert await store.read_range("/log", 3) == [b"3", b"4"]

    async def test_changes_around_a_trim_take_effect_in_their_order(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            positions = await store.commit(
                [*_records(3), Trim("/log", 2), Append("/log", b"3", 3), Trim("/log", 3)]
            )
            assert positions == (0, 1, 2, 3)
            assert await store.read_range("/log", 3) == [b"3"]
            await store.commit([Delete("/log"), *_records(2), Trim("/log", 1)])
            assert await _first(store) == 1
            await store.commit([Delete("/log"), *_records(2)])
            assert await store.read_range("/log", 0) == [b"0", b"1"]
            with pytest.raises(StoreError, match="/log"):
                await store.commit([Delete("/log"), Trim("/log", 0)])
            assert await store.length("/log") == 2

    async def test_only_what_was_trimmed_is_told_of(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            assert isinstance(store, TrimmingStore)
            for path in ("/c/1", "/c/2", "/cc/1"):
                await store.commit(_records(3, path))
            await store.commit([Trim("/c/2", 1), Trim("/cc/1", 2), Trim("/c/1", 0)])
            assert await store.firsts_under("/c") == {"/c/2": 1}
            assert await store.firsts_under("/") == {"/c/2": 1, "/cc/1": 2}
            assert await store.first("/none") == 0

    async def test_trim_outlives_closing(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        async with store:
            await store.commit([*_records(5), Trim("/log", 4)])
        again = self.reopen(store)
        async with again:
            assert await _first(again) == 4
            assert await again.length("/log") == 5
            assert await again.append("/log", b"5") == 5
            assert await again.read_range("/log", 4) == [b"4", b"5"]

    async def test_trim_is_heard_of(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store, store.on_change("/") as paths:
            await store.commit([*_records(1), Append("/other", b"x")])
            assert [await paths.receive() for _ in range(2)] == ["/log", "/other"]
            await store.commit([Trim("/log", 0)])
            assert await paths.receive() == "/log"

    async def test_readers_beside_a_trim_never_take_one_record_for_another(
        self, tmp_path: Path
    ) -> None:
        async with self.make_store(tmp_path) as store:
            await store.commit(_records(60))

            async def read() -> None:
                start = 0
                while start < 50:
                    try:
                        (record,) = await store.read_range("/log", start, start + 1)
                    except RecordsTrimmed as error:
                        behind, start = start, error.first
                        assert start > behind
                    else:
                        assert record == b"%d" % start
                        start += 1

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(read)
                for first in range(0, 60, 7):
                    await store.commit([Trim("/log", first)])
