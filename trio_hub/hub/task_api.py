"""What a hub can be asked about tasks and their kept states, in the same process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..records import Checkpoint, TaskMetadata
from .tasks import TaskBook, check_task_id

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
        await self.swap_task_checkpoint(task_id, state, generation=None)

    async def read_task_checkpoint(self, task_id: str) -> dict[str, Any] | None:
        """Return the state of a task that was kept last, or None."""
        return (await self.read_task_generation(task_id)).state

    async def swap_task_checkpoint(
        self, task_id: str, state: Mapping[str, Any], *, generation: int | None
    ) -> int:
        """
        Keep a task's state where it goes on from the one of `generation` (None: from any).

        Returns:
            The generation that it is.

        Raises:
            Conflict: There is another one, or a worker has the lease on the task.
            ProtocolError: The id could not be the name of a task.
            StoreError: Whether it is kept is unknown.

        Durability: on return. Cancellation: it may or may not be kept.
        """
        check_task_id(task_id)
        task = self.tasks.find(task_id)
        owners = [] if task is None else [task.owner_id]
        return await self.tasks.checkpoints.write(
            task_id, dict(state), owners, generation=generation
        )

    async def read_task_generation(self, task_id: str) -> Checkpoint:
        """Return the state of a task that was kept last, and which one it is."""
        check_task_id(task_id)
        return await self.tasks.checkpoints.read(task_id)
