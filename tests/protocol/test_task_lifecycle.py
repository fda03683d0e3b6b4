"""The table of a task's life."""

from __future__ import annotations

import itertools

import attrs
import pytest

from trio_hub.errors import ProtocolError
from trio_hub.protocol.task_lifecycle import TRANSITIONS, check_transition, is_repetition
from trio_hub.records import TaskMetadata, TaskSpec, TaskState


def task(state: TaskState) -> TaskMetadata:
    return TaskMetadata(
        task_id="t", owner_id="o", spec=TaskSpec(title="x"), state=state, result=1, error="e"
    )


@pytest.mark.parametrize(("old", "new"), list(itertools.product(TaskState, [*TaskState, None])))
def test_nothing_follows_an_end_and_nothing_goes_back(
    old: TaskState, new: TaskState | None
) -> None:
    back = old is TaskState.RUNNING and new is TaskState.CREATED
    if old.is_terminal or back:
        with pytest.raises(ProtocolError, match="task t"):
            check_transition(task(old), new)
    else:
        check_transition(task(old), new)


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(TaskState)


@pytest.mark.parametrize("state", list(TaskState))
def test_only_the_same_end_in_the_same_words_is_a_repetition(state: TaskState) -> None:
    told = task(state)
    assert is_repetition(told, state, 1, "e") is state.is_terminal
    assert is_repetition(told, state, None, None) is state.is_terminal
    assert not is_repetition(told, state, 2, None)
    assert not is_repetition(told, state, None, "other")
    assert not is_repetition(told, None, None, None)
    other = TaskState.FAILED if state is not TaskState.FAILED else TaskState.EXPIRED
    assert not is_repetition(attrs.evolve(told, state=other), state, None, None)
