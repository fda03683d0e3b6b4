"""The promises of one recipient over all its channels, one by one."""

from __future__ import annotations

import pytest

from trio_hub.protocol.inbox import CursorSnapshot, DeadLetter, PageWanted, Victim

from .inboxes import WAIT, Logs, parked

# Live.


def test_what_is_posted_to_a_live_channel_is_sent_without_a_read() -> None:
    logs = Logs()
    logs.grow("a", "xx")
    work = logs.work()
    assert [attempt_of(d) for d in work.sends] == [
        ("a", 0, "a0", 1, "live"),
        ("a", 1, "a1", 1, "live"),
    ]
    assert work.reads == ()
    assert not logs.work()
    assert logs.inbox.owed == 2
    logs.ack("a1", "a0")
    assert logs.inbox.owed == logs.inbox.held == 0


def attempt_of(delivery: object) -> tuple[object, ...]:
    return tuple(
        getattr(delivery, name)
        for name in ("channel_id", "position", "envelope_id", "attempt", "payload")
    )


def test_a_poll_with_nothing_due_returns_the_same_empty_answer() -> None:
    logs = Logs()
    logs.grow("a", "x")
    logs.work()
    assert logs.work() is logs.work()
    assert not logs.work()


def test_a_log_grows_by_one_record_at_a_time() -> None:
    logs = Logs()
    logs.grow("a", "x")
    with pytest.raises(AssertionError, match="channel a grew at 2, expected 1"):
        logs.inbox.extended("a", 2, "a2", "live", True)


def test_a_channel_is_restored_once() -> None:
    logs = Logs()
    logs.grow("a", "x")
    with pytest.raises(AssertionError, match="channel a is there already"):
        logs.inbox.restore("a", length=1)


# Catching up.


def test_what_was_posted_while_nobody_was_attached_is_delivered_at_the_next_attach() -> None:
    logs = Logs(attached=False)
    logs.grow("a", "x.x")
    logs.grow("b", ".x")
    assert not logs.work()
    assert logs.inbox.owed == 3
    logs.inbox.attach()
    assert logs.sent() == ["a0", "a2", "b1"]


def test_a_channel_is_read_in_pages_one_at_a_time() -> None:
    logs = Logs(attached=False, page_records=2)
    logs.grow("a", "xxxxx")
    logs.inbox.attach()
    assert logs.work().reads == [PageWanted("a", 0, 2)]
    assert logs.work().reads == ()
    logs.answer(PageWanted("a", 0, 2))
    assert logs.work().reads == [PageWanted("a", 2, 4)]
    logs.answer(PageWanted("a", 2, 4))
    assert logs.work().reads == [PageWanted("a", 4, 5)]


def test_a_channel_becomes_live_only_where_its_replay_ends() -> None:
    logs = Logs(attached=False, page_records=2)
    logs.grow("a", "xxx")
    logs.inbox.attach()
    first = logs.work().reads[0]
    logs.grow("a", "x")  # while a page is being read
    logs.answer(first)
    work = logs.work()
    assert [d.envelope_id for d in work.sends] == ["a0", "a1"]
    logs.grow("a", "x")
    assert logs.sent() == []
    logs.answer(work.reads[0])
    assert logs.sent() == ["a2", "a3", "a4"]
    logs.grow("a", "x")
    assert [d.payload for d in logs.work().sends] == ["live"]


def test_an_answer_for_an_earlier_binding_is_dropped_unless_the_same_page_is_wanted() -> None:
    logs = Logs(attached=False, page_records=2)
    logs.grow("a", "xxxx")
    logs.inbox.attach()
    first = logs.work().reads[0]
    logs.answer(first)
    second = logs.work().reads[0]
    assert logs.inbox.is_wanted(second)
    logs.inbox.attach()
    assert not logs.inbox.is_wanted(second)
    assert not logs.answer(second)
    assert not logs.inbox.read_failed(second, 0.0)
    again = logs.work().reads[0]
    assert again == first
    assert not logs.answer(second)
    assert logs.answer(first)
    assert not logs.answer(again)
    assert logs.sent() == ["a0", "a1", "a2", "a3"]


