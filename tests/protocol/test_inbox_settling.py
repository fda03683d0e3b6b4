"""How envelopes leave an inbox: answered, dead, expired, dropped."""

from __future__ import annotations

import pytest

from trio_hub.protocol.inbox import CursorSnapshot, DeadLetter, Expired, Victim

from .inboxes import WAIT, Logs, parked

# Receipts.


def test_a_nack_replays_in_order_and_live_traffic_comes_after_it() -> None:
    logs = Logs()
    logs.grow("a", "xx")
    logs.work()
    assert logs.inbox.nack("a", "a0", 0.0, "boom")
    logs.grow("a", "x")
    assert [(d.envelope_id, d.attempt) for d in logs.work().sends] == [
        ("a0", 2),
        ("a1", 2),
        ("a2", 1),
    ]


def test_a_waiting_channel_holds_back_only_itself_and_wakes_by_itself() -> None:
    logs = Logs()
    logs.grow("a", "x")
    for _ in range(2):
        logs.work()
        logs.inbox.nack("a", "a0", 0.0)
    logs.grow("a", "x")
    logs.grow("b", "x")
    assert logs.sent() == ["b0"]
    assert logs.inbox.wake_at() == 1.0
    logs.now = 1.0
    assert logs.sent() == ["a0", "a1"]


def test_an_ack_of_what_waits_frees_what_is_behind_it_at_once() -> None:
    logs = Logs()
    logs.grow("a", "xx")
    for _ in range(2):
        logs.work()
        logs.inbox.nack("a", "a0", 0.0)
    assert logs.sent() == []
    logs.ack("a0")
    assert logs.sent() == ["a1"]


@pytest.mark.parametrize("receipt", ["ack", "nack", "progress"])
def test_receipts_for_unknown_channels_and_envelopes_are_ignored(receipt: str) -> None:
    logs = Logs()
    logs.grow("a", "x")
    logs.work()
    assert not getattr(logs.inbox, receipt)("nowhere", "a0", 0.0)
    assert not getattr(logs.inbox, receipt)("a", "nothing", 0.0)
    assert logs.inbox.owed == logs.inbox.held == 1


def test_silence_redelivers_and_progress_prevents_it() -> None:
    logs = Logs()
    logs.grow("a", "x")
    logs.work()
    assert logs.inbox.wake_at() == WAIT
    assert logs.inbox.progress("a", "a0", 60.0)
    logs.now = WAIT
    assert not logs.work()
    assert logs.inbox.wake_at() == 60.0 + WAIT
    logs.now = 60.0 + WAIT
    assert logs.sent() == ["a0"]


def test_when_all_is_settled_there_is_nothing_to_wake_for() -> None:
    logs = Logs()
    logs.grow("a", "xx")
    assert logs.inbox.wake_at() is None
    logs.work()
    logs.ack("a0", "a1")
    assert logs.inbox.wake_at() is None


def test_an_alarm_that_was_overtaken_rings_for_nothing() -> None:
    logs = Logs()
    logs.grow("a", "x")
    for _ in range(2):
        logs.work()
        logs.inbox.nack("a", "a0", 0.0)
    assert logs.sent() == []
    logs.now = 1.0
    assert logs.sent() == ["a0"]
    logs.now = WAIT
    assert not logs.work()
    assert logs.inbox.wake_at() == 1.0 + WAIT


# Dead letters.


def test_what_failed_too_often_becomes_a_dead_letter_with_its_reason() -> None:
    logs = Logs(max_attempts=3)
    logs.grow("a", "xx")
    logs.inbox.nack("a", "a0", 0.0)  # not in flight yet, so it does not count
    for failure in range(3):
        logs.now = failure * 10.0
        assert logs.sent()[0] == "a0"
        assert logs.inbox.owed == 2
        assert logs.inbox.nack("a", "a0", logs.now, "handler raised ValueError")
    work = logs.work()
    assert work.dead == [DeadLetter("a", 0, "a0", 3, "handler raised ValueError")]
    assert logs.inbox.buried("a", 0)
    assert [d.envelope_id for d in logs.work().sends] == ["a1"]
    assert logs.inbox.owed == logs.inbox.held == 1


