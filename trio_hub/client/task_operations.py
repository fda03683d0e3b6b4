"""The operations of a hub that are about tasks, as methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..records import TaskMetadata, TaskState
from ..wire import params as p
from .asking import Asking

__all__ = ["TaskOperations"]


class TaskOperations(Asking):
    """Tasks, as their owners tell of them and others see them."""

    async def observe_task(self, metadata: TaskMetadata) -> None:
        """Let the hub know of a task that an agent attached here owns."""
        await self.request("observe_task", p.ObserveTask(metadata=metadata), None)

    async def update_task(
        self,
        task_id: str,
        *,
        state: TaskState | None = None,
        progress: Mapping[str, Any] | None = None,
        result: Any = None,
        error: str | None = None,
    ) -> None:
        """Tell what changed about a task."""
        await self.request(
            "update_task",
            p.UpdateTask(
                task_id=task_id,
                state=state,
                progress=None if progress is None else dict(progress),
                result=result,
                error=error,
            ),
            None,
        )

    async def get_task(self, task_id: str) -> TaskMetadata:
        """Read a task."""
        task: TaskMetadata = await self.request("get_task", p.OfTask(task_id=task_id), TaskMetadata)
        return task

    async def list_tasks(
        self,
        *,
        agent_id: str | None = None,
        channel_id: str | None = None,
        state: TaskState | None = None,
        limit: int = p.LIST_LIMIT_DEFAULT,
    ) -> list[TaskMetadata]:
        """List tasks of agents that are attached here, or of channels that they are in."""
        tasks: list[TaskMetadata] = await self.request(
            "list_tasks",
            p.ListTasks(agent_id=agent_id, channel_id=channel_id, state=state, limit=limit),
            list[TaskMetadata],
        )
        return tasks

    async def record_observation(
        self,
        *,
        owner_id: str,
        capability: str,
        outcome: TaskState,
        latency_ms: int | None = None,
        task_id: str | None = None,
    ) -> None:
        """Count how a task that exercised a capability ended. Not repeated on a lost connection."""
        await self.request(
            "record_observation",
            p.RecordObservation(
                owner_id=owner_id,
                capability=capability,
                outcome=outcome,
                latency_ms=latency_ms,
                task_id=task_id,
            ),
            None,
        )

    async def fire_task_event(
        self, task_id: str, kind: Literal["mirror_failed"], payload: Mapping[str, Any]
    ) -> None:
        """Report that mirroring a task failed. Not repeated on a lost connection."""
        await self.request(
            "fire_task_event",
            p.FireTaskEvent(task_id=task_id, kind=kind, payload=dict(payload)),
            None,
        )

    async def checkpoint_task(self, task_id: str, state: Mapping[str, Any]) -> None:
        """Keep a task's state for a restart."""
        await self.request(
            "checkpoint_task", p.CheckpointTask(task_id=task_id, state=dict(state)), None
        )

    async def read_task_checkpoint(self, task_id: str) -> dict[str, Any] | None:
        """Read a task's kept state."""
        state: dict[str, Any] | None = await self.request(
            "read_task_checkpoint", p.OfTask(task_id=task_id), dict[str, Any] | None
        )
        return state
