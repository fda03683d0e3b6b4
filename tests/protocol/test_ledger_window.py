"""What is in flight and what is sent again: order, failures, silence."""

from __future__ import annotations

import pytest

from trio_hub.protocol.delivery_states import DeliveryState

from .ledgers import WAIT, ids, ledger_of, taken


def test_no_more_is_sent_than_there_is_room_for_and_the_rest_follows() -> None:
    ledger = ledger_of("xxx")
    assert ids(ledger, room=2) == ["e0", "e1"]
    assert ids(ledger, room=0) == []
    assert ids(ledger, room=2) == ["e2"]


# Nack, backoff, dead letters.


def test_a_nack_replays_at_once_from_that_envelope_on_in_order() -> None:
    ledger = ledger_of("xxxx")
    ids(ledger)
    failed = ledger.nack("e1", 0.0)
    assert failed is not None
    assert failed.state is DeliveryState.UNSENT
    assert taken(ledger) == [("e1", 2), ("e2", 2), ("e3", 2)]


def test_nacked_envelope_is_redelivered_even_after_a_later_ack() -> None:
    ledger = ledger_of("xxx")
    ids(ledger)
    ledger.ack("e2", 0.0)
    ledger.nack("e0", 0.0)
    assert ids(ledger) == ["e0", "e1"]


def test_from_the_second_failure_of_the_same_envelope_on_it_waits_and_twice_as_long() -> None:
    ledger = ledger_of("xx", max_attempts=0)
    ids(ledger)
    now = 0.0
    ledger.nack("e0", now)
    assert ids(ledger, now) == ["e0", "e1"]
    for wait in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
        failed = ledger.nack("e0", now)
        assert failed is not None
        assert failed.state is DeliveryState.WAITING
        assert ledger.wake_at() == now + wait
        assert ids(ledger, now + wait - 0.001) == []
        now += wait
        assert ids(ledger, now) == ["e0", "e1"]


def test_first_failures_of_different_envelopes_are_retried_at_once() -> None:
    ledger = ledger_of("xx")
    ids(ledger)
    ledger.nack("e0", 0.0)
    ids(ledger)
    ledger.nack("e1", 0.0)
    assert ids(ledger) == ["e1"]


def test_nothing_newer_is_sent_while_an_older_one_waits_for_its_backoff() -> None:
    ledger = ledger_of("xx")
    for _ in range(2):
        ids(ledger)
        ledger.nack("e0", 0.0)
    ledger.extended(addressed=True)
    ledger.offer(2, "e2", "payload 2")
    assert ids(ledger) == []
    assert ids(ledger, 1.0) == ["e0", "e1", "e2"]


def test_an_older_one_in_flight_is_not_held_back_by_a_newer_one_that_waits() -> None:
    ledger = ledger_of("xxx")
    for _ in range(2):
        ids(ledger)
        ledger.nack("e1", 0.0)
    assert [entry.state for entry in ledger.window] == [
        DeliveryState.IN_FLIGHT,
        DeliveryState.WAITING,
        DeliveryState.UNSENT,
    ]
    assert ledger.wake_at() == 1.0
    assert ledger.ack("e0", 0.0)
    assert ids(ledger, 1.0) == ["e1", "e2"]


def test_a_wait_is_not_cut_short_by_the_failure_of_an_older_envelope() -> None:
    ledger = ledger_of("xxx")
    for _ in range(2):
        ids(ledger)
        ledger.nack("e1", 0.0)
    ledger.nack("e0", 0.0)
    assert ids(ledger, 0.5) == ["e0"]
    assert ids(ledger, 1.0) == ["e1", "e2"]


def test_the_nearer_of_deadline_and_backoff_wakes() -> None:
    ledger = ledger_of("xx")
    for _ in range(2):
        ids(ledger, 0.0)
        ledger.nack("e1", 99.5)
    assert ledger.wake_at() == WAIT
    assert ledger.progress("e0", 99.5)
    assert ledger.wake_at() == 100.5


@pytest.mark.parametrize("max_attempts", [1, 2, 5])
def test_an_envelope_is_dead_exactly_at_its_last_allowed_failure(max_attempts: int) -> None:
    ledger = ledger_of("xx", max_attempts=max_attempts)
    for failure in range(1, max_attempts + 1):
        assert ids(ledger, failure * WAIT)[0] == "e0"
        entry = ledger.nack("e0", failure * WAIT)
        assert entry is not None
        assert (entry.state is DeliveryState.DEAD) == (failure == max_attempts)
        assert entry.failures == entry.attempt == failure
    assert ledger.cursor == 1
    assert ledger.owed == 1
    assert ids(ledger) == ["e1"]


def test_with_no_limit_of_attempts_nothing_ever_dies() -> None:
    ledger = ledger_of("x", max_attempts=0)
    for failure in range(200):
        assert ids(ledger, failure * WAIT) == ["e0"]
        entry = ledger.nack("e0", failure * WAIT)
        assert entry is not None
        assert entry.state is not DeliveryState.DEAD