def test_nothing_is_sent_past_a_dead_letter_until_it_is_kept() -> None:
    logs = Logs(max_attempts=1)
    logs.grow("a", "xxx")
    logs.grow("b", "x")
    logs.work()
    logs.inbox.nack("a", "a0", 0.0)
    work = logs.work()
    assert [letter.envelope_id for letter in work.dead] == ["a0"]
    assert work.sends == []
    # Other channels have nothing to do with it; another life of the recipient sees no more.
    logs.grow("b", "x")
    assert logs.sent() == ["b1"]
    logs.inbox.attach()
    assert sorted(logs.sent()) == ["b0", "b1"]
    logs.grow("a", "x")
    assert logs.sent() == []
    assert logs.inbox.unburied == {"a": {0}}
    assert logs.inbox.buried("a", 0)
    assert logs.inbox.has_work
    assert logs.sent() == ["a1", "a2", "a3"]


def test_a_letter_that_others_keep_is_waited_for_as_well() -> None:
    logs = Logs()
    logs.grow("a", "..x")
    logs.inbox.burying("a", 0)
    logs.inbox.burying("a", 1)
    logs.inbox.burying("nowhere", 0)
    assert logs.sent() == []
    assert logs.inbox.buried("a", 0)
    assert logs.sent() == []
    logs.inbox.detach()
    assert logs.inbox.buried("a", 1)
    assert not logs.inbox.has_work
    logs.inbox.attach()
    assert logs.sent() == ["a2"]
    assert logs.inbox.unburied == {}


def test_the_dead_can_be_taken_without_a_poll() -> None:
    logs = Logs()
    logs.grow("a", "x")
    logs.work()
    assert logs.inbox.give_up("a", 0, 0.0, "larger than the peer takes")
    assert [letter.reason for letter in logs.inbox.take_gone().dead] == [
        "larger than the peer takes"
    ]
    assert not logs.inbox.take_gone()
    assert not logs.work()
    assert "a" in logs.inbox.unburied


def test_an_envelope_that_is_always_met_with_silence_dies_of_it() -> None:
    logs = Logs(max_attempts=1)
    logs.grow("a", "x")
    logs.work()
    logs.now = WAIT
    assert logs.work().dead == [DeadLetter("a", 0, "a0", 1, "silent for 100 s")]
    assert logs.inbox.owed == 0


def test_no_cursor_passes_a_dead_letter_until_it_is_kept() -> None:
    logs = Logs(max_attempts=1)
    logs.grow("a", "xx")
    logs.grow("b", "x")
    logs.work()
    logs.inbox.nack("a", "a1", 0.0)
    logs.inbox.nack("a", "a0", 0.0)
    logs.ack("b0")
    assert [letter.envelope_id for letter in logs.work().dead] == ["a1", "a0"]
    assert [snapshot.channel_id for snapshot in logs.inbox.dirty()] == ["b"]
    assert not logs.inbox.buried("a", 9)
    assert not logs.inbox.buried("b", 0)
    assert logs.inbox.buried("a", 0)
    assert logs.inbox.dirty() == []
    assert logs.inbox.buried("a", 1)
    assert logs.inbox.dirty() == [CursorSnapshot("a", 2, ())]
    assert not logs.inbox.buried("a", 1)


def test_a_dead_letter_is_handed_out_even_if_the_connection_goes_first() -> None:
    logs = Logs(max_attempts=1)
    logs.grow("a", "x")
    logs.work()
    logs.inbox.nack("a", "a0", 0.0, "no")
    logs.inbox.detach()
    assert logs.work().dead == [DeadLetter("a", 0, "a0", 1, "no")]
    assert not logs.work()


def test_what_cannot_be_delivered_at_all_becomes_a_dead_letter_at_once() -> None:
    logs = Logs()
    logs.grow("a", "xx")
    logs.work()
    assert logs.inbox.give_up("a", 0, 0.0, "larger than the peer takes")
    assert logs.inbox.dirty() == []
    assert logs.work().dead == [DeadLetter("a", 0, "a0", 1, "larger than the peer takes")]
    assert logs.inbox.owed == logs.inbox.held == 1
    assert logs.inbox.buried("a", 0)
    assert logs.inbox.dirty() == [CursorSnapshot("a", 1, ())]


@pytest.mark.parametrize(("channel_id", "position"), [("a", 0), ("a", 9), ("nowhere", 0)])
def test_only_what_is_in_the_window_can_be_given_up(channel_id: str, position: int) -> None:
    logs = Logs(attached=False)
    logs.grow("a", "x")
    assert not logs.inbox.give_up(channel_id, position, 0.0, "never sent")
    assert logs.inbox.owed == 1
    assert not logs.work()


# What expires.