def test_an_answer_after_a_detach_is_dropped() -> None:
    logs = Logs(attached=False)
    logs.grow("a", "x")
    logs.inbox.attach()
    page = logs.work().reads[0]
    logs.inbox.detach()
    assert not logs.answer(page)
    assert logs.inbox.held == 0


def test_what_was_settled_while_it_was_being_read_is_passed_over() -> None:
    logs = Logs(attached=False)
    logs.grow("a", "xxxx")
    logs.inbox.attach()
    page = logs.work().reads[0]
    assert logs.inbox.settle("a", 2, 0.0)
    assert logs.inbox.resume("a", 0, 0.0, owed=2)
    logs.answer(page)
    assert logs.sent() == ["a1", "a3"]
    assert logs.inbox.owed == 2


def test_a_late_answer_is_not_taken_for_that_of_a_smaller_read_of_the_same_place() -> None:
    logs = Logs(attached=False, max_in_flight=4)
    logs.grow("a", "")
    logs.grow("b", "xxx")
    logs.inbox.attach()
    (late,) = logs.work().reads
    assert late == PageWanted("b", 0, 3)
    # The connection is lost and comes back, and now another channel takes most of the window.
    logs.inbox.detach()
    logs.grow("a", "xxx")
    logs.inbox.attach()
    first, wanted = logs.work().reads
    assert (first, wanted) == (PageWanted("a", 0, 3), PageWanted("b", 0, 1))
    assert not logs.answer(late)
    assert logs.answer(wanted)
    assert [delivery.envelope_id for delivery in logs.work().sends] == ["b0"]


def test_a_short_answer_is_taken_and_the_rest_is_asked_for_again() -> None:
    logs = Logs(attached=False)
    logs.grow("a", "xxx")
    logs.inbox.attach()
    (page,) = logs.work().reads
    assert logs.inbox.loaded(page, [("a0", "read")])
    assert logs.work().reads == [PageWanted("a", 1, 3)]


@pytest.mark.parametrize("count", [0, 2])
def test_an_answer_with_no_record_or_too_many_is_a_mistake(count: int) -> None:
    logs = Logs(attached=False)
    logs.grow("a", "x")
    logs.inbox.attach()
    (page,) = logs.work().reads
    with pytest.raises(AssertionError, match=f"{count} records of channel a for 0 to 1"):
        logs.inbox.loaded(page, [("a0", "read")] * count)


def test_a_failed_read_is_asked_for_again_after_a_wait_that_grows_until_one_succeeds() -> None:
    logs = Logs(attached=False, page_records=1)
    logs.grow("a", "xx")
    logs.inbox.attach()
    for wait in (1.0, 2.0, 4.0):
        (page,) = logs.work().reads
        assert logs.inbox.read_failed(page, logs.now)
        assert not logs.work()
        logs.grow("a", "x")  # does not ask sooner
        assert not logs.work()
        assert logs.inbox.wake_at() == logs.now + wait
        logs.now += wait
    logs.answer(logs.work().reads[0])
    (page,) = logs.work().reads
    logs.inbox.read_failed(page, logs.now)
    assert logs.inbox.wake_at() == logs.now + 1.0
    assert logs.inbox.may_wake_before(logs.now + 1.1)
    assert not logs.inbox.may_wake_before(logs.now + 1.0)


def test_a_read_that_is_not_needed_any_more_is_not_asked_for_again() -> None:
    logs = Logs(attached=False)
    logs.grow("a", "x")
    logs.inbox.attach()
    (page,) = logs.work().reads
    logs.inbox.read_failed(page, 0.0)
    logs.inbox.resume("a", 0, 0.0)
    logs.now = 1.0
    assert not logs.work()
    assert logs.inbox.wake_at() is None


