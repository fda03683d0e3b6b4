"""An inbox for tests, with the logs that it reads."""

from __future__ import annotations

import random

from trio_hub.protocol.backoff import Backoff
from trio_hub.protocol.delivery_policy import DeliveryPolicy
from trio_hub.protocol.inbox import Expired, Inbox, PageWanted, Work

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
