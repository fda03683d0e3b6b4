"""Large envelopes share a number of bytes, and who waits for room gets it in turn."""

from __future__ import annotations

import random

import pytest

from trio_hub.protocol.bulk import Bulk
from trio_hub.protocol.delivery_policy import DeliveryPolicy
from trio_hub.protocol.ledger import Ledger

from .inboxes import WAIT, Logs


def ledger(*held: str, length: int = 10) -> Ledger[str]:
    """Return a ledger that holds these envelopes."""
    it: Ledger[str] = Ledger(DeliveryPolicy(), random.Random(0), length=length)
    for position, envelope_id in enumerate(held):
        it.offer(position, envelope_id, "text")
    return it


def test_where_nothing_is_held_there_is_room_for_any() -> None:
    bulk: Bulk[str] = Bulk(10)
    assert bulk.admits("a", 99)
    bulk.add("a", "a0", 99)
    assert not bulk.admits("b", 1)


def test_together_they_take_so_much_and_one_channel_half_of_it() -> None:
    bulk: Bulk[str] = Bulk(10)
    bulk.add("a", "a0", 3)
    assert bulk.admits("a", 2)
    assert not bulk.admits("a", 3)
    assert bulk.admits("b", 7)
    assert not bulk.admits("b", 8)


def test_who_waits_for_others_is_passed_by_nobody_and_who_waits_for_itself_is() -> None:
    bulk: Bulk[str] = Bulk(10)
    bulk.add("a", "a0", 4)
    bulk.wait("a", 1, 4)
    assert bulk.admits("b", 1)
    bulk.wait("b", 0, 7)
    assert not bulk.admits("c", 1)


def test_room_is_given_in_the_order_in_which_they_came() -> None:
    bulk: Bulk[str] = Bulk(10)
    bulk.add("a", "a0", 5)
    bulk.add("b", "b0", 5)
    bulk.wait("b", 1, 5)
    bulk.wait("c", 0, 4)
    bulk.wait("d", 0, 2)
    bulk.wait("e", 0, 1)
    assert bulk.let_in() == []
    assert bulk.settled("a", ledger())
    # Of the five that are free now c takes four: d does not fit, and e comes behind it.
    assert bulk.let_in() == ["c"]
    assert list(bulk.waiting) == ["b", "d", "e"]
    # It is its turn, whoever waits.
    assert bulk.admits("c", 4)
    assert not bulk.admits("f", 1)


def test_who_was_let_in_is_passed_by_nobody_new_but_only_once() -> None:
    bulk: Bulk[str] = Bulk(10)
    bulk.add("a", "a0", 10)
    bulk.wait("b", 0, 10)
    bulk.wait("c", 0, 10)
    bulk.settled("a", ledger())
    assert bulk.let_in() == ["b"]
    assert bulk.admits("b", 6)
    bulk.add("b", "b0", 6)
    assert not bulk.admits("b", 6)


def test_what_has_left_makes_room() -> None:
    bulk: Bulk[str] = Bulk(10)
    for envelope_id in ("a0", "a1"):
        bulk.add("a", envelope_id, 2)
    assert not bulk.settled("a", ledger("a0", "a1"))
    assert bulk.held == 4
    assert bulk.settled("a", ledger("a1"))
    assert bulk.held == 2
    assert not bulk.settled("b", ledger())
    bulk.forget("a")
    assert bulk.held == 0
    bulk.forget("a")


def test_who_waits_for_what_is_settled_goes_on() -> None:
    bulk: Bulk[str] = Bulk(10)
    bulk.add("a", "a0", 99)
    bulk.wait("c", 0, 99)
    bulk.wait("b", 0, 99)
    b = ledger()
    assert not bulk.settled("b", b)
    b.settle(0, 0.0)
    assert bulk.settled("b", b)
    # What comes next may be small, whatever others hold and wait for.
    assert bulk.let_in() == ["b"]
    assert list(bulk.waiting) == ["c"]
    # Where it is not, it is its turn behind those.
    assert not bulk.admits("b", 1)


def test_who_waits_behind_one_that_went_on_to_nothing_goes_on() -> None:
    bulk: Bulk[str] = Bulk(10)
    bulk.add("a", "a0", 10)
    bulk.wait("b", 0, 10)
    bulk.wait("c", 0, 10)
    assert bulk.settled("a", ledger())
    assert bulk.let_in() == ["b"]
    # It found that its envelope had been settled.
    assert bulk.settled("b", ledger())
    assert bulk.let_in() == ["c"]


def test_nothing_is_left_when_the_binding_ends() -> None:
    bulk: Bulk[str] = Bulk(10)
    bulk.add("a", "a0", 10)
    bulk.wait("b", 0, 10)
    bulk.clear()
    assert (bulk.held, bulk.waiting) == (0, {})
    assert bulk.let_in() == []


# In an inbox.