def test_a_channel_that_is_restored_while_attached_is_delivered() -> None:
    logs = Logs()
    logs.records["a"] = "xx"
    logs.inbox.restore("a", length=2)
    logs.records["b"] = "xx"
    logs.inbox.restore("b", length=2, cursor=2)
    assert logs.sent() == ["a0", "a1"]


# The window.


def test_the_window_is_filled_and_never_exceeded() -> None:
    logs = Logs(max_in_flight=4)
    logs.grow("a", "xxxxxxxx")
    assert logs.sent() == ["a0", "a1", "a2", "a3"]
    logs.ack("a2")
    assert logs.sent() == ["a4"]
    logs.ack("a0", "a1", "a3", "a4")
    assert logs.sent() == ["a5", "a6", "a7"]


def test_reads_that_are_under_way_count_towards_the_window() -> None:
    logs = Logs(attached=False, max_in_flight=4, page_records=2)
    for channel_id in "abc":
        logs.grow(channel_id, "xx")
    logs.inbox.attach()
    reads = logs.work().reads
    assert reads == [PageWanted("a", 0, 2), PageWanted("b", 0, 2)]
    logs.grow("d", "x")
    assert not logs.work()
    for page in reads:
        logs.answer(page)
    assert logs.sent() == ["a0", "a1", "b0", "b1"]


def test_a_busy_channel_does_not_starve_one_that_is_behind() -> None:
    logs = Logs(max_in_flight=4)
    logs.grow("a", "xxxx")
    logs.work()
    logs.grow("b", "x")
    for position in range(4):
        logs.ack(f"a{position}")
        logs.grow("a", "x")  # wants the slot at once, but b was there first
    assert logs.sent()[0] == "b0"


def test_channels_that_are_behind_take_turns() -> None:
    logs = Logs(attached=False, max_in_flight=2, page_records=1)
    for channel_id in "abcd":
        logs.grow(channel_id, "xx")
    logs.inbox.attach()
    order = []
    while ids := logs.sent():
        order += ids
        logs.ack(*ids)
    assert order == ["a0", "b0", "c0", "d0", "a1", "b1", "c1", "d1"]


def test_one_channel_that_hangs_leaves_room_for_newcomers() -> None:
    logs = Logs(max_in_flight=64)
    logs.grow("a", "x" * 200)
    assert len(logs.sent()) == 54
    logs.grow("b", "x" * 200)
    assert len(logs.sent()) == 6
    for channel_id in "cdef":
        logs.grow(channel_id, "x" * 9)
        assert logs.sent() == [f"{channel_id}0"]
    logs.grow("g", "x")
    assert logs.sent() == []
    assert logs.inbox.held == 64


def test_a_channel_that_is_being_worked_off_is_read_again_when_a_read_is_worth_it() -> None:
    logs = Logs(attached=False, max_in_flight=8, page_records=8)
    logs.grow("a", "x" * 20)
    logs.inbox.attach()
    assert logs.sent() == [f"a{i}" for i in range(8)]
    logs.ack("a0")
    assert not logs.work()
    logs.ack("a1")
    assert logs.work().reads == [PageWanted("a", 8, 10)]


def test_a_channel_that_holds_its_share_stands_back() -> None:
    logs = Logs(max_in_flight=32, share=1)
    logs.grow("a", "x" * 40)
    assert len(logs.sent()) == 15
    assert not logs.work()
    logs.ack(*(f"a{i}" for i in range(15)))
    assert len(logs.sent()) == 15


# Bindings.


def test_an_attach_reads_only_the_channels_that_are_behind() -> None:
    logs = Logs(attached=False)
    logs.grow("a", "..")
    logs.grow("b", "x")
    logs.inbox.attach()
    assert logs.work().reads == [PageWanted("b", 0, 1)]


def test_a_detach_leaves_nothing_in_memory_but_cursors() -> None:
    logs = Logs(max_in_flight=4)
    for channel_id in "abcdef":
        logs.grow(channel_id, "xx")
    logs.work()
    logs.inbox.detach()
    assert logs.inbox.held == 0
    assert logs.inbox.owed == 12
    assert logs.inbox.wake_at() is None
    assert not logs.work()


