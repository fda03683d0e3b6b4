"""Which write counts, and whose lease it is."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from trio_hub.errors import Conflict
from trio_hub.protocol.checkpoint_mark import (
    CheckpointMark,
    after_lease,
    after_release,
    after_write,
    is_held_by_another,
)


def test_whoever_gives_no_generation_overwrites() -> None:
    mark = CheckpointMark(generation=4, holder="h", lease_seconds=9)
    written = after_write("t", mark, generation=None, key=None)
    assert written == CheckpointMark(generation=5, holder="h", lease_seconds=9)


def test_whoever_goes_on_from_what_there_is_writes_and_anybody_else_is_told() -> None:
    mark = CheckpointMark(generation=4)
    assert after_write("t", mark, generation=4, key="k").generation == 5
    for generation in (3, 5):
        with pytest.raises(Conflict, match=f"task t is of generation 4.*from {generation}"):
            after_write("t", mark, generation=generation, key="k")


def test_the_same_write_told_again_changes_nothing() -> None:
    mark = after_write("t", CheckpointMark(), generation=0, key="k")
    assert after_write("t", mark, generation=0, key="k") is mark
    for generation, key in ((0, "other"), (0, None), (7, "k")):
        with pytest.raises(Conflict):
            after_write("t", mark, generation=generation, key=key)
    # Told again once it has been overwritten, it is too late.
    with pytest.raises(Conflict):
        after_write("t", after_write("t", mark, generation=1, key="l"), generation=0, key="k")


@pytest.mark.parametrize(
    ("holder", "now", "another"),
    [("me", 1, False), ("you", 1, True), (None, 1, True), ("you", 2, False), (None, 3, False)],
)
def test_a_lease_keeps_others_out_until_it_has_run_out(
    holder: str | None, now: float, another: bool
) -> None:
    assert is_held_by_another(CheckpointMark(holder="me"), holder, until=2, now=now) is another
    assert not is_held_by_another(CheckpointMark(), holder, until=2, now=now)


def test_a_change_of_hands_is_a_generation_and_a_renewal_is_nothing() -> None:
    first = after_lease(CheckpointMark(generation=3, key="k"), "a", 30)
    assert first == CheckpointMark(generation=4, holder="a", lease_seconds=30)
    assert after_lease(first, "a", 30) is first
    assert after_lease(first, "a", 60) == CheckpointMark(generation=4, holder="a", lease_seconds=60)
    assert after_lease(first, "b", 30).generation == 5
    assert after_release(first, "b") is first
    assert after_release(first, "a").holder is None


@given(st.lists(st.sampled_from(["a", "b"]) | st.tuples(st.sampled_from(["a", "b"])), max_size=20))
def test_of_two_workers_only_the_last_to_have_the_lease_can_write(
    steps: list[str | tuple[str]],
) -> None:
    """A text takes the lease, a tuple writes; each goes on from what it knows."""
    mark, known, last = CheckpointMark(), {"a": -1, "b": -1}, None
    for step in steps:
        if isinstance(step, str):
            mark = after_lease(mark, step, 1)
            known[step], last = mark.generation, step
            continue
        (worker,) = step
        if worker == last:
            mark = after_write("t", mark, generation=known[worker], key=None)
            known[worker] = mark.generation
        else:
            with pytest.raises(Conflict):
                after_write("t", mark, generation=known[worker], key=None)
