"""The promises of one recipient over all its channels, one by one."""

from __future__ import annotations

import random

import pytest

from trio_hub.protocol.backoff import Backoff
from trio_hub.protocol.delivery_policy import DeliveryPolicy
from trio_hub.protocol.inbox import (
    CursorSnapshot,
    DeadLetter,
    Expired,
    Inbox,
    PageWanted,
    Victim,
    Work,
)

WAIT = 100.0


class HighestDraw(random.Random):
    """Always draws the upper end of a range, so that waits are known."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Logs:
    """An inbox with the logs that it reads. ``x`` is addressed to the recipient, ``.`` is not."""

    def __init__(self, *, attached: bool = True, **options: int) -> None:
        self.policy = DeliveryPolicy(
            ack_wait_seconds=WAIT, backoff=Backoff(base=1.0, cap=60.0), **options
        )
        self.inbox: Inbox[str] = Inbox(self.policy, HighestDraw())
        self.records: dict[str, str] = {}
        self.expires: dict[tuple[str, int], float] = {}
        self.expired: list[Expired] = []
        self.now = 0.0
        if attached:
            self.inbox.attach()

    def grow(self, channel_id: str, pattern: str, expires: float | None = None) -> None:
        if channel_id not in self.records:
            self.records[channel_id] = ""
            self.inbox.restore(channel_id, length=0)
        for letter in pattern:
            position = len(self.records[channel_id])
            self.records[channel_id] += letter
            if expires is not None:
                self.expires[channel_id, position] = expires
            self.inbox.extended(
                channel_id, position, f"{channel_id}{position}", "live", letter == "x", expires
            )

    def answer(self, page: PageWanted) -> bool:
        return self.inbox.loaded(
            page,
            [
                (
                    f"{page.channel_id}{position}",
                    "read" if self.records[page.channel_id][position] == "x" else None,
                )
                for position in range(page.start, page.stop)
            ],
            {at: moment for (ch, at), moment in self.expires.items() if ch == page.channel_id},
        )

    def work(self) -> Work[str]:
        work = self.inbox.poll(self.now)
        assert self.inbox.held <= self.policy.max_in_flight
        return work

    def sent(self) -> list[str]:
        """Everything that is sent until nothing is left to do, reads answered at once."""
        ids: list[str] = []
        while work := self.work():
            ids += [delivery.envelope_id for delivery in work.sends]
            self.expired += work.expired
            for page in work.reads:
                assert self.answer(page)
        return ids

    def ack(self, *envelope_ids: str) -> None:
        for envelope_id in envelope_ids:
            assert self.inbox.ack(envelope_id[0], envelope_id, self.now)


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
    logs.inbox.attach()
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
    assert [d.envelope_id for d in work.sends] == ["a1"]
    assert logs.inbox.owed == logs.inbox.held == 1


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


def test_where_its_channel_owes_nothing_the_one_that_owes_most_gives_way() -> None:
    logs = Logs(attached=False)
    logs.grow("a", "")
    assert logs.inbox.oldest("a") is None
    logs.grow("b", "x")
    logs.grow("c", "xx")
    assert logs.inbox.oldest("a") == Victim("c", 0, None)


def test_a_binding_that_wants_no_replay_hears_only_of_what_is_posted_from_now_on() -> None:
    logs = Logs(attached=False)
    logs.grow("A", "xx")
    logs.grow("B", "x")
    logs.inbox.attach(replays=False)
    assert logs.sent() == []
    logs.grow("A", "x")
    assert logs.sent() == ["A2"]
    assert logs.inbox.owed == 4
    assert logs.inbox.owed_in("A") == 3


def test_what_a_binding_did_not_want_to_hear_of_is_delivered_in_the_next() -> None:
    logs = Logs(attached=False)
    logs.grow("A", "x.x")
    logs.inbox.attach(replays=False)
    logs.grow("A", "xx")
    assert logs.sent() == ["A3", "A4"]
    logs.ack("A3")
    assert logs.inbox.snapshot("A") == CursorSnapshot("A", 0, ((3, 4),))
    logs.inbox.attach()
    assert logs.inbox.owed == 3
    assert logs.sent() == ["A0", "A2", "A4"]
    logs.ack("A0", "A2", "A4")
    assert logs.inbox.snapshot("A") == CursorSnapshot("A", 5, ())
    assert logs.inbox.owed == 0


def test_a_cursor_written_behind_never_passes_what_a_binding_did_not_hear_of() -> None:
    logs = Logs(attached=False)
    logs.grow("A", "x")
    logs.inbox.attach(replays=False)
    logs.inbox.dirty()
    logs.grow("A", "x")
    logs.sent()
    logs.ack("A1")
    assert logs.inbox.dirty() == [CursorSnapshot("A", 0, ((1, 2),))]
    logs.inbox.forget("A")
    assert logs.inbox.owed == 0


def parked() -> Logs:
    """Three were sent to a binding that went; the next wants no replay and was sent one more."""
    logs = Logs(max_attempts=2)
    logs.grow("a", "xxx")
    logs.work()
    logs.inbox.nack("a", "a0", 0.0)
    logs.work()
    logs.inbox.attach(replays=False)
    logs.grow("a", "x")
    assert logs.sent() == ["a3"]
    return logs


def test_failures_still_count_after_a_binding_without_replay() -> None:
    logs = parked()
    logs.inbox.attach()
    assert logs.sent() == ["a0", "a1", "a2", "a3"]
    logs.inbox.nack("a", "a0", 0.0, "again")
    assert logs.work().dead == [DeadLetter("a", 0, "a0", 3, "again")]


def test_a_late_receipt_settles_what_a_binding_did_not_want_to_hear_of() -> None:
    logs = parked()
    assert logs.inbox.ack("a", "a1", 0.0)
    assert not logs.inbox.ack("a", "a1", 0.0)
    assert logs.inbox.owed == logs.inbox.owed_in("a") == 3
    logs.ack("a0", "a2", "a3")
    assert logs.inbox.dirty() == [CursorSnapshot("a", 4, ())]


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


def test_a_channel_that_is_restored_to_a_binding_without_replay_begins_at_its_end() -> None:
    logs = Logs(attached=False)
    logs.inbox.attach(replays=False)
    logs.records["a"] = "xx"
    logs.inbox.restore("a", length=2)
    logs.grow("a", "x")
    assert logs.sent() == ["a2"]
    assert logs.inbox.owed == 3


def test_another_number_of_attempts_holds_at_once_and_for_everything() -> None:
    logs = parked()
    logs.grow("b", "x")
    assert logs.sent() == ["b0"]
    logs.inbox.set_max_attempts(1)
    logs.inbox.nack("b", "b0", 0.0, "no")
    assert logs.work().dead == [DeadLetter("b", 0, "b0", 1, "no")]
    logs.inbox.attach()
    assert logs.sent() == ["a0", "a1", "a2", "a3"]
    logs.inbox.nack("a", "a2", 0.0, "no")
    assert logs.work().dead == [DeadLetter("a", 2, "a2", 3, "no")]
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


def test_owing_names_the_oldest_of_each_channel_that_owes_any() -> None:
    logs = parked()
    logs.grow("b", ".x")
    logs.grow("c", "x")
    logs.grow("d", ".")
    assert logs.sent() == ["b1", "c0"]
    # Of what a binding without replay did not want to hear of, nobody has read the ids.
    assert logs.inbox.owing() == [Victim("a", 0, None), Victim("b", 1, "b1"), Victim("c", 0, "c0")]
    logs.ack("a0", "a1", "a2", "c0")
    assert logs.inbox.owing() == [Victim("a", 3, "a3"), Victim("b", 1, "b1")]


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


def test_channel_with_something_parked_is_not_settled() -> None:
    logs = parked()
    logs.ack("a3")
    assert not logs.inbox.is_settled("a")
    logs.ack("a0", "a1", "a2")
    assert logs.inbox.is_settled("a")


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
