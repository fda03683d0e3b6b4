"""A task: a piece of work with a beginning and an end, owned by an agent, observed by the hub."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import attrs

__all__ = ["Checkpoint", "TaskMetadata", "TaskSpec", "TaskState"]


class TaskState(StrEnum):
    """Where a task stands. The last four are final."""

    CREATED = "created"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self not in (TaskState.CREATED, TaskState.RUNNING)


@attrs.frozen(kw_only=True)
class TaskSpec:
    """What is to be done. `capability` names the claim of the owner's resume that it exercises."""

    title: str
    description: str = ""
    payload: dict[str, Any] = attrs.field(factory=dict)
    capability: str | None = None


@attrs.frozen(kw_only=True)
class TaskMetadata:
    """A task as the hub has seen it."""

    task_id: str
    owner_id: str
    spec: TaskSpec
    state: TaskState
    created_at: str = ""
    started_at: str | None = None
    completed_at: str | None = None
    expires_at: str | None = None
    last_progress_at: str | None = None
    progress: dict[str, Any] = attrs.field(factory=dict)
    result: Any = None
    error: str = ""
    channel_id: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self.state.is_terminal


@attrs.frozen(kw_only=True)
class Checkpoint:
    """
    What a task has kept to go on from.

    Attributes:
        state: None where it has kept nothing.
        generation: The number of the write; one that goes on from it names it.
    """

    state: dict[str, Any] | None
    generation: int
