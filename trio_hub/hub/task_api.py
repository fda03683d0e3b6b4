"""What a hub can be asked about tasks and their kept states, in the same process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..records import TaskMetadata
from .tasks import TaskBook

__all__ = ["TaskApi"]


class TaskApi:
    """The part of `Hub` that is about tasks. `Hub` fills in what it works with."""

    tasks: TaskBook

    async def wait_task(self, task_id: str) -> TaskMetadata:
        """
        Return a task once it has ended, however it has, and that is durable.

        Raises:
            NotFoundError: There is none.

        Cancellation: only the waiting ends.
        """
        return await self.tasks.end_of(task_id)

    async def checkpoint_task(self, task_id: str, state: Mapping[str, Any]) -> None:
        """
        Keep a task's state; the last one wins. Durable when it returns.

        Raises:
            ProtocolError: The id could not be the name of a task.
            StoreError: Whether it is kept is unknown.
        """
        task = self.tasks.find(task_id)
        await self.tasks.checkpoint(task_id, dict(state), [] if task is None else [task.owner_id])

    async def read_task_checkpoint(self, task_id: str) -> dict[str, Any] | None:
        """Return the state of a task that was kept last, or None."""
        return await self.tasks.read_checkpoint(task_id)
