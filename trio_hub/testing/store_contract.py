"""
What every `KnowledgeStore` must do, as tests that you can run on your own.

Subclass `StoreContract` in your test suite and say how a store is made; pytest collects the
subclass and runs all of it (it needs pytest and pytest-trio)::

    from trio_hub.testing.store_contract import StoreContract

    class TestMyStore(StoreContract):
        def make_store(self, tmp_path):
            return MyStore(tmp_path / "store")

        def reopen(self, store):          # for a store that outlives its object
            return MyStore(store.path)

A failing test's name is the promise that was broken.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from ..errors import StoreError
from ..stores.base import Append, Delete, KnowledgeStore, PagingStore, Put, StoreHealth

__all__ = ["StoreContract"]


class StoreContract:
    """
    The contract suite. Override `make_store`, and `reopen` where the content outlives the object.
    """

    pytestmark = pytest.mark.trio

    def make_store(self, tmp_path: Path) -> KnowledgeStore:
        """Return a new, empty store that is not open. `tmp_path` is a directory of this test."""
        raise NotImplementedError("override make_store() to say how your store is made")

    def reopen(self, store: KnowledgeStore) -> KnowledgeStore:
        """Return a store with the content of `store`, which was closed. By default, itself."""
        return store

    # -- documents ----------------------------------------------------------------------------

    async def test_document_is_read_as_it_was_last_written(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            await store.write("/agents/a/passport", b"one")
            await store.write("/agents/a/passport", b"two\x00\xff")
            await store.write("/agents/a/resume", b"")
            assert await store.read("/agents/a/passport") == b"two\x00\xff"
            assert await store.read("/agents/a/resume") == b""
            assert await store.read("/agents/b/passport") is None

    async def test_read_under_gives_the_documents_below_and_no_others(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            for path in ("/a", "/a/x", "/a/y/z", "/a-b", "/ab/x", "/a0"):
                await store.write(path, path.encode())
            await store.append("/a/log", b"record")
            under = await store.read_under("/a")
            assert list(under.items()) == [("/a/x", b"/a/x"), ("/a/y/z", b"/a/y/z")]
            assert list(await store.read_under("/")) == sorted(
                ("/a", "/a/x", "/a/y/z", "/a-b", "/ab/x", "/a0")
            )
            assert await store.read_under("/nothing") == {}

    async def test_deleted_is_gone_and_deleting_nothing_is_fine(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            await store.write("/document", b"x")
            await store.append("/log", b"x")
            for path in ("/document", "/log", "/never-there"):
                await store.delete(path)
                assert not await store.exists(path)
            assert await store.read("/document") is None
            assert await store.read_range("/log", 0) == []
            assert await store.list("/") == []

    # -- logs ---------------------------------------------------------------------------------

    async def test_records_are_numbered_from_0_in_the_order_of_appending(
        self, tmp_path: Path
    ) -> None:
        async with self.make_store(tmp_path) as store:
            positions = [await store.append("/log", b"%d" % number) for number in range(5)]
            assert positions == [0, 1, 2, 3, 4]
            assert await store.append("/other", b"first") == 0
            assert await store.length("/log") == 5
            assert await store.length("/none") == 0
            assert await store.read_range("/log", 0) == [b"0", b"1", b"2", b"3", b"4"]

    async def test_log_that_was_deleted_starts_again_at_0(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            await store.commit([Append("/log", b"old"), Append("/log", b"old")])
            assert await store.commit([Delete("/log"), Append("/log", b"new", 0)]) == (0,)
            assert await store.read_range("/log", 0) == [b"new"]

    @pytest.mark.parametrize(
        ("start", "stop", "expected"),
        [
            (0, None, "01234"),
            (0, 0, ""),
            (0, 1, "0"),
            (2, 4, "23"),
            (4, 5, "4"),
            (4, 99, "4"),
            (5, None, ""),
            (99, None, ""),
            (3, 2, ""),
            (-3, 2, "01"),
            (-3, -1, ""),
            (0, 10**30, "01234"),
            (10**30, None, ""),
        ],
    )
    async def test_read_range_gives_the_positions_that_exist(
        self, tmp_path: Path, start: int, stop: int | None, expected: str
    ) -> None:
        async with self.make_store(tmp_path) as store:
            await store.commit([Append("/log", b"%d" % number) for number in range(5)])
            records = await store.read_range("/log", start, stop)
            assert b"".join(records).decode() == expected
            assert await store.read_range("/none", start, stop) == []

    @pytest.mark.parametrize(
        ("start", "stop", "bytes_max", "expected"),
        [
            (0, 5, 100, "01234"),
            (0, 5, 7, "01234"),
            (0, 5, 6, "0123"),
            (0, 5, 3, "01"),
            (0, 5, 1, "0"),
            (0, 5, 0, "0"),
            (1, 5, 1, "1"),
            (1, 3, 100, "12"),
            (4, 99, 1, "4"),
            (5, 99, 1, ""),
            (3, 2, 1, ""),
        ],
    )
    async def test_page_ends_with_the_record_that_fills_it(
        self, tmp_path: Path, start: int, stop: int, bytes_max: int, expected: str
    ) -> None:
        async with self.make_store(tmp_path) as store:
            if not isinstance(store, PagingStore):
                pytest.skip("this store is no PagingStore")
            # One byte, two, one, two, one.
            records = [b"%d" % number + b"x" * (number % 2) for number in range(5)]
            await store.commit([Append("/log", record) for record in records])
            page = await store.read_page("/log", start, stop, bytes_max)
            assert page == [records[int(number)] for number in expected]
            assert await store.read_page("/none", start, stop, bytes_max) == []

    async def test_lengths_under_gives_the_logs_below_and_no_others(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            await store.commit(
                [Append(path, b"x") for path in ("/c/1/log", "/c/1/log", "/c/2/log", "/cc/log")]
            )
            await store.write("/c/1/metadata", b"x")
            assert await store.lengths_under("/c") == {"/c/1/log": 2, "/c/2/log": 1}
            assert len(await store.lengths_under("/")) == 3

    # -- batches ------------------------------------------------------------------------------

    async def test_batch_returns_the_positions_of_its_records_in_order(
        self, tmp_path: Path
    ) -> None:
        async with self.make_store(tmp_path) as store:
            await store.append("/a", b"0")
            positions = await store.commit(
                [Append("/a", b"1"), Put("/d", b"x"), Append("/b", b"0", 0), Append("/a", b"2", 2)]
            )
            assert positions == (1, 0, 2)
            assert await store.commit([]) == ()

    async def test_batch_with_a_wrong_position_keeps_nothing(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            await store.commit([Put("/d", b"before"), Append("/log", b"0")])
            for position in (0, 1, 3):
                with pytest.raises(StoreError, match="/log"):
                    await store.commit(
                        [
                            Put("/d", b"after"),
                            Append("/fresh", b"x"),
                            Delete("/log2"),
                            Append("/log", b"1"),
                            Append("/log", b"2", position),
                        ]
                    )
            assert await store.read("/d") == b"before"
            assert not await store.exists("/fresh")
            assert await store.read_range("/log", 0) == [b"0"]
            assert await store.append("/log", b"1") == 1
            assert store.health().ok

    async def test_changes_of_a_batch_take_effect_in_their_order(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            await store.commit(
                [
                    Put("/d", b"1"),
                    Delete("/d"),
                    Put("/d", b"2"),
                    Append("/x", b"gone"),
                    Delete("/x"),
                    Put("/x", b"a document now"),
                    Put("/d", b"3"),
                ]
            )
            assert await store.read("/d") == b"3"
            assert await store.read("/x") == b"a document now"
            assert await store.length("/x") == 0

    async def test_one_path_is_a_document_or_a_log_never_both(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            await store.write("/document", b"x")
            await store.append("/log", b"x")
            with pytest.raises(StoreError, match="/document"):
                await store.append("/document", b"y")
            with pytest.raises(StoreError, match="/log"):
                await store.write("/log", b"y")
            assert await store.read("/document") == b"x"
            assert await store.read_range("/log", 0) == [b"x"]

    # -- many tasks ---------------------------------------------------------------------------

    async def test_concurrent_appends_each_get_a_position_of_their_own(
        self, tmp_path: Path
    ) -> None:
        async with self.make_store(tmp_path) as store:
            landed: dict[tuple[str, int], bytes] = {}

            async def append(number: int) -> None:
                path, record = f"/log/{number % 3}", b"%d" % number
                place = (path, await store.append(path, record))
                assert place not in landed
                landed[place] = record

            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(append, number)
            assert len(landed) == 100
            for path, length in (await store.lengths_under("/log")).items():
                records = await store.read_range(path, 0)
                assert records == [landed[path, position] for position in range(length)]

    async def test_batches_take_effect_in_the_order_in_which_commit_was_called(
        self, tmp_path: Path
    ) -> None:
        async with self.make_store(tmp_path) as store:
            called: list[bytes] = []

            async def append(number: int) -> None:
                record = b"%d" % number
                # No checkpoint lies between these two lines.
                called.append(record)
                await store.append("/log", record)

            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(append, number)
            assert await store.read_range("/log", 0) == called

    async def test_refused_batch_harms_no_other_that_waits_with_it(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            refused: list[int] = []

            async def append(number: int) -> None:
                try:
                    await store.commit(
                        [Append(f"/log/{number}", b"x", 7 if number % 5 == 0 else 0)]
                    )
                except StoreError:
                    refused.append(number)

            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(append, number)
            assert sorted(refused) == list(range(0, 50, 5))
            assert len(await store.lengths_under("/log")) == 40
            assert store.health().ok

    async def test_cancelled_waiter_harms_no_other_and_leaves_no_hole(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            kept: dict[int, bytes] = {}
            scopes: list[trio.CancelScope] = []

            async def append(number: int) -> None:
                record = b"%d" % number
                with trio.CancelScope() as scope:
                    scopes.append(scope)
                    kept[await store.append("/log", record)] = record

            async with trio.open_nursery() as nursery:
                for number in range(60):
                    nursery.start_soon(append, number)
                await trio.testing.wait_all_tasks_blocked()
                for scope in scopes[::2]:
                    scope.cancel()
            # Cancelled means that nothing happened: what is in the log was answered for.
            records = await store.read_range("/log", 0)
            assert records == [kept[position] for position in range(len(records))]
            assert {b"%d" % number for number in range(60)} >= set(records)
            assert len(records) >= 30

    async def test_commit_that_is_cancelled_beforehand_does_nothing(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            with trio.CancelScope() as scope:
                scope.cancel()
                await store.append("/log", b"x")
            assert scope.cancelled_caught
            assert await store.length("/log") == 0

    # -- the tree -----------------------------------------------------------------------------

    async def test_list_gives_the_names_directly_below(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            for path in ("/a", "/a/x", "/a/y/z", "/a-b", "/a0", "/b/c/d"):
                await store.write(path, b"")
            await store.append("/a/log", b"")
            await store.append("/é/log", b"")
            assert await store.list() == ["a", "a-b", "a/", "a0", "b/", "é/"]
            assert await store.list("/a") == ["log", "x", "y/"]
            assert await store.list("/b/") == ["c/"]
            assert await store.list("/a/x") == []
            assert await store.list("/none") == []

    async def test_only_documents_and_logs_exist_not_folders(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            await store.write("/a/b", b"")
            await store.append("/a/c", b"")
            assert await store.exists("/a/b")
            assert await store.exists("/a/c")
            assert not await store.exists("/a")
            assert not await store.exists("/a/b/c")

    async def test_paths_have_one_form(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            await store.write("a//b/", b"x")
            assert await store.read("/a/b") == b"x"
            assert await store.list("a/") == ["b"]

    @pytest.mark.parametrize("path", ["/a/../b", "/./a", "/a\x00b", "/a\nb", "/", "", "/\ud800"])
    async def test_path_that_means_nothing_is_refused_and_harms_no_batch(
        self, tmp_path: Path, path: str
    ) -> None:
        async with self.make_store(tmp_path) as store:
            # What a store says there is its own affair.
            with pytest.raises(ValueError):  # noqa: PT011
                await store.commit([Put("/fine", b"x"), Put(path, b"x")])
            with pytest.raises(ValueError):  # noqa: PT011
                await store.append(path, b"x")
            with pytest.raises(ValueError):  # noqa: PT011
                await store.read(path)
            assert not await store.exists("/fine")

    # -- changes ------------------------------------------------------------------------------

    async def test_listener_hears_of_what_changed_at_or_below_its_prefix(
        self, tmp_path: Path
    ) -> None:
        async with self.make_store(tmp_path) as store:
            async with store.on_change("/a") as paths, store.on_change("/") as everything:
                await store.commit([Put("/a/x", b"1"), Append("/ab", b"1"), Append("/a/l", b"1")])
                await store.write("/a", b"1")
                await store.delete("/a/x")
                heard = [await paths.receive() for _ in range(4)]
                assert heard == ["/a/x", "/a/l", "/a", "/a/x"]
                assert [await everything.receive() for _ in range(2)] == ["/a/x", "/ab"]
            await store.write("/a/x", b"2")

    async def test_change_can_be_read_when_it_is_heard_of(self, tmp_path: Path) -> None:
        async with (
            self.make_store(tmp_path) as store,
            store.on_change("/a") as paths,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(store.write, "/a/x", b"there")
            assert await paths.receive() == "/a/x"
            assert await store.read("/a/x") == b"there"

    async def test_refused_batch_is_not_heard_of(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store, store.on_change("/") as paths:
            with pytest.raises(StoreError):
                await store.commit([Put("/a", b"1"), Append("/log", b"1", 5)])
            await store.write("/b", b"1")
            assert await paths.receive() == "/b"

    async def test_slow_listener_misses_the_middle_never_the_newest(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store, store.on_change("/a") as paths:
            for number in range(30):
                await store.commit([Put(f"/a/{number}/{k}", b"") for k in range(100)])
            waiting = paths.statistics().current_buffer_used
            assert 0 < waiting < 3000
            heard = [paths.receive_nowait() for _ in range(waiting)]
            assert heard[-1] == "/a/29/99"

    # -- lifetime -----------------------------------------------------------------------------

    async def test_content_and_epoch_outlive_closing(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        async with store:
            epoch = store.epoch
            assert len(epoch) == 32
            assert int(epoch, 16) >= 0
            await store.commit([Put("/d", b"x"), Append("/log", b"0"), Append("/log", b"1")])
        again = self.reopen(store)
        async with again:
            assert again.epoch == epoch
            assert await again.read("/d") == b"x"
            assert await again.read_range("/log", 0) == [b"0", b"1"]
            assert await again.append("/log", b"2") == 2

    async def test_two_stores_have_two_epochs(self, tmp_path: Path) -> None:
        async with (
            self.make_store(tmp_path / "one") as one,
            self.make_store(tmp_path / "two") as two,
        ):
            assert one.epoch != two.epoch

    async def test_store_may_be_entered_again_while_open(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            async with store as same:
                assert same is store
                await store.write("/d", b"x")
            assert await store.read("/d") == b"x"

    async def test_store_that_is_not_open_says_so(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        with pytest.raises(RuntimeError, match="not open"):
            await store.write("/d", b"x")
        async with store:
            await store.write("/d", b"x")
        with pytest.raises(RuntimeError, match="not open"):
            await store.read("/d")
        with pytest.raises(RuntimeError, match="not open"):
            store.on_change("/")

    async def test_closing_lets_what_was_accepted_finish(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        answered: list[int] = []

        async def append() -> None:
            answered.append(await store.append("/log", b"x"))

        async with trio.open_nursery() as nursery, store:
            for _ in range(20):
                nursery.start_soon(append)
            await trio.testing.wait_all_tasks_blocked()
        again = self.reopen(store)
        async with again:
            assert await again.length("/log") == len(answered) == 20

    async def test_health_of_a_new_store_is_good(self, tmp_path: Path) -> None:
        async with self.make_store(tmp_path) as store:
            health = store.health()
            assert isinstance(health, StoreHealth)
            assert health.ok
            assert health.problems == ()
            assert isinstance(store, KnowledgeStore)