def test_a_takeover_delivers_everything_unsettled_again() -> None:
    logs = Logs()
    logs.grow("a", "xxx")
    logs.work()
    logs.ack("a1")
    logs.inbox.attach()
    assert logs.inbox.attached
    assert logs.sent() == ["a0", "a2"]


def test_a_channel_that_is_resumed_to_its_end_is_not_read() -> None:
    logs = Logs(attached=False)
    logs.grow("a", "xxx")
    logs.inbox.attach()
    logs.inbox.resume("a", 2, 0.0)
    assert not logs.work()
    assert logs.inbox.owed == 0


def test_forgotten_channel_leaves_no_letter_behind() -> None:
    logs = Logs()
    logs.grow("a", "x")
    logs.grow("b", "x")
    assert logs.sent() == ["a0", "b0"]
    for channel_id in "ab":
        assert logs.inbox.give_up(channel_id, 0, 0.0, "larger than the peer takes")
    logs.inbox.forget("a")
    assert [letter.channel_id for letter in logs.work().dead] == ["b"]


def test_what_is_forgotten_is_owed_no_more_and_leaves_room() -> None:
    logs = Logs(max_in_flight=2)
    logs.grow("a", "xxx")
    logs.work()
    logs.inbox.forget("a")
    logs.inbox.forget("a")
    assert logs.inbox.owed == logs.inbox.held == 0
    assert not logs.inbox.ack("a", "a0", 0.0)
    assert logs.inbox.wake_at() is None
    logs.now = WAIT
    assert not logs.work()
    logs.grow("b", "xx")
    assert logs.sent() == ["b0", "b1"]


def test_an_answer_for_a_forgotten_channel_is_dropped_and_its_room_is_free_again() -> None:
    logs = Logs(attached=False, max_in_flight=2)
    logs.grow("a", "xx")
    logs.inbox.attach()
    page = logs.work().reads[0]
    logs.inbox.forget("a")
    assert not logs.answer(page)
    logs.grow("b", "xx")
    assert logs.sent() == ["b0", "b1"]


# Counts, cursors, overflow.


def test_owed_counts_what_is_unsettled_whether_sent_or_not() -> None:
    logs = Logs(max_in_flight=2)
    logs.grow("a", "xx.x")
    logs.grow("b", "x")
    logs.work()
    assert (logs.inbox.owed, logs.inbox.owed_in("a"), logs.inbox.owed_in("b")) == (4, 3, 1)
    assert logs.inbox.owed_in("nowhere") == 0
    logs.ack("a1")
    assert (logs.inbox.owed, logs.inbox.owed_in("a")) == (3, 2)


def test_each_cursor_that_changed_is_given_out_once() -> None:
    logs = Logs()
    logs.grow("a", "xxx")
    logs.grow("b", "x")
    logs.work()
    assert logs.inbox.dirty() == []
    logs.ack("a0", "a2")
    assert logs.inbox.dirty() == [CursorSnapshot("a", 1, ((2, 3),))]
    assert logs.inbox.dirty() == []
    assert logs.inbox.snapshot("a") == CursorSnapshot("a", 1, ((2, 3),))


def test_a_cursor_that_moves_over_what_is_not_addressed_is_written_too() -> None:
    logs = Logs(attached=False)
    logs.grow("a", "..")
    assert logs.inbox.dirty() == [CursorSnapshot("a", 2, ())]
    logs.grow("b", "x.")
    assert logs.inbox.dirty() == []


def test_an_inbox_taken_up_from_its_cursors_delivers_exactly_what_was_unsettled() -> None:
    logs = Logs()
    logs.grow("a", "xxxx")
    logs.work()
    logs.ack("a0", "a2")
    after = Logs()
    after.records = logs.records
    for snapshot in logs.inbox.dirty():
        after.inbox.restore(
            snapshot.channel_id, length=4, cursor=snapshot.cursor, settled=snapshot.settled, owed=2
        )
    assert after.inbox.owed == 2
    assert after.sent() == ["a1", "a3"]


