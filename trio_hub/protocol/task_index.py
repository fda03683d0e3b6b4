"""
The tasks of a hub, to be found by id, by owner and by channel, in pages, oldest first.

Two tasks are in the order in which they say that they were created, and of their ids where that
is the same. So the order is that of before a restart, and a page can be gone on behind, also
where the task that it ended with is no more.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from ..errors import ProtocolError
from ..records import TaskMetadata

__all__ = ["TaskIndex", "TaskKey", "cursor_of", "key_of", "key_of_cursor"]

#: When a task was created, and its id: its place among all.
TaskKey = tuple[str, str]


def key_of(task: TaskMetadata) -> TaskKey:
    """Return the place of a task among all."""
    return task.created_at, task.task_id


def cursor_of(task: TaskMetadata) -> str:
    """Return the same as one text, for the wire. A task id has no space in it."""
    return f"{task.created_at} {task.task_id}"


def key_of_cursor(cursor: str | None) -> TaskKey | None:
    """
    Read what `cursor_of` has written; None is before all.

    Raises:
        ProtocolError: It has written no such thing.
    """
    if cursor is None:
        return None
    created_at, space, task_id = cursor.rpartition(" ")
    if not space:
        raise ProtocolError("`after` is a task's created_at, a space, and its task_id")
    return created_at, task_id


class TaskIndex:
    """All tasks. A change costs the same however many there are, but for shifting a list."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskMetadata] = {}
        self._all: list[TaskKey] = []
        self._of_owner: defaultdict[str, list[TaskKey]] = defaultdict(list)
        self._of_channel: defaultdict[str, list[TaskKey]] = defaultdict(list)
        # Those of an owner that have ended, by when; and how many of a channel have not.
        self._ended: defaultdict[str, list[TaskKey]] = defaultdict(list)
        self._open_in: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[TaskMetadata]:
        """Go through all, oldest first."""
        return (self._tasks[task_id] for _, task_id in self._all)

    def find(self, task_id: str) -> TaskMetadata | None:
        """Return a task, or None."""
        return self._tasks.get(task_id)

    def is_open_in(self, channel_id: str) -> bool:
        """Whether a task of a channel has not ended."""
        return channel_id in self._open_in

    def put(self, task: TaskMetadata) -> None:
        """Take a task in place of what was known of it."""
        before = self._tasks.get(task.task_id)
        if before is not None:
            if _places(before) == _places(task):
                self._tasks[task.task_id] = task
                return
            self.remove(task.task_id)
        self._tasks[task.task_id] = task
        insort(self._all, key_of(task))
        insort(self._of_owner[task.owner_id], key_of(task))
        if task.channel_id is not None:
            insort(self._of_channel[task.channel_id], key_of(task))
        if task.is_terminal:
            insort(self._ended[task.owner_id], _ended_key(task))
        elif task.channel_id is not None:
            self._open_in[task.channel_id] += 1

    def remove(self, task_id: str) -> None:
        """Forget a task, where it is known."""
        task = self._tasks.pop(task_id, None)
        if task is None:
            return
        _take_out(self._all, key_of(task))
        _take_out_of(self._of_owner, task.owner_id, key_of(task))
        if task.channel_id is not None:
            _take_out_of(self._of_channel, task.channel_id, key_of(task))
        if task.is_terminal:
            _take_out_of(self._ended, task.owner_id, _ended_key(task))
        elif task.channel_id is not None:
            self._open_in[task.channel_id] -= 1
            if not self._open_in[task.channel_id]:
                del self._open_in[task.channel_id]

    def count_open_of(self, owner_id: str) -> int:
        """Return how many tasks of an owner have not ended."""
        return len(self._of_owner.get(owner_id, ())) - len(self._ended.get(owner_id, ()))

    def too_many(self, owner_id: str, ended_max: int) -> list[str]:
        """Return the ids of an owner's tasks that ended first, as many as are beyond a number."""
        ended = self._ended.get(owner_id, [])
        return [task_id for _, task_id in ended[: max(0, len(ended) - ended_max)]]

    @property
    def owners(self) -> list[str]:
        """The ids of all who own a task."""
        return list(self._of_owner)

    def of_owner(self, owner_id: str, *, after: TaskKey | None = None) -> Iterator[TaskMetadata]:
        """Go through the tasks of an owner, oldest first, from behind `after` on."""
        return self._from(self._of_owner.get(owner_id, []), after)

    def of_channel(
        self, channel_id: str, *, after: TaskKey | None = None
    ) -> Iterator[TaskMetadata]:
        """Go through the tasks of a channel, oldest first, from behind `after` on."""
        return self._from(self._of_channel.get(channel_id, []), after)

    def of_any(
        self,
        owner_ids: Iterable[str],
        channel_ids: Iterable[str],
        *,
        after: TaskKey | None = None,
    ) -> Iterator[TaskMetadata]:
        """Go through the tasks of any of these owners or channels: each once, oldest first."""
        sources = [self.of_owner(it, after=after) for it in owner_ids]
        sources += [
            self.of_channel(it, after=after) for it in channel_ids if it in self._of_channel
        ]
        last = None
        for task in heapq.merge(*sources, key=key_of):
            if task.task_id != last:
                last = task.task_id
                yield task

    def _from(self, keys: list[TaskKey], after: TaskKey | None) -> Iterator[TaskMetadata]:
        start = 0 if after is None else bisect_right(keys, after)
        return (self._tasks[keys[position][1]] for position in range(start, len(keys)))


def _ended_key(task: TaskMetadata) -> TaskKey:
    return task.completed_at or task.created_at, task.task_id


def _places(task: TaskMetadata) -> tuple[object, ...]:
    """Return all that decides where a task stands."""
    ended = _ended_key(task) if task.is_terminal else None
    return key_of(task), task.owner_id, task.channel_id, ended


def _take_out(keys: list[TaskKey], key: TaskKey) -> None:
    position = bisect_left(keys, key)
    assert keys[position] == key, f"task {key[1]} does not stand where it should"
    del keys[position]


def _take_out_of(lists: dict[str, list[TaskKey]], name: str, key: TaskKey) -> None:
    keys = lists[name]
    _take_out(keys, key)
    if not keys:
        del lists[name]