def test_a_window_holds_so_many_large_ones_and_the_others_are_read_later() -> None:
    logs = Logs(max_in_flight=5, bytes_in_flight_max=50)
    logs.grow("a", "xxxx", size=12)
    assert logs.sent() == ["a0", "a1"]
    assert logs.inbox.held == 2
    assert logs.inbox.owed == 4
    assert logs.inbox.wake_at() == WAIT
    logs.ack("a0")
    assert logs.sent() == ["a2"]
    logs.ack("a1", "a2")
    assert logs.sent() == ["a3"]


def test_small_ones_are_not_weighed() -> None:
    logs = Logs(max_in_flight=5, bytes_in_flight_max=50)
    logs.grow("a", "xxxxxx", size=10)
    assert len(logs.sent()) == 5


def test_what_is_read_back_is_weighed_too_and_the_rest_of_the_page_is_read_again() -> None:
    logs = Logs(attached=False, max_in_flight=5, bytes_in_flight_max=50)
    logs.grow("a", "x.xxx", size=20)
    logs.inbox.attach()
    assert logs.sent() == ["a0"]
    logs.ack("a0")
    assert logs.sent() == ["a2"]
    logs.grow("a", "x", size=1)
    logs.ack("a2")
    assert logs.sent() == ["a3"]
    logs.ack("a3")
    assert logs.sent() == ["a4", "a5"]


def test_a_channel_that_hangs_leaves_room_for_others() -> None:
    logs = Logs(max_in_flight=5, bytes_in_flight_max=50)
    logs.grow("a", "xxx", size=20)
    logs.grow("b", "xx", size=25)
    assert logs.sent() == ["a0", "b0"]
    logs.ack("b0")
    assert logs.sent() == ["b1"]


def test_one_that_is_larger_than_all_comes_alone() -> None:
    logs = Logs(max_in_flight=5, bytes_in_flight_max=50)
    logs.grow("a", "xx", size=99)
    logs.grow("b", "x", size=99)
    assert logs.sent() == ["a0"]
    logs.ack("a0")
    assert logs.sent() == ["a1"]
    logs.ack("a1")
    assert logs.sent() == ["b0"]


def test_what_waits_for_room_goes_on_where_a_channel_is_forgotten_or_a_read_fails() -> None:
    logs = Logs(max_in_flight=5, bytes_in_flight_max=50)
    logs.grow("a", "x", size=50)
    logs.grow("b", "x", size=50)
    logs.grow("c", "x", size=50)
    assert logs.sent() == ["a0"]
    logs.inbox.forget("a")
    (page,) = logs.work().reads
    assert page.channel_id == "b"
    assert logs.inbox.read_failed(page, logs.now)
    assert logs.sent() == ["c0"]
    logs.ack("c0")
    logs.now = logs.inbox.wake_at() or 0.0
    assert logs.sent() == ["b0"]


def test_one_that_caught_up_by_itself_waits_no_more() -> None:
    logs = Logs(max_in_flight=5, bytes_in_flight_max=50)
    logs.grow("a", "x", size=50)
    logs.grow("b", "x", size=50)
    assert logs.sent() == ["a0"]
    assert logs.inbox.resume("b", 0, logs.now)
    assert logs.sent() == []
    logs.grow("b", "x", size=1)
    assert logs.sent() == ["b1"]


@pytest.mark.parametrize("fails", [False, True])
def test_one_that_caught_up_while_it_was_read_waits_when_that_is_over(fails: bool) -> None:
    logs = Logs(max_in_flight=5, bytes_in_flight_max=50)
    logs.grow("a", "x", size=50)
    assert logs.sent() == ["a0"]
    logs.inbox.detach()
    logs.grow("b", "x", size=1)
    logs.inbox.attach()
    of_a, of_b = logs.work().reads
    assert logs.answer(of_a)
    assert logs.sent() == ["a0"]
    assert logs.inbox.resume("b", 0, logs.now)
    logs.grow("b", "x", size=50)
    if fails:
        assert logs.inbox.read_failed(of_b, logs.now)
        logs.now = logs.inbox.wake_at() or 0.0
    else:
        assert logs.answer(of_b)
    assert logs.sent() == []
    logs.ack("a0")
    assert logs.sent() == ["b1"]


def test_what_is_posted_behind_one_that_waits_is_sent_behind_it() -> None:
    logs = Logs(max_in_flight=5, bytes_in_flight_max=50)
    logs.grow("a", "x", size=50)
    logs.grow("b", "x", size=50)
    logs.grow("b", "x", size=1)
    assert logs.sent() == ["a0"]
    logs.ack("a0")
    assert logs.sent() == ["b0", "b1"]


def test_the_next_binding_begins_with_an_empty_window() -> None:
    logs = Logs(max_in_flight=5, bytes_in_flight_max=50)
    logs.grow("a", "x", size=50)
    logs.grow("b", "x", size=50)
    assert logs.sent() == ["a0"]
    logs.inbox.detach()
    logs.inbox.attach()
    logs.grow("c", "x", size=50)
    assert logs.sent() == ["a0"]
    logs.ack("a0")
    assert logs.sent() == ["b0"]
    logs.ack("b0")
    assert logs.sent() == ["c0"]