def test_where_its_channel_owes_nothing_the_one_that_owes_most_gives_way() -> None:
    logs = Logs(attached=False)
    logs.grow("a", "")
    assert logs.inbox.oldest("a") is None
    logs.grow("b", "x")
    logs.grow("c", "xx")
    assert logs.inbox.oldest("a") == Victim("c", 0, None)


def test_another_number_of_attempts_holds_at_once_and_for_everything() -> None:
    logs = parked()
    logs.grow("b", "x")
    assert logs.sent() == ["b0"]
    logs.inbox.set_max_attempts(1)
    logs.inbox.nack("b", "b0", 0.0, "no")
    assert logs.work().dead == [DeadLetter("b", 0, "b0", 1, "no")]
    assert logs.inbox.buried("b", 0)
    logs.inbox.attach()
    assert logs.sent() == ["a0", "a1", "a2", "a3"]
    logs.inbox.nack("a", "a2", 0.0, "no")
    assert logs.work().dead == [DeadLetter("a", 2, "a2", 3, "no")]
    assert logs.inbox.buried("a", 2)
    # And for what is parked now, and for channels that come later.
    logs.inbox.attach(replays=False)
    logs.inbox.set_max_attempts(0)
    logs.grow("c", "x")
    logs.inbox.attach()
    assert sorted(logs.sent()) == ["a0", "a1", "a3", "c0"]
    for _ in range(7):
        logs.inbox.nack("c", "c0", logs.now, "no")
        logs.inbox.nack("a", "a0", logs.now, "no")
        logs.now += 60.0
        assert not logs.inbox.poll(logs.now).dead


def test_there_is_work_while_something_waits_for_a_poll() -> None:
    logs = Logs()
    assert not logs.inbox.has_work
    logs.grow("a", "x")
    assert logs.inbox.has_work
    logs.work()
    assert not logs.inbox.has_work
    assert logs.inbox.give_up("a", 0, 0.0, "larger than the peer takes")
    assert logs.inbox.has_work
    logs.work()
    assert not logs.inbox.has_work


def test_a_cursor_that_was_not_kept_is_returned_again() -> None:
    logs = Logs()
    logs.grow("a", "x")
    logs.sent()
    logs.ack("a0")
    [cursor] = logs.inbox.dirty()
    assert logs.inbox.dirty() == []
    logs.inbox.not_written("a")
    assert logs.inbox.dirty() == [cursor]
    logs.inbox.forget("a")
    logs.inbox.not_written("a")
    assert logs.inbox.dirty() == []


def test_what_is_sent_is_what_was_posted_or_read_back() -> None:
    logs = Logs(max_in_flight=1)
    logs.grow("a", "xx")
    [live] = logs.work().sends
    assert (live.envelope_id, live.payload) == ("a0", "live")
    logs.ack("a0")
    [page] = logs.work().reads
    assert logs.answer(page)
    [again] = logs.work().sends
    assert (again.envelope_id, again.payload) == ("a1", "read")


def test_forgotten_channel_sends_nothing_and_writes_nothing() -> None:
    logs = Logs()
    logs.grow("a", "x")
    logs.inbox.forget("a")
    assert not logs.inbox.has_work
    assert not logs.work()
    logs.grow("b", "x")
    assert logs.sent() == ["b0"]
    logs.ack("b0")
    logs.inbox.forget("b")
    assert logs.inbox.dirty() == []


def test_channel_is_settled_when_nothing_is_owed_and_every_letter_is_kept() -> None:
    logs = Logs()
    assert logs.inbox.is_settled("unknown")
    logs.grow("a", ".x")
    assert not logs.inbox.is_settled("a")
    logs.sent()
    assert logs.inbox.give_up("a", 1, 0.0, "larger than the peer takes")
    assert not logs.inbox.is_settled("a")
    logs.work()
    assert logs.inbox.buried("a", 1)
    assert logs.inbox.is_settled("a")