def test_what_has_expired_before_it_is_sent_is_settled_and_handed_out() -> None:
    logs = Logs()
    logs.grow("a", "xxx", expires=5.0)
    logs.now = 4.9
    assert logs.sent() == ["a0", "a1", "a2"]
    logs.grow("a", "x", expires=5.0)
    logs.grow("a", "x")
    logs.now = 5.0
    work = logs.work()
    assert [it.envelope_id for it in work.sends] == ["a4"]
    assert work.expired == [Expired("a", 3, "a3", 0)]
    assert not logs.inbox.has_work
    assert logs.inbox.owed == 4


def test_what_was_sent_in_time_is_settled_by_its_receipt_or_not_sent_again() -> None:
    logs = Logs()
    logs.grow("a", "xx", expires=5.0)
    assert logs.sent() == ["a0", "a1"]
    logs.now = 6.0
    assert not logs.work()
    logs.ack("a0")
    assert logs.inbox.nack("a", "a1", logs.now)
    work = logs.work()
    assert (list(work.sends), work.expired) == ([], [Expired("a", 1, "a1", 1)])
    assert logs.inbox.owed == logs.inbox.held == 0
    assert logs.inbox.snapshot("a") == CursorSnapshot("a", 2, ())
    assert not logs.work()


def test_what_expires_during_its_backoff_does_not_hold_up_what_is_behind_it() -> None:
    logs = Logs()
    logs.grow("a", "x", expires=1.5)
    logs.grow("a", "x")
    # At once again after the first failure, then after 1 s, then it would be after 2 s.
    for now in (0.0, 0.0, 1.0):
        logs.now = now
        assert logs.sent() == ["a0", "a1"]
        assert logs.inbox.nack("a", "a0", logs.now)
    assert not logs.work()
    assert logs.inbox.wake_at() == 1.5
    logs.now = 1.5
    work = logs.work()
    assert work.expired == [Expired("a", 0, "a0", 3)]
    assert [it.envelope_id for it in work.sends] == ["a1"]


def test_what_expired_while_nobody_was_attached_is_not_delivered_when_somebody_is() -> None:
    logs = Logs(attached=False)
    logs.grow("a", "x", expires=5.0)
    logs.grow("a", "x")
    logs.now = 5.0
    logs.inbox.attach()
    assert logs.sent() == ["a1"]
    assert logs.expired == [Expired("a", 0, "a0", 0)]
    assert logs.inbox.owed == 1


def test_it_expires_though_it_was_sent_in_an_earlier_binding() -> None:
    logs = Logs()
    logs.grow("a", "x", expires=5.0)
    assert logs.sent() == ["a0"]
    logs.now = 5.0
    logs.inbox.attach()
    assert logs.sent() == []
    assert logs.expired == [Expired("a", 0, "a0", 1)]


def test_a_delivery_that_found_no_room_in_time_is_settled() -> None:
    logs = Logs()
    logs.grow("a", "xx", expires=5.0)
    sends = logs.work().sends
    assert [it.expires for it in sends] == [5.0, 5.0]
    logs.ack("a0")
    logs.now = 5.0
    expired = [logs.inbox.expire("a", it.envelope_id, logs.now, sent=False) for it in sends]
    assert expired == [False, True]
    assert not logs.inbox.expire("elsewhere", "a1", logs.now, sent=False)
    assert logs.inbox.has_work
    # It never went out.
    work = logs.work()
    assert (list(work.sends), work.expired) == ([], [Expired("a", 1, "a1", 0)])
    assert logs.inbox.owed == logs.inbox.held == 0


def test_room_that_the_expired_leave_is_read_into_at_once() -> None:
    logs = Logs(max_in_flight=2, page_records=2)
    logs.grow("a", "xx", expires=5.0)
    logs.grow("a", "xx")
    logs.now = 5.0
    assert logs.sent() == ["a2", "a3"]
    assert [it.position for it in logs.expired] == [0, 1]


def test_nothing_is_said_of_what_expired_in_a_channel_that_is_gone() -> None:
    logs = Logs()
    logs.grow("a", "x", expires=5.0)
    logs.grow("b", "x", expires=5.0)
    for send in logs.work().sends:
        assert logs.inbox.expire(send.channel_id, send.envelope_id, 5.0, sent=False)
    logs.inbox.forget("a")
    assert [it.channel_id for it in logs.work().expired] == ["b"]


def test_its_recipient_says_that_it_waited_there_for_too_long() -> None:
    logs = Logs()
    logs.grow("a", "x", expires=5.0)
    logs.grow("a", "x")
    assert logs.sent() == ["a0", "a1"]
    assert logs.inbox.expire("a", "a0", 5.0, sent=True)
    # One that lasts for ever does not expire, whatever its recipient says.
    assert not logs.inbox.expire("a", "a1", 5.0, sent=True)
    assert logs.work().expired == [Expired("a", 0, "a0", 1)]
    assert logs.inbox.owed == 1
    logs.ack("a1")
    assert not logs.inbox.expire("a", "a1", 5.0, sent=True)


