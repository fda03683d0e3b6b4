"""Nothing in the client grows without end, and what is let go of is let go of safely."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hub.client import ScriptedAgent, deliveries as deliveries_module
from trio_hub.client.deliveries import Deliveries
from trio_hub.client.name_cache import NameCache
from trio_hub.records import EV_TEXT, Envelope, Passport
from trio_hub.wire.frames import ReceiptFrame

from .conftest import Connect
from .scripted_hub import ScriptedHub, text_for


class Host:
    """Handles at once; what `fails` says so fails."""

    def __init__(self) -> None:
        self.fails: set[str] = set()
        self.handled: list[str] = []
        self.receipts: list[tuple[str, str]] = []

    async def handle(self, envelope: Envelope, attempt: int) -> None:
        self.handled.append(envelope.envelope_id)
        if envelope.envelope_id in self.fails:
            raise ValueError(envelope.envelope_id)

    def send_receipt(
        self, envelope: Envelope, status: Literal["ack", "nack", "progress"], reason: str = ""
    ) -> None:
        self.receipts.append((envelope.envelope_id, status))

    async def report_failure(self, envelope: Envelope, error: Exception) -> None:
        """Nobody watches."""

    def caught_up(self) -> None:
        raise AssertionError("nothing was overrun")


def envelope(number: int, channel_id: str = "c1") -> Envelope:
    return Envelope(
        channel_id=channel_id,
        sender_id="a",
        event_type=EV_TEXT,
        event_data={},
        envelope_id=f"{number:032x}",
    )


async def test_channels_without_work_are_forgotten_but_not_where_they_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliveries_module, "_CHANNELS_MAX", 8)
    host = Host()
    async with trio.open_nursery() as nursery:
        here = Deliveries(host, nursery, handlers_max=4, max_in_flight=16)
        for number in range(100):
            assert here.arrive(envelope(number, f"c{number}"), 1)
            await wait_all_tasks_blocked()
    assert len(here._lanes) <= 8
    assert here.positions() == {f"c{n}": f"{n:032x}" for n in range(92, 100)}
    assert here.in_flight == 0


async def test_once_a_failure_is_forgotten_positions_are_not_stated_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliveries_module, "_CHANNELS_MAX", 8)
    host = Host()
    host.fails.add(envelope(1).envelope_id)
    async with trio.open_nursery() as nursery:
        here = Deliveries(host, nursery, handlers_max=4, max_in_flight=16)
        here.arrive(envelope(1), 1)
        await wait_all_tasks_blocked()
        for number in range(2, 100):
            here.arrive(envelope(number, f"c{number}"), 1)
            await wait_all_tasks_blocked()
        here.arrive(envelope(200), 1)
        await wait_all_tasks_blocked()
    assert here.positions() == {}, "a position in c1 would hide the failure from the hub"


async def test_a_channel_that_fails_on_and_on_is_bounded_too() -> None:
    host = Host()
    host.fails = {envelope(number).envelope_id for number in range(100)}
    async with trio.open_nursery() as nursery:
        here = Deliveries(host, nursery, handlers_max=4, max_in_flight=4)
        for number in range(100):
            here.arrive(envelope(number), 1)
            await wait_all_tasks_blocked()
    assert sum(len(lane.failed) for lane in here._lanes.values()) <= 4
    assert here.positions() == {}


async def test_only_the_last_settled_envelopes_are_remembered() -> None:
    host = Host()
    async with trio.open_nursery() as nursery:
        here = Deliveries(host, nursery, handlers_max=4, max_in_flight=4)
        for number in range(20):
            here.arrive(envelope(number), 1)
            await wait_all_tasks_blocked()
        # At least as many as a hub can have under way, and no more than twice that.
        for number in (16, 17, 18, 19):
            assert not here.arrive(envelope(number), 2)
        assert here.arrive(envelope(0), 2)
    assert host.receipts[20:24] == [(envelope(n).envelope_id, "ack") for n in (16, 17, 18, 19)]


async def test_what_was_stopped_takes_nothing_and_settles_nothing() -> None:
    host = Host()
    async with trio.open_nursery() as nursery:
        here = Deliveries(host, nursery, handlers_max=4, max_in_flight=4)
        here.arrive(envelope(1), 1)
        here.arrive(envelope(2), 1)
        here.stop()
        assert not here.arrive(envelope(3), 1)
        await wait_all_tasks_blocked()
    assert host.receipts == []
    assert here.in_flight == 0


def test_the_names_that_were_used_least_recently_are_forgotten() -> None:
    names = NameCache(entries_max=3)
    for number in range(5):
        names.remember(Passport(name=f"n{number}", agent_id=f"i{number}"))
    assert len(names) == 3
    assert names.name_of("i1") is None
    assert names.id_of("n1") is None
    assert names.id_of("n4") == "i4"
    names.remember(Passport(name="n4", agent_id="anew"))
    assert names.id_of("n4") == "anew"
    names.forget("n4")
    names.forget("n4")
    assert names.id_of("n4") is None


def test_a_name_that_moved_to_another_id_outlives_the_old_one() -> None:
    names = NameCache(entries_max=2)
    names.remember_name("old", "bob")
    names.remember_name("new", "bob")
    names.remember_name("other", "carol")
    assert names.name_of("old") is None
    assert names.id_of("bob") == "new"


async def test_a_registration_that_was_cancelled_leaves_nobody_behind(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    stamp = hub.answers.pop("register")
    async with connect() as (client, peer):
        with trio.move_on_after(5):
            await client.register(ScriptedAgent("bob", []))
        request = await peer.next_request("register")
        peer.answer(request, stamp(msgspec.json.decode(request.params)))
        peer.send(text_for("id-bob"))
        await wait_all_tasks_blocked()
        assert peer.nothing_came()
        peer.cut()
        await wait_all_tasks_blocked()
        assert hub.hellos == []


async def test_leaving_the_block_gives_up_what_was_not_finished(
    connect: Connect, autojump_clock: MockClock
) -> None:
    cancelled: list[bool] = []

    async def handler(*_: object) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(True)

    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []), handler=handler)
        peer.send(text_for(bob.agent_id))
        await wait_all_tasks_blocked()
    assert cancelled == [True]
    assert peer.nothing_came(), "no receipt: it will be delivered again"


async def test_a_receipt_that_was_due_when_the_block_was_left_is_still_written(
    connect: Connect, autojump_clock: MockClock
) -> None:
    done = trio.Event()

    async def handler(*_: object) -> None:
        done.set()

    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []), handler=handler)
        peer.send(text_for(bob.agent_id))
        await done.wait()
    assert (await peer.next(ReceiptFrame)).status == "ack"
