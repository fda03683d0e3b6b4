"""
Any `KnowledgeStore` against a model, through restarts and crashes.

::

    class MyStoreMachine(StoreMachine):
        def make_store(self):
            self.folder = tempfile.mkdtemp()
            return MyStore(self.folder)

        def reopen(self, store):
            return MyStore(self.folder)

    TestMyStore = MyStoreMachine.TestCase

The contract suite (`trio_hub.testing.store_contract`) asks one question after the other; this
machine looks for the order of steps in which a store forgets. Override `crash` to say how your
store meets the end of the world: then batches are cut short too, and each must be there whole or
not at all, and whole if it was answered for.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ...errors import RecordsTrimmed, StoreError
from ...stores.base import (
    Append,
    Change,
    Delete,
    KnowledgeStore,
    Put,
    Trim,
    TrimmingStore,
)
from ..frozen_loop import FrozenLoop, Held

__all__ = ["StoreMachine"]

#: What a store holds: the documents, and the logs (None is a record that was trimmed).
Content = tuple[dict[str, bytes], dict[str, list[bytes | None]]]

_PATHS = ("/a", "/a/log", "/a/log2", "/b/document", "/b/document/below")
_DATA = st.binary(max_size=3)
_CHANGES = st.one_of(
    st.builds(Put, st.sampled_from(_PATHS), _DATA),
    st.builds(Append, st.sampled_from(_PATHS), _DATA),
    st.builds(Append, st.sampled_from(_PATHS), _DATA, st.integers(0, 3)),
    st.builds(Delete, st.sampled_from(_PATHS)),
    st.builds(Trim, st.sampled_from(_PATHS), st.integers(0, 3)),
)
_BATCHES = st.lists(_CHANGES, max_size=5)


class StoreMachine(RuleBasedStateMachine):
    """
    Override `make_store`; also `reopen`, where the content outlives the object, and `crash`.

    Attributes:
        virtual_time: False for stores that work in threads (most that have files do).
    """

    virtual_time = True

    def make_store(self) -> KnowledgeStore:
        """Return a new, empty store that is not open."""
        raise NotImplementedError("override make_store() to say how your store is made")

    def reopen(self, store: KnowledgeStore) -> KnowledgeStore:
        """Return a store with the content of `store`, which was closed. By default, itself."""
        return store

    def crash(self, store: KnowledgeStore) -> KnowledgeStore | None:
        """
        End `store` in the middle of its work, and return one, not open, on what is left.

        None, the default, says that this store cannot crash: nothing is cut short then.
        """
        return None

    def __init__(self) -> None:
        super().__init__()
        self.loop = FrozenLoop(virtual_time=self.virtual_time)
        self.content: Content = ({}, {})
        self.held: Held[Any] = self.loop.enter(self.make_store())
        self.epoch = self.store.epoch

    @property
    def store(self) -> KnowledgeStore:
        """The store that is open now."""
        store: KnowledgeStore = self.held.value
        return store

    @rule(changes=_BATCHES)
    def commit(self, changes: list[Change]) -> None:
        """Commit a batch: all of it or nothing, by the rules."""
        changes = self._fit(changes)
        after = _applied(self.content, changes)
        try:
            positions = self.loop.run(self.store.commit, changes)
        except StoreError:
            assert after is None, f"a batch that breaks no rule was refused: {changes}"
        else:
            assert after is not None, f"a batch that breaks a rule was kept: {changes}"
            self.content, expected = after
            assert tuple(positions) == expected

    @rule(path=st.sampled_from(_PATHS), start=st.integers(0, 4), length=st.integers(0, 4))
    def read_a_slice(self, path: str, start: int, length: int) -> None:
        """Read a part of a log that may not be there."""
        self._read_slice(path, start, start + length)

    @rule()
    def restart(self) -> None:
        """Close the store and open it again."""
        before = self.store
        self.held.exit()
        self.held = self.loop.enter(self.reopen(before))

    @precondition(lambda self: type(self).crash is not StoreMachine.crash)
    @rule(batches=st.lists(_BATCHES, max_size=3))
    def crash_in_the_middle(self, batches: list[list[Change]]) -> None:
        """Crash while batches are under way: a prefix of them is kept, and all answered ones."""
        batches = [self._fit(changes) for changes in batches]
        answered: list[int] = []

        async def commit(number: int, changes: list[Change]) -> None:
            try:
                await self.store.commit(changes)
            except StoreError:
                return
            answered.append(number)

        for number, changes in enumerate(batches):
            self.loop.start_soon(commit, number, changes)
        left = self.crash(self.store)
        assert left is not None, "crash() must return the store that is left"
        answered_by_then = set(answered)
        self.held.cancel()
        self.held = self.loop.enter(left)
        possible = [self.content]
        for number, changes in enumerate(batches):
            after = _applied(possible[-1], changes)
            possible.append(possible[-1] if after is None else after[0])
            if number in answered_by_then:
                # What was answered for, and all before it, is there.
                possible = possible[-1:]
        found = self.loop.run(self._read_all)
        assert found in possible, (
            f"after a crash the store holds {found}, which is none of what it may hold: {possible}"
        )
        self.content = found

    @invariant()
    def everything_is_as_it_was_written(self) -> None:
        """The store holds what the model holds, however it is asked."""
        assert self.loop.run(self._read_all) == self.content
        assert self.store.epoch == self.epoch, "the content is the same, and so is its epoch"
        documents, logs = self.content
        for path in _PATHS:
            assert self.loop.run(self.store.read, path) == documents.get(path)
            assert self.loop.run(self.store.exists, path) == (path in documents or path in logs)
            log = logs.get(path, [])
            assert self.loop.run(self.store.length, path) == len(log)
            if isinstance(self.store, TrimmingStore):
                assert self.loop.run(self.store.first, path) == log.count(None)
            self._read_slice(path, 0, len(log))

    def teardown(self) -> None:
        """Close everything."""
        self.loop.close()

    def _read_slice(self, path: str, start: int, stop: int) -> None:
        log = self.content[1].get(path, [])
        expected = log[start:stop]
        begins_at = None
        try:
            records = self.loop.run(self.store.read_range, path, start, stop)
        except RecordsTrimmed as error:
            begins_at = error.first
        if None in expected:
            assert begins_at == log.count(None), "what was trimmed is read as if it were there"
        else:
            assert begins_at is None, "nothing of what was asked for has been trimmed"
            assert records == expected

    def _fit(self, changes: list[Change]) -> list[Change]:
        """Leave out what this store does not offer."""
        if isinstance(self.store, TrimmingStore):
            return changes
        return [change for change in changes if not isinstance(change, Trim)]

    async def _read_all(self) -> Content:
        store = self.store
        documents = await store.read_under("/")
        firsts = await store.firsts_under("/") if isinstance(store, TrimmingStore) else {}
        logs: dict[str, list[bytes | None]] = {}
        for path, length in (await store.lengths_under("/")).items():
            first = firsts.get(path, 0)
            logs[path] = [*[None] * first, *await store.read_range(path, first)]
            assert len(logs[path]) == length
        return documents, logs


def _applied(content: Content, changes: list[Change]) -> tuple[Content, tuple[int, ...]] | None:
    """Return the content after a batch and the positions of its records, or None: it is refused."""
    documents = dict(content[0])
    logs = {path: list(log) for path, log in content[1].items()}
    positions: list[int] = []
    for change in changes:
        match change:
            case Put(path, data):
                if path in logs:
                    return None
                documents[path] = data
            case Append(path, record, expected):
                log = logs.get(path, [])
                if path in documents or expected not in (None, len(log)):
                    return None
                positions.append(len(log))
                logs[path] = [*log, record]
            case Delete(path):
                documents.pop(path, None)
                logs.pop(path, None)
            case Trim(path, first):
                if first >= len(logs.get(path, ())):
                    return None
                logs[path][:first] = [None] * first
    return (documents, logs), tuple(positions)