def test_its_recipient_may_say_so_on_a_later_connection() -> None:
    logs = Logs()
    logs.grow("a", "x", expires=5.0)
    logs.grow("a", "xx")
    assert logs.sent() == ["a0", "a1", "a2"]
    logs.inbox.detach()
    assert not logs.inbox.expire("a", "a1", 5.0, sent=True)
    assert logs.inbox.expire("a", "a0", 5.0, sent=True)
    assert logs.inbox.owed == 2
    logs.inbox.attach()
    work = logs.work()
    assert work.expired == [Expired("a", 0, "a0", 1)]
    assert [page.start for page in work.reads] == [1]


# Bindings and overflow.


def test_resuming_one_channel_says_nothing_about_the_others() -> None:
    logs = Logs(attached=False)
    logs.grow("a", "xxx")
    logs.grow("b", "xxx")
    assert logs.inbox.resume("a", 1, 0.0, owed=1)
    assert not logs.inbox.resume("a", 0, 0.0)
    assert not logs.inbox.resume("nowhere", 0, 0.0)
    assert logs.inbox.owed == 4
    logs.inbox.attach()
    assert logs.sent() == ["a2", "b0", "b1", "b2"]


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("counted", [True, False])
def test_a_binding_without_replay_can_be_resumed_anywhere(position: int, counted: bool) -> None:
    logs = parked()
    owed = 3 - position
    assert logs.inbox.resume("a", position, 0.0, owed=owed if counted else None)
    assert not logs.inbox.resume("a", position, 0.0, owed=owed)
    assert logs.inbox.owed == logs.inbox.owed_in("a") == owed
    logs.inbox.attach()
    assert logs.sent() == [f"a{later}" for later in range(position + 1, 4)]
    assert logs.inbox.owed == owed


def test_a_late_receipt_settles_what_a_binding_did_not_want_to_hear_of() -> None:
    logs = parked()
    assert logs.inbox.ack("a", "a1", 0.0)
    assert not logs.inbox.ack("a", "a1", 0.0)
    assert logs.inbox.owed == logs.inbox.owed_in("a") == 3
    logs.ack("a0", "a2", "a3")
    assert logs.inbox.dirty() == [CursorSnapshot("a", 4, ())]


def test_failures_still_count_after_a_binding_without_replay() -> None:
    logs = parked()
    logs.inbox.attach()
    assert logs.sent() == ["a0", "a1", "a2", "a3"]
    logs.inbox.nack("a", "a0", 0.0, "again")
    assert logs.work().dead == [DeadLetter("a", 0, "a0", 3, "again")]


def test_the_oldest_of_the_same_channel_is_dropped_first() -> None:
    logs = Logs(max_in_flight=2)
    logs.grow("a", "xxx")
    logs.grow("b", "x")
    logs.work()
    assert logs.inbox.oldest("a") == Victim("a", 2, None)
    assert logs.inbox.settle("a", 2, 0.0)
    assert not logs.inbox.settle("a", 2, 0.0)
    assert logs.inbox.owed == 3
    assert logs.inbox.oldest("a") == Victim("a", 0, "a0")
    assert logs.inbox.settle("a", 0, 0.0)
    assert logs.sent() == ["b0"]


def test_what_a_binding_did_not_want_to_hear_of_is_the_first_to_be_dropped() -> None:
    logs = parked()
    logs.grow("b", "")
    for position in range(4):
        victim = logs.inbox.oldest("b")
        assert victim == Victim("a", position, "a3" if position == 3 else None)
        assert logs.inbox.settle("a", position, 0.0)
        assert not logs.inbox.settle("a", position, 0.0)
        assert logs.inbox.owed == 3 - position
    assert logs.inbox.oldest("b") is None


@pytest.mark.parametrize("pattern", ["x", "."])
def test_settling_what_was_not_addressed_pays_no_debt_of_others(pattern: str) -> None:
    # Nobody has read the log yet: each unsettled position counts for one until it is.
    logs = Logs(attached=False)
    logs.records["a"] = pattern + "x"
    logs.inbox.restore("a", length=2, owed=pattern.count("x") + 1)
    assert logs.inbox.settle("a", 0, 0.0, addressed=pattern == "x")
    assert logs.inbox.owed == 1
    logs.inbox.attach()
    assert logs.sent() == ["a1"]