def test_an_envelope_behind_a_dead_one_keeps_its_order_and_its_counts() -> None:
    ledger = ledger_of("xxx", max_attempts=1)
    ids(ledger)
    ledger.nack("e1", 0.0)
    assert ledger.cursor == 0
    assert taken(ledger) == [("e2", 2)]
    ledger.ack("e0", 0.0)
    assert ledger.cursor == 2


def test_one_delivery_fails_at_most_once() -> None:
    ledger = ledger_of("x")
    ids(ledger)
    assert ledger.nack("e0", 0.0) is not None
    assert ledger.nack("e0", 0.0) is None
    assert taken(ledger) == [("e0", 2)]


def test_an_ack_of_an_earlier_delivery_settles_what_is_about_to_be_sent_again() -> None:
    ledger = ledger_of("xx")
    ids(ledger)
    ledger.nack("e0", 0.0)
    assert ledger.ack("e1", 0.0)
    assert ids(ledger) == ["e0"]


def test_an_ack_settles_what_waits_for_its_backoff_and_frees_what_is_behind() -> None:
    ledger = ledger_of("xx")
    for _ in range(2):
        ids(ledger)
        ledger.nack("e0", 0.0)
    assert ledger.ack("e0", 0.0)
    assert ids(ledger) == ["e1"]


@pytest.mark.parametrize("receipt", ["ack", "nack", "progress"])
def test_a_receipt_for_an_unknown_envelope_changes_nothing(receipt: str) -> None:
    for pattern in ("", "xx"):
        ledger = ledger_of(pattern)
        ids(ledger)
        assert not getattr(ledger, receipt)("e9", 0.0)
        assert ledger.owed == len(pattern)
        assert ledger.cursor == 0


@pytest.mark.parametrize("receipt", ["ack", "nack", "progress"])
def test_a_stale_receipt_for_what_is_settled_settles_nothing_else(receipt: str) -> None:
    ledger = ledger_of("xx")
    ids(ledger)
    ledger.ack("e0", 0.0)
    assert not getattr(ledger, receipt)("e0", 0.0)
    assert ledger.owed == 1


# Silence.


def test_a_silent_envelope_is_redelivered_with_what_is_behind_it() -> None:
    ledger = ledger_of("xx")
    ids(ledger, 5.0)
    assert ledger.wake_at() == 5.0 + WAIT
    assert ledger.expire(5.0 + WAIT - 0.001) is None
    entry = ledger.expire(5.0 + WAIT)
    assert entry is not None
    assert (entry.envelope_id, entry.failures) == ("e0", 1)
    assert taken(ledger, 5.0 + WAIT) == [("e0", 2), ("e1", 2)]


def test_silence_counts_towards_a_dead_letter() -> None:
    ledger = ledger_of("x", max_attempts=2)
    ids(ledger, 0.0)
    ledger.nack("e0", 0.0)
    ids(ledger, 0.0)
    entry = ledger.expire(WAIT)
    assert entry is not None
    assert entry.state is DeliveryState.DEAD
    assert ledger.owed == 0


def test_what_stood_in_a_queue_behind_a_silent_envelope_has_not_failed() -> None:
    ledger = ledger_of("xx", max_attempts=1)
    ids(ledger)
    ledger.expire(WAIT)
    assert [entry.failures for entry in ledger.window] == [0]


def test_the_clock_of_an_envelope_starts_when_the_one_before_it_is_settled() -> None:
    ledger = ledger_of("xx")
    ids(ledger, 0.0)
    ledger.ack("e0", 90.0)
    assert ledger.expire(WAIT) is None
    assert ledger.wake_at() == 90.0 + WAIT


def test_receipts_of_newer_envelopes_do_not_keep_a_silent_one_alive() -> None:
    ledger = ledger_of("xxx")
    ids(ledger, 0.0)
    ledger.ack("e2", 90.0)
    ledger.progress("e1", 90.0)
    assert ledger.expire(WAIT) is not None


def test_progress_keeps_a_slow_handler_from_being_called_silent() -> None:
    ledger = ledger_of("x")
    ids(ledger, 0.0)
    assert ledger.progress("e0", 90.0)
    assert ledger.expire(WAIT) is None
    assert ledger.wake_at() == 90.0 + WAIT


def test_progress_of_what_is_not_in_flight_is_ignored() -> None:
    ledger = ledger_of("x")
    assert not ledger.progress("e0", 0.0)


def test_nothing_is_silent_that_was_not_sent() -> None:
    ledger = ledger_of("x")
    assert ledger.expire(1e9) is None
    assert ledger_of("").expire(1e9) is None


def test_a_caught_up_ledger_never_wakes() -> None:
    ledger = ledger_of("x")
    assert ledger.wake_at() is None  # to be sent at once, so there is nothing to wait for
    ids(ledger)
    ledger.ack("e0", 0.0)
    assert ledger.wake_at() is None
