"""
The life of a task, as a table: which state may follow which.

A task ends exactly once. Whoever says the same ending again, because an answer was lost, has
said nothing new; whoever says another is told that it is too late.
"""

from __future__ import annotations

from typing import Final

from ..errors import ProtocolError
from ..records import TaskMetadata, TaskState

__all__ = ["TRANSITIONS", "check_transition", "is_repetition"]

_ENDS: Final = frozenset(it for it in TaskState if it.is_terminal)

#: What may follow. A state may be told again; nothing follows an end.
TRANSITIONS: Final[dict[TaskState, frozenset[TaskState]]] = {
    TaskState.CREATED: frozenset({TaskState.CREATED, TaskState.RUNNING}) | _ENDS,
    TaskState.RUNNING: frozenset({TaskState.RUNNING}) | _ENDS,
    TaskState.COMPLETED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.EXPIRED: frozenset(),
    TaskState.CANCELLED: frozenset(),
}


def check_transition(task: TaskMetadata, state: TaskState | None) -> None:
    """
    Let a task go on to `state` (None: stay where it is), or not.

    Raises:
        ProtocolError: It has ended, or would go backwards.
    """
    if task.is_terminal:
        raise ProtocolError(f"task {task.task_id} has ended ({task.state})")
    if state is not None and state not in TRANSITIONS[task.state]:
        raise ProtocolError(f"task {task.task_id} is {task.state} and cannot become {state} again")


def is_repetition(
    task: TaskMetadata, state: TaskState | None, result: object, error: str | None
) -> bool:
    """Whether somebody says again how a task ended, in the same words."""
    return (
        task.is_terminal
        and state is task.state
        and (result is None or result == task.result)
        and (error is None or error == task.error)
    )
