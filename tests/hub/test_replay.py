"""Reading back what inboxes are behind with; what goes wrong with it costs no more than itself."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hub.errors import NetworkError, NotFoundError, StoreError
from trio_hub.hub.channels import Channel, LogRecord
from trio_hub.hub.mailbox import Mailbox
from trio_hub.hub.replay import Replay
from trio_hub.protocol.backoff import Backoff
from trio_hub.protocol.delivery_policy import DeliveryPolicy
from trio_hub.protocol.federation import Recipients
from trio_hub.protocol.inbox import Inbox
from trio_hub.records import EV_TEXT, Envelope, InboxBlock

POLICY = DeliveryPolicy(backoff=Backoff(1.0, 60.0))


@pytest.mark.parametrize("error", [NotFoundError("no such channel"), StoreError("no disk")])
async def test_a_read_that_fails_is_tried_again(
    error: NetworkError, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    envelope = Envelope(
        channel_id="c", sender_id="a", event_type=EV_TEXT, event_data={}, envelope_id="e"
    )
    asked: list[float] = []

    async def read_log(channel: Channel, start: int, stop: int) -> list[LogRecord]:
        await trio.lowlevel.checkpoint()
        asked.append(trio.current_time())
        if len(asked) == 1:
            raise error
        return [LogRecord(0, envelope, b"{}")]

    async def never(channel: Channel, position: int) -> bytes:
        raise AssertionError("pages are read as records")

    answered: list[Mailbox] = []
    known = Channel(cast(Any, None), 1, Recipients(("b",)))
    replay = Replay(
        read_log, never, lambda _: known, lambda *_: True, lambda _: None, answered.append
    )
    nursery.start_soon(replay.run)
    inbox: Inbox[bytes] = Inbox(POLICY, random.Random(1))
    mailbox = Mailbox("b", inbox, InboxBlock(), lambda *_: None)
    inbox.restore("c", length=1)
    inbox.attach()

    (page,) = inbox.poll(trio.current_time()).reads
    replay.want(mailbox, page)
    await wait_all_tasks_blocked()
    assert answered == [mailbox]
    assert not inbox.poll(trio.current_time())

    again = inbox.wake_at()
    assert again is not None
    await trio.sleep_until(again)
    (page,) = inbox.poll(trio.current_time()).reads
    replay.want(mailbox, page)
    await wait_all_tasks_blocked()
    assert [it.envelope_id for it in inbox.poll(trio.current_time()).sends] == ["e"]
    assert asked[1] > asked[0]
