"""The promises of one (recipient, channel), one by one."""

from __future__ import annotations

import pytest

from trio_hub.protocol.delivery_states import DeliveryState
from trio_hub.protocol.ledger import Ledger
from trio_hub.protocol.runs import Run

from .ledgers import WAIT, HighestDraw, ids, ledger_of, offer_rest, policy, taken

# Order and cursor.


def test_envelopes_are_sent_in_log_order_with_their_payload() -> None:
    ledger = ledger_of("xxx")
    entries = ledger.take(0.0, 10)
    assert [(e.position, e.envelope_id, e.attempt, e.payload) for e in entries] == [
        (0, "e0", 1, "payload 0"),
        (1, "e1", 1, "payload 1"),
        (2, "e2", 1, "payload 2"),
    ]
    assert ids(ledger) == []


def test_the_cursor_moves_only_over_a_settled_run() -> None:
    ledger = ledger_of("xxxx")
    ids(ledger)
    assert ledger.ack("e2", 0.0)
    assert ledger.cursor == 0
    assert ledger.ack("e0", 0.0)
    assert ledger.cursor == 1
    assert ledger.ack("e1", 0.0)
    assert ledger.cursor == 3
    assert ledger.ack("e3", 0.0)
    assert ledger.cursor == 4


def test_an_early_ack_of_a_later_envelope_does_not_hide_an_earlier_one_after_a_reconnect() -> None:
    ledger = ledger_of("xxx")
    ids(ledger)
    ledger.ack("e2", 0.0)
    ledger.detach()
    offer_rest(ledger, "xxx")
    assert taken(ledger) == [("e0", 2), ("e1", 2)]


def test_what_is_not_addressed_is_settled_at_once() -> None:
    ledger = ledger_of("..x.")
    assert ledger.cursor == 2
    assert ids(ledger) == ["e2"]
    ledger.ack("e2", 0.0)
    assert ledger.cursor == ledger.length == 4


def test_a_caught_up_ledger_passes_over_what_is_not_addressed_without_reading_it() -> None:
    ledger: Ledger[str] = Ledger(policy(), HighestDraw(), length=3, cursor=3)
    ledger.extended(addressed=False)
    assert (ledger.cursor, ledger.offered, ledger.length) == (4, 4, 4)


def test_a_ledger_with_something_unsettled_does_not_pass_it_when_the_log_grows() -> None:
    ledger = ledger_of("x")
    ledger.extended(addressed=False)
    assert (ledger.cursor, ledger.offered) == (0, 2)


def test_records_are_offered_in_log_order_only() -> None:
    ledger: Ledger[str] = Ledger(policy(), HighestDraw(), length=3)
    with pytest.raises(AssertionError, match="offered position 1, expected 0 of 3"):
        ledger.offer(1, "e1", "payload")
    with pytest.raises(AssertionError, match="skipped position 1, expected 0 of 3"):
        ledger.skip(1)


def test_nothing_is_offered_past_the_end_of_the_log() -> None:
    ledger = ledger_of("x")
    with pytest.raises(AssertionError, match="offered position 1, expected 1 of 1"):
        ledger.offer(1, "e1", "payload")
    with pytest.raises(AssertionError, match="skipped position 1, expected 1 of 1"):
        ledger.skip(1)


def test_one_envelope_id_cannot_stand_in_a_window_twice() -> None:
    ledger: Ledger[str] = Ledger(policy(), HighestDraw(), length=2)
    ledger.offer(0, "same", "payload")
    with pytest.raises(AssertionError, match="envelope same is in the window"):
        ledger.offer(1, "same", "payload")


def test_one_envelope_id_cannot_come_back_at_another_position() -> None:
    ledger = ledger_of("xx")
    ids(ledger)
    ledger.detach()
    with pytest.raises(AssertionError, match="envelope e1 stands in the log twice"):
        ledger.offer(0, "e1", "payload")


# Connections that come and go.


def test_a_cut_connection_is_nobodys_fault() -> None:
    ledger = ledger_of("x", max_attempts=1)
    for attempt in range(1, 20):
        assert taken(ledger) == [("e0", attempt)]
        ledger.detach()
        assert ledger.offered == ledger.cursor == 0
        offer_rest(ledger, "x")
    assert ledger.window[0].failures == 0


def test_failures_before_a_reconnect_still_count_after_it() -> None:
    ledger = ledger_of("x", max_attempts=2)
    ids(ledger)
    ledger.nack("e0", 0.0)
    ids(ledger)
    ledger.detach()
    offer_rest(ledger, "x")
    ids(ledger)
    entry = ledger.nack("e0", 0.0)
    assert entry is not None
    assert entry.state is DeliveryState.DEAD
    assert entry.attempt == 3


def test_a_reconnect_does_not_cut_a_backoff_short() -> None:
    ledger = ledger_of("x")
    for _ in range(2):
        ids(ledger)
        ledger.nack("e0", 0.0)
    ledger.detach()
    assert ledger.wake_at() is None
    offer_rest(ledger, "x")
    assert ids(ledger, 0.5) == []
    assert taken(ledger, 1.0) == [("e0", 3)]


