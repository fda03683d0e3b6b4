"""The operations of a hub that are about tasks, as methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import trio

from ..protocol.task_index import cursor_of
from ..records import Checkpoint, TaskMetadata, TaskState
from ..wire import params as p
from .asking import Asking

__all__ = ["TaskOperations"]

# Of a hub that does not tell.
_LOOK_AGAIN_SECONDS = 1.0


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

    async def wait_task(self, task_id: str, *, timeout: float | None = None) -> TaskMetadata:
        """
        Return a task once it has ended, however it has, and that is durable.

        The hub answers in that moment. (AG2's hubs cannot: there it is looked at every second.)

        Args:
            timeout: Seconds; None waits as long as it takes, lost connections included.

        Raises:
            NotFoundError: There is none, or none that an agent attached here may see.
            trio.TooSlowError: It has not ended in time.

        Cancellation: only the waiting ends.
        """
        deadline = trio.current_time() + (float("inf") if timeout is None else timeout)
        with trio.move_on_at(deadline):
            while True:
                task = await self._wait_a_while(task_id, deadline)
                if task.is_terminal:
                    return task
        raise trio.TooSlowError(f"task {task_id} has not ended within {timeout:g} s")

    async def _wait_a_while(self, task_id: str, deadline: float) -> TaskMetadata:
        if self.speaks_plain:
            task = await self.get_task(task_id)
            if not task.is_terminal:
                await trio.sleep(_LOOK_AGAIN_SECONDS)
            return task
        # The hub holds it no longer than that, so nothing is left of it where this times out.
        seconds = max(0.0, min(p.TASK_WAIT_SECONDS_MAX, deadline - trio.current_time()))
        params = p.WaitTask(task_id=task_id, wait_seconds=seconds)
        found: TaskMetadata = await self.request(
            "wait_task", params, TaskMetadata, timeout=float("inf")
        )
        return found

    async def list_tasks(
        self,
        *,
        agent_id: str | None = None,
        channel_id: str | None = None,
        state: TaskState | None = None,
        limit: int = p.LIST_LIMIT_DEFAULT,
        after: TaskMetadata | None = None,
    ) -> list[TaskMetadata]:
        """
        List tasks of agents that are attached here, or of channels that they are in.

        The oldest come first; where an answer is not empty, there may be more behind its last.

        Args:
            after: Go on behind this one. (AG2's hubs begin at the first one again.)
            limit: At most so many; the hub has a bound too (`HubLimits.tasks_per_answer_max`).
        """
        tasks: list[TaskMetadata] = await self.request(
            "list_tasks",
            p.ListTasks(
                agent_id=agent_id,
                channel_id=channel_id,
                state=state,
                limit=limit,
                after=None if after is None else cursor_of(after),
            ),
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
        """
        Count how a task that exercised a capability ended.

        With a `task_id` it counts once, however often it is told, and is told again where the
        connection was lost; without one, and at AG2's hubs, it is not repeated.
        """
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

    async def swap_task_checkpoint(
        self,
        task_id: str,
        state: Mapping[str, Any],
        *,
        generation: int,
        holder: str | None = None,
    ) -> int:
        """
        Keep a task's state where it goes on from the one of `generation`; return which it is.

        Args:
            holder: Who writes, where that is under a lease.

        Raises:
            Conflict: There is another one by now, or another worker has the lease.

        Cancellation: it may or may not be kept; reading it tells.
        """
        written: int = await self.request(
            "swap_task_checkpoint",
            p.SwapTaskCheckpoint(
                task_id=task_id,
                state=dict(state),
                generation=generation,
                idempotency_key=self.new_key(),
                holder=holder,
            ),
            int,
        )
        return written

    async def read_task_generation(self, task_id: str) -> Checkpoint:
        """Read a task's kept state, and which one it is."""
        checkpoint: Checkpoint = await self.request(
            "read_task_generation", p.OfTask(task_id=task_id), Checkpoint
        )
        return checkpoint

    async def lease_task(
        self,
        task_id: str,
        holder: str,
        seconds: float,
        *,
        wait_seconds: float = 0.0,
        timeout: float | None = None,
    ) -> int:
        """
        Take or renew the lease on a task, and return the generation to go on from.

        Args:
            holder: A text that no other worker has, such as a `new_key`.
            seconds: How long it lasts, from when the hub gives it.
            wait_seconds: How long the hub waits for that of another worker, up to 60.
            timeout: Seconds until the answer has to be there; None is the client's own.

        Raises:
            Conflict: Another worker has it.
            ProtocolError: The task has ended.

        Cancellation: it may or may not be taken.
        """
        generation: int = await self.request(
            "lease_task",
            p.LeaseTask(task_id=task_id, holder=holder, seconds=seconds, wait_seconds=wait_seconds),
            int,
            timeout=timeout,
        )
        return generation

    async def release_task(self, task_id: str, holder: str) -> None:
        """Give the lease on a task back, where `holder` has it."""
        await self.request("release_task", p.ReleaseTask(task_id=task_id, holder=holder), None)
