"""
The tasks that the hub was told of, and the states that their owners keep with it.

A task belongs to its owner; the hub observes, keeps, and tells those who may know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import attrs
import trio

from .._logging import get_logger
from ..errors import AccessDeniedError, FrameError, NotFoundError, ProtocolError, TooLarge
from ..ids import Now, iso_from_seconds
from ..protocol.task_index import TaskIndex
from ..protocol.task_lifecycle import check_transition, is_repetition
from ..records import TaskMetadata, TaskState
from ..stores import Delete, KnowledgeStore, Put
from ..wire.params import TASK_ID_CHARACTERS_MAX, ListTasks, UpdateTask
from ..wire.validation import decode_strictly, encode
from . import paths
from .checkpoints import Checkpoints
from .committer import Committer
from .limits import HubLimits

__all__ = ["TaskBook", "check_task_id"]

log = get_logger(__name__)


@attrs.define(eq=False)
class _End:
    """What those who wait for the end of a task have in common."""

    happened: trio.Event = attrs.field(factory=trio.Event)
    task: TaskMetadata | None = None
    waiting: int = 0


def check_task_id(task_id: str) -> None:
    """Raise `ProtocolError` where `task_id` could not be the name of a task, or of a path."""
    printable = task_id.isascii() and task_id.isprintable() and " " not in task_id
    if not task_id or len(task_id) > TASK_ID_CHARACTERS_MAX or "/" in task_id or not printable:
        raise ProtocolError(
            f"{task_id[:60]!r} is no task id: up to {TASK_ID_CHARACTERS_MAX} visible ASCII "
            "characters other than a slash"
        )
    if task_id in (".", ".."):
        raise ProtocolError(f"{task_id!r} is no task id")


class TaskBook:
    """
    All tasks.

    Args:
        store: Where kept states are read from.
        committer: Writes what changes.
        clock: Seconds since 1970.
        on_change: Told of a task that is durable in a new form, and of the one before.
        limits: How many tasks are kept, how large, and how many are shown at once.
        open_max: Returns how many tasks an owner may have that have not ended; 0 is any number.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        committer: Committer,
        clock: Now,
        on_change: Callable[[TaskMetadata, TaskMetadata | None], None],
        limits: HubLimits,
        open_max: Callable[[str], int],
    ) -> None:
        self._on_change = on_change
        self._committer = committer
        self._clock = clock
        self._open_max = open_max
        self._ended_per_owner_max = limits.ended_tasks_per_owner_max
        self._per_answer_max = limits.tasks_per_answer_max
        self._bytes_max = limits.task_bytes_max
        #: Those that are durable. To be read, by others than this book.
        self.index = TaskIndex()
        self._ends: dict[str, _End] = {}
        # Those that are being taken out of the store.
        self._going: set[str] = set()
        # As they will be once what is on its way to the disk is there. The next change goes on
        # from here, so that of two ends at the same time only the first counts.
        self._coming: dict[str, TaskMetadata] = {}
        #: What they keep, to go on from.
        self.checkpoints = Checkpoints(
            store,
            committer,
            lambda task_id: self.find(task_id) is not None,
            lambda task_id: check_transition(self._latest(task_id) or self.get(task_id), None),
        )

    def load(self, documents: Mapping[str, bytes]) -> list[str]:
        """Take what the store holds below ``/tasks`` (checkpoints stay there until asked for)."""
        problems: list[str] = []
        for path, data in documents.items():
            task_id, _, what = path.removeprefix(f"{paths.TASKS}/").partition("/")
            try:
                if what == "metadata":
                    self.index.put(decode_strictly(data, TaskMetadata, "task"))
                else:
                    self.checkpoints.load(task_id, what, data)
            except FrameError as error:
                problems.append(f"task {task_id} is set aside: {error}")
        return problems

    def __len__(self) -> int:
        return len(self.index)

    def find(self, task_id: str) -> TaskMetadata | None:
        """Return a task, or None."""
        return self.index.find(task_id)

    def get(self, task_id: str) -> TaskMetadata:
        """Return a task, or raise `NotFoundError`."""
        task = self.index.find(task_id)
        if task is None:
            raise NotFoundError(f"no task with id {task_id!r}")
        return task

    def __iter__(self) -> Iterator[TaskMetadata]:
        """Go through all tasks, oldest first."""
        return iter(self.index)

    async def end_of(self, task_id: str) -> TaskMetadata:
        """
        Wait until a task has ended, for good and on disk, and return it.

        Raises:
            NotFoundError: There is none.

        Cancellation: only the waiting ends.
        """
        task = self.get(task_id)
        if task.is_terminal:
            return task
        end = self._ends.setdefault(task_id, _End())
        end.waiting += 1
        try:
            await end.happened.wait()
        finally:
            end.waiting -= 1
            if not end.waiting and self._ends.get(task_id) is end:
                del self._ends[task_id]
        assert end.task is not None
        return end.task

    def page(self, wanted: ListTasks, tasks: Iterator[TaskMetadata]) -> list[TaskMetadata]:
        """Return the first of `tasks` that are wanted, as many as there may be in one answer."""
        limit = self._per_answer_max
        if wanted.limit is not None:
            limit = min(limit, wanted.limit)
        found = (
            task
            for task in tasks
            if (wanted.agent_id is None or task.owner_id == wanted.agent_id)
            and (wanted.channel_id is None or task.channel_id == wanted.channel_id)
            and (wanted.state is None or task.state is wanted.state)
        )
        return list(islice(found, limit))

    def retire_surplus(self) -> None:
        """Let go of what is beyond the number of ended tasks, after the store was read."""
        for owner_id in self.index.owners:
            self._retire_surplus_of(owner_id)

    async def observe(self, metadata: TaskMetadata) -> None:
        """
        Take a task as its owner tells it. Durable when it returns.

        Raises:
            AccessDeniedError: It is a new one, and its owner has as many as its rule allows.
            ProtocolError: The task has ended otherwise, or would go backwards.
            TooLarge: It is over `task_bytes_max`.
        """
        check_task_id(metadata.task_id)
        known = self._latest(metadata.task_id)
        if known is not None:
            check_transition(known, metadata.state)
        elif not metadata.is_terminal:
            self._check_room(metadata.owner_id)
        if not metadata.created_at:
            metadata = attrs.evolve(metadata, created_at=iso_from_seconds(self._clock()))
        await self._keep(metadata, is_told=True)

    async def update(self, change: UpdateTask) -> TaskMetadata:
        """
        Change what is given, leave the rest; progress is added to what there is. Durable when it
        returns. Telling an end again is answered like the first time.

        Raises:
            ProtocolError: The task has ended otherwise, or would go backwards.
            TooLarge: It would be over `task_bytes_max`; it stays as it was.
        """
        task = self._latest(change.task_id) or self.get(change.task_id)
        if is_repetition(task, change.state, change.result, change.error):
            if task.task_id in self._coming:
                # Not answered before the first is durable.
                await self._keep(task)
            return task
        check_transition(task, change.state)
        now = iso_from_seconds(self._clock())
        fields: dict[str, Any] = {}
        if change.progress is not None:
            fields |= {
                "progress": {**task.progress, **change.progress},
                "last_progress_at": now,
            }
        if change.result is not None:
            fields["result"] = change.result
        if change.error is not None:
            fields["error"] = change.error
        if change.state is not None:
            fields["state"] = change.state
            if change.state is TaskState.RUNNING and task.started_at is None:
                fields["started_at"] = now
            if change.state.is_terminal:
                fields["completed_at"] = now
        updated = attrs.evolve(task, **fields)
        is_told = not fields.keys().isdisjoint({"progress", "result", "error"})
        await self._keep(updated, is_told=is_told)
        return updated

    def _check_room(self, owner_id: str) -> None:
        most = self._open_max(owner_id)
        if not most:
            return
        # What is on its way to the disk counts, and what ends only once that is there.
        beginning = sum(
            task.owner_id == owner_id and not task.is_terminal and self.find(task_id) is None
            for task_id, task in self._coming.items()
        )
        count = self.index.count_open_of(owner_id) + beginning
        if count >= most:
            raise AccessDeniedError(
                f"{owner_id} has {count} tasks that have not ended, and its rule allows {most} "
                "(limits.max_concurrent_tasks); end one first"
            )

    def _latest(self, task_id: str) -> TaskMetadata | None:
        return self._coming.get(task_id) or self.find(task_id)

    async def _keep(self, metadata: TaskMetadata, *, is_told: bool = False) -> None:
        """
        Write a task.

        Args:
            is_told: Whether its owner tells more of it, and not only that it has ended.
        """
        task_id = metadata.task_id

        def kept() -> None:
            self._settle(metadata)
            before = self.find(task_id)
            self.index.put(metadata)
            if metadata != before:
                self._on_change(metadata, before)
            if metadata.is_terminal:
                self._tell_end(metadata)
                self._retire_surplus_of(metadata.owner_id)

        document = encode(metadata)
        if is_told and len(document) > self._bytes_max:
            raise TooLarge(
                f"task {task_id} would take {len(document)} bytes and {self._bytes_max} is the "
                "limit (task_bytes_max): tell less of it, or where the rest can be fetched"
            )
        self._coming[task_id] = metadata
        change = Put(paths.task_metadata(task_id), document)
        await self._committer.submit([change], kept, lambda _: self._settle(metadata)).wait()

    def _tell_end(self, metadata: TaskMetadata) -> None:
        self.checkpoints.ended(metadata.task_id)
        end = self._ends.pop(metadata.task_id, None)
        if end is not None:
            end.task = metadata
            end.happened.set()

    def _retire_surplus_of(self, owner_id: str) -> None:
        for task_id in self.index.too_many(owner_id, self._ended_per_owner_max):
            if task_id not in self._going:
                self._going.add(task_id)
                self._retire(task_id)

    def _retire(self, task_id: str) -> None:
        """Take an ended task out of the store, and with it all that was kept for it."""

        def gone() -> None:
            self._going.discard(task_id)
            self.index.remove(task_id)
            self.checkpoints.forget(task_id)
            log.debug("task retired", task_id=task_id)

        # Where the store cannot, it is tried again with the next task of that owner that ends.
        self._committer.submit(
            [Delete(path(task_id)) for path in paths.OF_A_TASK],
            gone,
            lambda _: self._going.discard(task_id),
        )

    def _settle(self, metadata: TaskMetadata) -> None:
        if self._coming.get(metadata.task_id) is metadata:
            del self._coming[metadata.task_id]
