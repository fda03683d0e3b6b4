"""A turn dispatches once and writes once, whatever happens in it."""

from __future__ import annotations

import pytest

from trio_hub.hub.turn import Turn


def test_what_is_pushed_in_a_turn_is_written_after_the_dispatch() -> None:
    turn = Turn()
    happened: list[str] = []

    def dispatch() -> None:
        happened.append("dispatched")
        turn.cork.keep(lambda: happened.append("written too"))

    turn.dispatch = dispatch
    with turn:
        assert turn.is_on
        turn.cork.keep(lambda: happened.append("written"))
    assert not turn.is_on
    assert happened == ["dispatched", "written", "written too"]


def test_turn_that_goes_wrong_leaves_nothing_kept() -> None:
    turn = Turn()
    written: list[int] = []

    def dispatch() -> None:
        raise KeyError("a mistake")

    turn.dispatch = dispatch
    with pytest.raises(KeyError), turn:
        turn.cork.keep(lambda: written.append(1))
    assert written == [1]
    assert not turn.is_on


def test_turn_within_a_turn_leaves_nothing_behind() -> None:
    turn = Turn()
    dispatches: list[int] = []
    turn.dispatch = lambda: dispatches.append(1)
    with turn:
        with turn:
            pass
        assert not turn.is_on
    assert len(dispatches) == 2
