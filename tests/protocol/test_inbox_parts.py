"""Inboxes without a channel share their parts, and nothing is ever put into these."""

from __future__ import annotations

import random

import pytest

from trio_hub.protocol.delivery_policy import DeliveryPolicy
from trio_hub.protocol.inbox import Inbox, PageWanted, Work
from trio_hub.protocol.inbox_parts import NO_CHANNELS


def new_inbox() -> Inbox[str]:
    return Inbox(DeliveryPolicy(), random.Random(1))


def assert_empty() -> None:
    parts = NO_CHANNELS
    assert not parts.holdings.ledgers
    assert not parts.holdings.parked
    assert not parts.ready
    assert not parts.dirty
    assert not parts.expired
    assert not parts.burials.waiting
    assert not parts.pages.hungry
    assert not parts.pages.behind
    assert parts.pages.reserved == 0
    assert len(parts.alarms) == 0


def ask_everything(inbox: Inbox[str], channel_id: str) -> None:
    """Say of a channel that it does not know all that can be said."""
    page = PageWanted(channel_id, 0, 1)
    inbox.attach()
    inbox.attach(replays=False)
    inbox.set_max_attempts(1)
    assert not inbox.ack(channel_id, "a", 1.0)
    assert not inbox.nack(channel_id, "a", 1.0)
    assert not inbox.progress(channel_id, "a", 1.0)
    assert not inbox.expire(channel_id, "a", 1.0, sent=True)
    assert not inbox.give_up(channel_id, 0, 1.0, "why not")
    assert not inbox.resume(channel_id, 0, 1.0)
    assert not inbox.loaded(page, [("a", "x")])
    assert not inbox.read_failed(page, 1.0)
    assert not inbox.buried(channel_id, 0)
    assert inbox.is_settled(channel_id)
    assert inbox.find(channel_id, 0) is None
    assert inbox.oldest(channel_id) is None
    assert inbox.owing() == []
    assert inbox.owed_in(channel_id) == 0
    inbox.not_written(channel_id)
    assert inbox.dirty() == []
    with pytest.raises(KeyError):
        inbox.extended(channel_id, 0, "a", "x", addressed=True)
    with pytest.raises(KeyError):
        inbox.settle(channel_id, 0, 1.0)
    with pytest.raises(KeyError):
        inbox.snapshot(channel_id)
    assert inbox.poll(1.0) == Work()
    assert not inbox.has_work
    assert inbox.wake_at() is None
    inbox.forget(channel_id)
    inbox.detach()
    assert inbox.owed == inbox.held == 0


def test_one_without_a_channel_puts_nothing_anywhere() -> None:
    ask_everything(new_inbox(), "c")
    assert_empty()


def test_the_first_channel_is_nobody_elses_business() -> None:
    first, second = new_inbox(), new_inbox()
    for inbox in (first, second):
        inbox.attach()
    first.restore("c", length=0)
    first.extended("c", 0, "a", "x", addressed=True)
    first.extended("c", 1, "b", "y", addressed=True)
    assert_empty()
    ask_everything(second, "c")
    sent = first.poll(0.0).sends
    assert [it.payload for it in sent] == ["x", "y"]
    assert first.nack("c", "a", 0.0)
    assert first.has_work
    assert [it.channel_id for it in first.dirty()] == ["c"]
    second.restore("c", length=0)
    second.extended("c", 0, "z", "z", addressed=True)
    assert (first.owed, second.owed) == (2, 1)
    assert_empty()


def test_a_change_of_its_policy_is_kept_when_the_first_channel_comes() -> None:
    inbox = new_inbox()
    inbox.set_max_attempts(1)
    inbox.attach()
    inbox.restore("c", length=0)
    inbox.extended("c", 0, "a", "x", addressed=True)
    inbox.poll(0.0)
    assert inbox.nack("c", "a", 0.0, "it fails")
    (dead,) = inbox.poll(0.0).dead
    assert dead.reason == "it fails"
    assert_empty()
