"""Where a task keeps what it needs to go on after its worker has died."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from ..records import Checkpoint

__all__ = [
    "CheckpointBackend",
    "CheckpointStore",
    "HubBackedCheckpointStore",
    "VersionedCheckpointStore",
]


@runtime_checkable
class CheckpointStore(Protocol):
    """Keeps one state for each task. The owner of a task alone knows what is in it."""

    async def write(self, task_id: str, state: dict[str, Any]) -> None:
        """Keep a state in place of the one before."""

    async def read(self, task_id: str) -> dict[str, Any] | None:
        """Return the state that was kept last, or None."""


@runtime_checkable
class VersionedCheckpointStore(CheckpointStore, Protocol):
    """One that tells writes apart, so that nobody overwrites what it has not read."""

    async def swap(self, task_id: str, state: dict[str, Any], generation: int) -> int:
        """
        Keep a state in place of the one of `generation`, and return the generation that it is.

        Raises:
            Conflict: There is another one by now.
        """

    async def read_checkpoint(self, task_id: str) -> Checkpoint:
        """Return the state that was kept last, and its generation; 0 before the first."""


class CheckpointBackend(Protocol):
    """What a `HubBackedCheckpointStore` works with: a `Hub` or a `HubClient`."""

    async def checkpoint_task(self, task_id: str, state: Mapping[str, Any]) -> None:
        """Keep a task's state."""

    async def read_task_checkpoint(self, task_id: str) -> dict[str, Any] | None:
        """Return a task's kept state, or None."""

    async def swap_task_checkpoint(
        self, task_id: str, state: Mapping[str, Any], *, generation: int
    ) -> int:
        """Keep a task's state in place of the one of `generation`."""

    async def read_task_generation(self, task_id: str) -> Checkpoint:
        """Return a task's kept state, and its generation."""


class HubBackedCheckpointStore:
    """
    Keeps the states of tasks at a hub. The last one that `write` is given wins; `swap` refuses
    what does not go on from it. (AG2's hubs have no such operation.)

    Args:
        hub: A `HubClient`, to keep them across processes, or a `Hub` in this process.

    Durability: with a `DiskKnowledgeStore` at the hub, what `write` has returned for survives
    the death of the worker and of the hub.
    """

    def __init__(self, hub: CheckpointBackend) -> None:
        self._hub = hub

    async def write(self, task_id: str, state: dict[str, Any]) -> None:
        """
        Keep a state (JSON) in place of the one before.

        Raises:
            AccessDeniedError: The task is somebody else's.
            NetworkError: What else the hub answers.

        Cancellation: it may or may not be kept.
        """
        await self._hub.checkpoint_task(task_id, state)

    async def read(self, task_id: str) -> dict[str, Any] | None:
        """
        Return the state that was kept last, or None.

        Raises:
            AccessDeniedError: The task is somebody else's.
        """
        return await self._hub.read_task_checkpoint(task_id)

    async def swap(self, task_id: str, state: dict[str, Any], generation: int) -> int:
        """
        Keep a state (JSON) in place of the one of `generation`, and return which it is.

        Raises:
            Conflict: There is another one by now, or a worker has the lease on the task.
            AccessDeniedError: The task is somebody else's.

        Cancellation: it may or may not be kept; reading it tells.
        """
        return await self._hub.swap_task_checkpoint(task_id, state, generation=generation)

    async def read_checkpoint(self, task_id: str) -> Checkpoint:
        """
        Return the state that was kept last, and its generation; 0 before the first.

        Raises:
            AccessDeniedError: The task is somebody else's.
        """
        return await self._hub.read_task_generation(task_id)
