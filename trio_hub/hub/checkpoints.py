"""
The states that tasks keep at the hub, and the leases on them.

A lease is kept on disk when it changes hands, and renewed in memory only: a hub that was started
again gives whoever had one its full time once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
import msgspec
import trio

from ..errors import Conflict, StoreError
from ..protocol.checkpoint_mark import (
    CheckpointMark,
    after_lease,
    after_release,
    after_write,
    is_held_by_another,
)
from ..records import Checkpoint
from ..stores import Change, KnowledgeStore, Put
from ..wire.validation import decode_strictly, encode
from . import paths
from .committer import Committer, Ticket

__all__ = ["Checkpoints"]


@attrs.frozen
class _Writers:
    agent_ids: tuple[str, ...]


class Checkpoints:
    """
    All kept states.

    Args:
        store: Where they are read from.
        committer: Writes them.
        is_observed: Whether the hub was told of a task, so that it has an owner.
        check_goes_on: Raises `ProtocolError` where a task has ended.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        committer: Committer,
        is_observed: Callable[[str], bool],
        check_goes_on: Callable[[str], None],
    ) -> None:
        self._store = store
        self._committer = committer
        self._is_observed = is_observed
        self._check_goes_on = check_goes_on
        # Who may touch the state of a task that was never observed: its first writers.
        self._writers: dict[str, frozenset[str]] = {}
        # As they will be once what is on its way to the disk is there.
        self._marks: dict[str, CheckpointMark] = {}
        # Those of which a write failed, so that only the disk knows.
        self._doubtful: set[str] = set()
        # When leases run out, by Trio's clock, and who waits for one.
        self._until: dict[str, float] = {}
        self._changed: dict[str, trio.Event] = {}

    def load(self, task_id: str, what: str, data: bytes) -> None:
        """Take a document of a task that the store holds. Raises `FrameError`."""
        if what == "writers":
            self._writers[task_id] = frozenset(
                decode_strictly(data, _Writers, "task writers").agent_ids
            )
        elif what == "mark":
            mark = decode_strictly(data, CheckpointMark, "checkpoint mark")
            self._marks[task_id] = mark
            if mark.holder is not None:
                self._until[task_id] = trio.current_time() + mark.lease_seconds

    def writers(self, task_id: str) -> frozenset[str] | None:
        """Return who may touch the state of an unobserved task; None is nobody yet."""
        return self._writers.get(task_id)

    async def write(
        self,
        task_id: str,
        state: dict[str, Any],
        writers: Iterable[str],
        *,
        generation: int | None = None,
        key: str | None = None,
        holder: str | None = None,
    ) -> int:
        """
        Keep a task's state, and return the generation that it is. Durable when it returns.

        Args:
            writers: Who may read and replace it, should the task not be observed.
            generation: The one that it goes on from; None is whichever there is.
            key: Telling the same again under it changes nothing.
            holder: Whose lease it is written under.

        Raises:
            Conflict: It goes on from another generation, or somebody else has the lease.
            StoreError: Whether it is kept is unknown.
        """
        while True:
            before = await self._mark(task_id)
            until = self._until.get(task_id, 0.0)
            if is_held_by_another(before, holder, until=until, now=trio.current_time()):
                raise Conflict(
                    f"another worker has the lease on task {task_id}: its state is theirs"
                )
            mark = after_write(task_id, before, generation=generation, key=key)
            if mark is not before:
                break
            if await self._is_durable(task_id):
                return mark.generation
        changes: list[Change] = [Put(paths.task_checkpoint(task_id), encode(state))]
        claims = not self._is_observed(task_id) and task_id not in self._writers
        if claims:
            # Claimed at once, so that two first writers cannot both think that they are.
            self._writers[task_id] = frozenset(writers)
            document = encode(_Writers(tuple(sorted(self._writers[task_id]))))
            changes.append(Put(paths.task_writers(task_id), document))
        try:
            await self._put_mark(task_id, mark, changes).wait()
        except StoreError:
            if claims:
                # Not on disk, for all that is known: whoever tries again must write it again.
                self._writers.pop(task_id, None)
            raise
        return mark.generation

    async def read(self, task_id: str) -> Checkpoint:
        """Return the state that was kept last, None where there is none, and its generation."""
        # In this order: a state that is newer than its number can only be refused, while one
        # that is older would be taken for the newest.
        mark = await self._store.read(paths.task_mark(task_id))
        data = await self._store.read(paths.task_checkpoint(task_id))
        generation = 0
        if mark is not None:
            generation = decode_strictly(mark, CheckpointMark, "checkpoint mark").generation
        state = None if data is None else msgspec.json.decode(data)
        return Checkpoint(state=state, generation=generation)

    async def lease(
        self, task_id: str, holder: str, seconds: float, *, wait_seconds: float = 0.0
    ) -> int:
        """
        Give a worker the lease on a task, or renew it, and return the generation to go on from.

        Args:
            holder: The worker. The same one is given it again.
            seconds: How long it lasts from now on.
            wait_seconds: How long to wait for another one's to run out or to be given back.

        Raises:
            Conflict: Another worker has it.
            ProtocolError: The task has ended.
            StoreError: Whether the lease is kept is unknown.

        Durability: where it changes hands, that is durable when this returns.
        Cancellation: it may or may not be given.
        """
        deadline = trio.current_time() + wait_seconds
        while True:
            mark = await self._mark(task_id)
            self._check_goes_on(task_id)
            until, now = self._until.get(task_id, 0.0), trio.current_time()
            if is_held_by_another(mark, holder, until=until, now=now):
                if now >= deadline:
                    raise Conflict(
                        f"another worker has the lease on task {task_id}, for {until - now:.3g} s "
                        "more if it is gone: wait for it"
                    )
                with trio.move_on_at(min(until, deadline)):
                    await self._changed.setdefault(task_id, trio.Event()).wait()
                continue
            self._until[task_id] = now + seconds
            given = after_lease(mark, holder, seconds)
            if given is not mark:
                await self._put_mark(task_id, given).wait()
                return given.generation
            if await self._is_durable(task_id):
                return given.generation

    async def release(self, task_id: str, holder: str) -> None:
        """Take a lease back, where `holder` has it. Raises `StoreError`. Durable on return."""
        mark = await self._mark(task_id)
        free = after_release(mark, holder)
        if free is not mark:
            self._until.pop(task_id, None)
            ticket = self._put_mark(task_id, free)
            self._tell(task_id)
            await ticket.wait()

    def ended(self, task_id: str) -> None:
        """A task has ended: whoever waits for its lease waits in vain."""
        self._until.pop(task_id, None)
        self._tell(task_id)

    def forget(self, task_id: str) -> None:
        """A task is no more."""
        self._writers.pop(task_id, None)
        self._marks.pop(task_id, None)
        self._doubtful.discard(task_id)
        self._changed.pop(task_id, None)

    # Inside

    async def _is_durable(self, task_id: str) -> bool:
        """
        Wait until a mark that is there already is on disk, for whoever says the same again is
        not answered before. False where that has failed, so that nobody knows.
        """
        await self._committer.caught_up()
        return task_id not in self._doubtful

    async def _mark(self, task_id: str) -> CheckpointMark:
        """Return the mark to go on from. Where that is certain, there is no checkpoint in it."""
        while task_id in self._doubtful:
            await self._committer.caught_up()
            data = await self._store.read(paths.task_mark(task_id))
            if task_id in self._doubtful:
                self._doubtful.discard(task_id)
                self._marks[task_id] = (
                    CheckpointMark()
                    if data is None
                    else decode_strictly(data, CheckpointMark, "checkpoint mark")
                )
        return self._marks.get(task_id, CheckpointMark())

    def _put_mark(
        self, task_id: str, mark: CheckpointMark, changes: Iterable[Change] = ()
    ) -> Ticket:
        self._marks[task_id] = mark
        return self._committer.submit(
            [*changes, Put(paths.task_mark(task_id), encode(mark))],
            on_failed=lambda _: self._doubtful.add(task_id),
        )

    def _tell(self, task_id: str) -> None:
        changed = self._changed.pop(task_id, None)
        if changed is not None:
            changed.set()
