"""
The caretaker of tasks: ends those whose time is over.

When a task expires stands in its metadata, so a hub that was down at that moment knows at once
when it is up. Moments wait in a heap, and the timers wake the caretaker for the earliest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .._logging import get_logger
from ..errors import NetworkError, ProtocolError, StoreError
from ..ids import Now, seconds_from_iso
from ..protocol.alarms import Alarms
from ..records import TaskMetadata, TaskState
from ..wire.params import UpdateTask
from .date_bell import DateBell
from .tasks import TaskBook
from .timers import Timers

__all__ = ["TaskCaretaker"]

log = get_logger(__name__)

_RETRY_SECONDS = 5.0


class TaskCaretaker:
    """
    Looks after tasks.

    Args:
        tasks: All of them.
        timers: Wake it.
        clock: Seconds since 1970.
        count: Counts a task that has expired in the track record of its owner, where its capability
            is known. Its owner may count it too.
    """

    def __init__(
        self,
        tasks: TaskBook,
        timers: Timers,
        clock: Now,
        count: Callable[[TaskMetadata], Awaitable[None]],
    ) -> None:
        self._tasks = tasks
        self._count = count
        self._clock = clock
        self._alarms = Alarms()
        self._bell = DateBell(timers, clock, self._alarms.earliest)

    def look_after(self, task: TaskMetadata, before: TaskMetadata | None = None) -> None:
        """Take note of when a task expires; called whenever it has changed."""
        if task.is_terminal:
            self._alarms.forget(task.task_id)
        elif task.expires_at is not None and (
            before is None or before.expires_at != task.expires_at
        ):
            due = _date_of(task)
            if due is None:
                self._alarms.forget(task.task_id)
                log.warning("no date", task_id=task.task_id)
            else:
                self._set(task.task_id, due)

    def look(self) -> None:
        """See whether there is something to do, now that time has passed."""
        self._bell.look()

    async def run(self) -> None:
        """End what is due, until cancelled."""
        while True:
            await self._bell.answer()
            for task_id in list(self._alarms.due(self._clock())):
                await self._end_if_due(task_id)
            self._bell.dates_changed()

    async def _end_if_due(self, task_id: str) -> None:
        task = self._tasks.find(task_id)
        if task is None or task.is_terminal:
            return
        due = _date_of(task)
        if due is None:
            # Its owner has told it again, while those that were due before it were ended.
            return
        if due > self._clock():
            # Its owner has told it again, with more time.
            self._set(task_id, due)
            return
        try:
            await self._tasks.update(UpdateTask(task_id=task_id, state=TaskState.EXPIRED))
        except ProtocolError:
            # It has ended meanwhile.
            return
        except StoreError as error:
            log.warning("not expired, trying again", task_id=task_id, error=str(error))
            self._set(task_id, self._clock() + _RETRY_SECONDS)
        else:
            log.info("task expired", task_id=task_id, owner_id=task.owner_id)
            await self._count_at_best(task)

    async def _count_at_best(self, task: TaskMetadata) -> None:
        try:
            await self._count(task)
        except NetworkError as error:
            # It has expired all the same; what is missing is one of many.
            log.warning("task not counted", task_id=task.task_id, error=str(error))

    def _set(self, task_id: str, when: float) -> None:
        self._alarms.set(task_id, when)
        self._bell.dates_changed()


def _date_of(task: TaskMetadata) -> float | None:
    """Return when a task expires, or None: its owner may have written anything."""
    try:
        return None if task.expires_at is None else seconds_from_iso(task.expires_at)
    except ValueError:
        return None
