"""Tasks are found by id, owner and channel, in one order, whatever has happened to them."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trio_hub.errors import ProtocolError
from trio_hub.protocol.task_index import TaskIndex, cursor_of, key_of, key_of_cursor
from trio_hub.records import TaskMetadata, TaskSpec, TaskState


def task(
    task_id: str,
    *,
    owner: str = "o",
    channel: str | None = None,
    state: TaskState = TaskState.RUNNING,
    created: str = "",
    completed: str | None = None,
) -> TaskMetadata:
    return TaskMetadata(
        task_id=task_id,
        owner_id=owner,
        spec=TaskSpec(title="x"),
        state=state,
        created_at=created,
        completed_at=completed,
        channel_id=channel,
    )


_FEW = st.sampled_from(["a", "b", "c"])
_TASKS = st.builds(
    task,
    st.sampled_from("pqrst"),
    owner=_FEW,
    channel=st.none() | _FEW,
    state=st.sampled_from(TaskState),
    created=st.sampled_from(["1", "2"]),
    completed=st.none() | st.sampled_from(["3", "4"]),
)
# Put a task, or remove one.
_STEPS = st.lists(_TASKS | st.sampled_from("pqrst"), max_size=30)


@given(_STEPS, st.none() | _TASKS, st.sets(_FEW), st.sets(_FEW))
def test_it_finds_what_a_scan_of_all_tasks_finds(
    steps: list[TaskMetadata | str],
    after: TaskMetadata | None,
    owners: set[str],
    channels: set[str],
) -> None:
    index, model = TaskIndex(), dict[str, TaskMetadata]()
    for step in steps:
        if isinstance(step, str):
            index.remove(step)
            model.pop(step, None)
        else:
            index.put(step)
            model[step.task_id] = step

    key = None if after is None else key_of_cursor(cursor_of(after))
    assert after is None or key == key_of(after)
    in_order = sorted(model.values(), key=key_of)
    behind = [it for it in in_order if key is None or key_of(it) > key]
    assert (list(index), len(index)) == (in_order, len(model))
    assert sorted(index.owners) == sorted({it.owner_id for it in in_order})
    for name in "abc":
        assert list(index.of_owner(name, after=key)) == [it for it in behind if it.owner_id == name]
        assert list(index.of_channel(name, after=key)) == [
            it for it in behind if it.channel_id == name
        ]
        assert index.is_open_in(name) == any(
            it.channel_id == name and not it.is_terminal for it in in_order
        )
        assert index.count_open_of(name) == sum(
            it.owner_id == name and not it.is_terminal for it in in_order
        )
        ended = sorted(
            ((it.completed_at or it.created_at), it.task_id)
            for it in in_order
            if it.owner_id == name and it.is_terminal
        )
        for most in range(3):
            surplus = [task_id for _, task_id in ended[: max(0, len(ended) - most)]]
            assert index.too_many(name, most) == surplus
    assert list(index.of_any(owners, channels, after=key)) == [
        it for it in behind if it.owner_id in owners or it.channel_id in channels
    ]
    for task_id in "pqrst":
        assert index.find(task_id) == model.get(task_id)


def test_a_cursor_is_read_as_it_was_written_and_nothing_else_is() -> None:
    assert key_of_cursor(None) is None
    assert key_of_cursor(cursor_of(task("t", created="yesterday at 8"))) == ("yesterday at 8", "t")
    assert key_of_cursor(cursor_of(task("t"))) == ("", "t")
    with pytest.raises(ProtocolError, match="a space"):
        key_of_cursor("t")


def test_a_task_of_an_owner_and_a_channel_that_are_both_asked_for_is_found_once() -> None:
    index = TaskIndex()
    one, other = task("p", channel="c", created="1"), task("q", created="2")
    index.put(other)
    index.put(one)
    assert list(index.of_any(["o"], ["c"])) == [one, other]
    index.remove("q")
    index.remove("q")
    assert list(index) == [one]


def test_a_channel_has_open_tasks_until_the_last_has_ended_or_is_gone() -> None:
    index = TaskIndex()
    one, other = task("p", channel="c"), task("q", channel="c")
    index.put(one)
    index.put(other)
    # Told again, it stands where it stood.
    index.put(task("p", channel="c", state=TaskState.CREATED))
    assert len(index) == 2
    index.remove("p")
    assert index.is_open_in("c")
    index.put(task("q", channel="c", state=TaskState.COMPLETED))
    assert not index.is_open_in("c")
    index.remove("q")
    assert len(index) == 0
    assert index.too_many("o", 0) == []