def test_what_was_never_sent_leaves_nothing_behind_when_the_connection_goes() -> None:
    ledger = ledger_of("x")
    ledger.detach()
    assert not ledger.ack("e0", 0.0)
    assert ledger.owed == 1


def test_a_receipt_that_arrives_after_a_reconnect_settles_what_was_sent_before_it() -> None:
    ledger = ledger_of("xxxx")
    ids(ledger)
    ledger.detach()
    assert ledger.ack("e2", 0.0)
    assert ledger.ack("e0", 0.0)
    assert ledger.snapshot() == (1, ((2, 3),))
    assert ledger.owed == 2
    assert not ledger.ack("e0", 0.0)
    offer_rest(ledger, "xxxx")
    assert taken(ledger) == [("e1", 2), ("e3", 2)]


def test_nothing_is_remembered_of_what_was_settled_after_its_connection_went() -> None:
    ledger = ledger_of("xx")
    ids(ledger)
    ledger.detach()
    ledger.ack("e1", 0.0)
    ledger.settle(0, 0.0)
    assert ledger._known is None
    assert ledger._runs is None
    ledger = ledger_of("xx")
    ids(ledger)
    ledger.detach()
    ledger.ack("e0", 0.0)
    ledger.ack("e1", 0.0)
    assert ledger._known is None


def test_a_read_stops_before_what_is_settled_already() -> None:
    ledger = ledger_of("xxxx")
    ids(ledger)
    ledger.ack("e1", 0.0)
    ledger.ack("e2", 0.0)
    ledger.detach()
    assert (ledger.offered, ledger.readable_to) == (0, 1)
    ledger.offer(0, "e0", "payload")
    assert (ledger.offered, ledger.readable_to) == (3, 4)


def test_nothing_is_kept_of_a_ledger_that_is_caught_up() -> None:
    ledger = ledger_of("xx.")
    ids(ledger)
    ledger.ack("e1", 0.0)
    ledger.detach()
    offer_rest(ledger, "xx.")
    ids(ledger)
    ledger.ack("e0", 0.0)
    for name in ("_window", "_pending", "_known", "_runs"):
        assert getattr(ledger, name) is None, name


# Snapshots and counts.


def test_a_snapshot_holds_what_is_settled_between_and_ahead_of_the_unsettled() -> None:
    ledger = ledger_of("xxxxxxx")
    ids(ledger)
    for envelope_id in ("e1", "e2", "e4", "e6"):
        ledger.ack(envelope_id, 0.0)
    assert ledger.snapshot() == (0, ((1, 3), (4, 5), (6, 7)))
    ledger.detach()
    assert ledger.snapshot() == (0, ((1, 3), (4, 5), (6, 7)))


def test_a_ledger_taken_up_from_its_snapshot_delivers_exactly_what_was_unsettled() -> None:
    ledger = ledger_of("xxxxxxx")
    ids(ledger)
    for envelope_id in ("e0", "e2", "e4", "e5"):
        ledger.ack(envelope_id, 0.0)
    cursor, settled = ledger.snapshot()
    again: Ledger[str] = Ledger(policy(), HighestDraw(), length=7, cursor=cursor, settled=settled)
    assert again.owed == 3
    offer_rest(again, "xxxxxxx")
    assert taken(again) == [("e1", 1), ("e3", 1), ("e6", 1)]


@pytest.mark.parametrize(
    ("length", "cursor", "settled"),
    [
        (3, 4, ()),
        (3, -1, ()),
        (3, 0, ((2, 4),)),
        (3, 0, ((-1, 1),)),
    ],
)
def test_a_snapshot_of_another_log_is_refused(
    length: int, cursor: int, settled: tuple[Run, ...]
) -> None:
    with pytest.raises(ValueError, match=f"does not fit a log of {length} records"):
        Ledger(policy(), HighestDraw(), length=length, cursor=cursor, settled=settled)


@pytest.mark.parametrize(
    ("cursor", "settled", "expected"),
    [
        (2, ((2, 4),), (4, ())),
        (2, ((0, 3), (5, 6)), (3, ((5, 6),))),
        (2, ((5, 6), (4, 5), (3, 3)), (2, ((4, 6),))),
        (2, ((4, 8), (5, 6)), (2, ((4, 8),))),
        (0, ((1, 8),), (0, ((1, 8),))),
        (0, ((0, 8),), (8, ())),
    ],
)
def test_untidy_runs_are_put_in_order(
    cursor: int, settled: tuple[Run, ...], expected: tuple[int, tuple[Run, ...]]
) -> None:
    ledger: Ledger[str] = Ledger(policy(), HighestDraw(), length=8, cursor=cursor, settled=settled)
    assert ledger.snapshot() == expected
    assert ledger.owed == 8 - expected[0] - sum(stop - start for start, stop in expected[1])


def test_where_nobody_counted_the_owed_are_corrected_by_reading() -> None:
    ledger: Ledger[str] = Ledger(policy(), HighestDraw(), length=4)
    assert ledger.owed == 4
    offer_rest(ledger, "x..x")
    assert ledger.owed == 2


