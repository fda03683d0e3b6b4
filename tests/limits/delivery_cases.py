"""How one recipient is delivered to, and how long is waited between two attempts."""

from __future__ import annotations

import random
from typing import Any

from trio_hub import DeliveryPolicy
from trio_hub.protocol.backoff import Backoff
from trio_hub.protocol.inbox import Inbox, Work

from .registry import case


class HighestDraw(random.Random):
    """Always draws the upper end of a range."""

    def uniform(self, a: float, b: float) -> float:
        return b


def inbox_of(posts: int, *, attached: bool = True, **policy: Any) -> Inbox[str]:
    """Return an inbox to which so much was posted in one channel."""
    inbox: Inbox[str] = Inbox(DeliveryPolicy(**policy), HighestDraw())
    inbox.restore("c", length=0)
    if attached:
        inbox.attach()
    for position in range(posts):
        inbox.extended("c", position, str(position), "text", addressed=True)
    if not attached:
        inbox.attach()
    return inbox


def sent(work: Work[str]) -> list[str]:
    return [it.envelope_id for it in work.sends]


def fails(inbox: Inbox[str], times: int, now: float = 0.0) -> Work[str]:
    """Let the first envelope fail so often, at once; return what is to be done then."""
    for _ in range(times):
        inbox.poll(now)
        assert inbox.nack("c", "0", now)
    return inbox.poll(now)


@case(DeliveryPolicy, "max_in_flight")
async def max_in_flight() -> None:
    inbox = inbox_of(4, max_in_flight=3)
    assert sent(inbox.poll(0.0)) == ["0", "1", "2"]
    inbox.ack("c", "0", 0.0)
    (page,) = inbox.poll(0.0).reads
    inbox.loaded(page, [("3", "text")])
    assert sent(inbox.poll(0.0)) == ["3"]


@case(DeliveryPolicy, "max_attempts")
async def max_attempts() -> None:
    assert sent(fails(inbox_of(1, max_attempts=2), 1)) == ["0"]
    (letter,) = fails(inbox_of(1, max_attempts=2), 2).dead
    assert letter.envelope_id == "0"


@case(DeliveryPolicy, "ack_wait_seconds")
async def ack_wait() -> None:
    inbox = inbox_of(1, ack_wait_seconds=10.0)
    inbox.poll(0.0)
    assert inbox.wake_at() == 10.0
    assert not inbox.poll(9.99)
    assert sent(inbox.poll(10.0)) == ["0"]


@case(DeliveryPolicy, "page_records")
async def page_records() -> None:
    for posts, pages in ((3, [(0, 3)]), (4, [(0, 3)])):
        inbox = inbox_of(posts, attached=False, page_records=3)
        reads = inbox.poll(0.0).reads
        assert [(it.start, it.stop) for it in reads] == pages
        inbox.loaded(reads[0], [(str(number), "text") for number in range(3)])
        rest = [(it.start, it.stop) for it in inbox.poll(0.0).reads]
        assert rest == [(3, it) for it in range(4, posts + 1)]


@case(DeliveryPolicy, "share")
async def share() -> None:
    policy = DeliveryPolicy(max_in_flight=100, share=2)
    free = 16
    most = policy.share * (free - policy.reserve)
    assert policy.allowance(most - 1, free) == 1
    assert policy.allowance(most, free) == 0


@case(Backoff, "base")
async def backoff_base() -> None:
    # After its first failure it comes again at once.
    inbox = inbox_of(1, backoff=Backoff(2.0, 60.0), max_attempts=0)
    assert sent(fails(inbox, 1)) == ["0"]
    assert not fails(inbox, 1)
    assert not inbox.poll(1.99)
    assert sent(inbox.poll(2.0)) == ["0"]


@case(Backoff, "cap")
async def backoff_cap() -> None:
    schedule = Backoff(2.0, 8.0)
    assert [schedule.ceiling(it) for it in range(5)] == [2.0, 4.0, 8.0, 8.0, 8.0]
    assert schedule.delay(10_000, HighestDraw()) == 8.0