@pytest.mark.parametrize(("owed", "expected"), [(0, 0), (2, 2), (9, 4), (-1, 0)])
def test_a_count_that_is_given_is_believed_as_far_as_it_can_be_true(
    owed: int, expected: int
) -> None:
    ledger: Ledger[str] = Ledger(policy(), HighestDraw(), length=4, owed=owed)
    assert ledger.owed == expected
    offer_rest(ledger, "xxxx")
    assert ledger.owed == 4


# Settling from outside.


@pytest.mark.parametrize("through", range(6))
def test_resuming_settles_everything_up_to_that_position(through: int) -> None:
    pattern = "xx.xxx"
    ledger = ledger_of(pattern)
    ids(ledger)
    ledger.ack("e3", 0.0)
    ledger.detach()
    offer_rest(ledger, pattern, stop=2)
    ids(ledger)
    assert ledger.settle_through(through, 0.0, owed=sum(p > through for p in (0, 1, 4, 5)))
    assert ledger.owed == sum(p > through for p in (0, 1, 4, 5))
    offer_rest(ledger, pattern)
    ids(ledger)
    assert [e.position for e in ledger.window] == [p for p in (0, 1, 4, 5) if p > through]


@pytest.mark.parametrize("through", range(4))
def test_late_receipts_count_only_for_what_was_not_resumed_past(through: int) -> None:
    ledger = ledger_of("xxxx")
    ids(ledger)
    ledger.detach()
    ledger.settle_through(through, 0.0)
    for position in range(4):
        assert ledger.ack(f"e{position}", 0.0) == (position > through)
    assert ledger.cursor == 4


@pytest.mark.parametrize("position", range(4))
def test_a_late_receipt_for_what_was_settled_from_outside_is_ignored(position: int) -> None:
    ledger = ledger_of("xxxx")
    ids(ledger)
    ledger.detach()
    assert ledger.settle(position, 0.0)
    for other in range(4):
        assert ledger.ack(f"e{other}", 0.0) == (other != position)
    assert ledger.cursor == 4


def test_resuming_to_what_is_settled_changes_nothing() -> None:
    ledger = ledger_of("xx")
    ids(ledger)
    ledger.ack("e0", 0.0)
    assert not ledger.settle_through(0, 0.0)
    assert ledger.owed == 1


def test_resuming_without_a_count_never_forgets_what_is_owed() -> None:
    ledger: Ledger[str] = Ledger(policy(), HighestDraw(), length=4, owed=3)
    assert ledger.settle_through(1, 0.0)
    assert ledger.owed == 2
    offer_rest(ledger, "xx.x")
    assert ledger.owed == 1


def test_resuming_restarts_the_clock_of_what_is_the_oldest_now() -> None:
    ledger = ledger_of("xxx")
    ids(ledger, 0.0)
    ledger.settle_through(1, 50.0)
    assert ledger.wake_at() == 50.0 + WAIT


def test_resuming_past_the_end_of_the_log_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="position 2 of 2"):
        ledger_of("xx").settle_through(2, 0.0)


def test_one_position_is_settled_wherever_it_stands() -> None:
    pattern = "xxxxxx"
    ledger = ledger_of(pattern)
    ids(ledger)
    ledger.detach()
    ledger.offer(0, "e0", "payload")
    ledger.offer(1, "e1", "payload")
    for position in (5, 3, 4, 2, 0):  # ahead, ahead, between, the next one, in the window
        assert ledger.settle(position, 0.0)
        assert not ledger.settle(position, 0.0)
    assert ledger.owed == 1
    assert (ledger.cursor, ledger.offered) == (1, 6)
    assert taken(ledger) == [("e1", 2)]
    assert not ledger.ack("e5", 0.0)


def test_settling_what_is_not_addressed_does_not_count() -> None:
    ledger: Ledger[str] = Ledger(policy(), HighestDraw(), length=3, owed=1)
    assert ledger.settle(0, 0.0, addressed=False)
    assert ledger.owed == 1
    assert ledger.settle(1, 0.0)
    assert ledger.owed == 0


def test_a_count_that_was_too_small_never_becomes_negative() -> None:
    ledger: Ledger[str] = Ledger(policy(), HighestDraw(), length=3, owed=0)
    assert ledger.settle(1, 0.0)
    assert ledger.owed == 0


def test_settling_a_position_that_the_log_has_not_is_a_mistake() -> None:
    for position in (-1, 2):
        with pytest.raises(AssertionError, match=f"position {position} of 2"):
            ledger_of("xx").settle(position, 0.0)


def test_the_oldest_to_drop_is_one_that_the_recipient_has_not_got() -> None:
    ledger = ledger_of("xxx")
    assert ledger.oldest() == (0, "e0")
    ids(ledger, room=1)
    assert ledger.oldest() == (1, "e1")
    ids(ledger)
    assert ledger.oldest() == (0, "e0")  # it has got them all
    ledger.extended(addressed=True)
    assert ledger.oldest() == (3, None)  # not in memory
    ledger.settle_through(3, 0.0)
    assert ledger.oldest() is None
