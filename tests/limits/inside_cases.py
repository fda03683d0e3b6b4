"""Fixed bounds of what others make a hub or a store keep and do."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_hub import (
    ConversationAdapter,
    DeliveryPolicy,
    DiskKnowledgeStore,
    Envelope,
    HubLimits,
    HubListener,
    LimitsBlock,
    MemoryKnowledgeStore,
    Passport,
    RateBlock,
    Rule,
)
from trio_hub.errors import StoreError, TooLarge
from trio_hub.hub import (
    arbiter,
    audit,
    failed_handshakes,
    letter_replay,
    listeners,
    mailbox,
    paths,
    snapshots,
    spans,
)
from trio_hub.links.handshakes import HandshakeFailure
from trio_hub.protocol.inbox_work import Delivery
from trio_hub.records import EV_TEXT
from trio_hub.stores import Append, Put, _change_feed, _checks, _places, _shell
from trio_hub.stores._plan import record_checksum
from trio_hub.stores.disk import DATABASE_NAME
from trio_hub.testing import FaultyStore

from ..hub.peer import open_house
from .registry import case


class Stuck(HubListener):
    """Never gets on with the first event of tasks that it hears of."""

    async def on_task_event(self, *_: Any) -> None:
        await trio.sleep_forever()


@case(listeners, "LISTENER_EVENTS_MAX")
async def listener_events() -> None:
    most = listeners.LISTENER_EVENTS_MAX
    async with trio.open_nursery() as nursery:
        told = listeners.Listeners()
        told.start(nursery)
        async with told.added(Stuck()):

            def health() -> tuple[int, int]:
                (found,) = told.health()
                return found.waiting, found.dropped

            told.tell("on_task_event", "t", "started", {})
            await wait_all_tasks_blocked()
            for _ in range(most):
                told.tell("on_task_event", "t", "progress", {})
            assert health() == (most, 0)
            told.tell("on_task_event", "t", "progress", {})
            assert health() == (most, 1)


@case(audit, "WAITING_RECORDS_MAX")
async def waiting_records() -> None:
    most = audit.WAITING_RECORDS_MAX
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store) as house:
        log = house.hub.audit
        peer = await house.join("alice")
        with store.hold_commits():
            while log.waiting < most:
                log.record("test")
            await log.room()
            log.record("test")
            # A take-over is on the record, so whoever comes now waits for the disk.
            late = await house.peer()
            late.send("hello", name="alice")
            await wait_all_tasks_blocked()
            assert [it["kind"] for it in late.frames] == []
        await late.expect("welcome")
        assert peer.id == late_id(house)


def late_id(house: Any) -> str:
    """The id of the only agent."""
    (passport,) = house.hub.list_agents()
    return str(passport.agent_id)


async def _summary_of(*addresses: int) -> dict[str, Any]:
    """What is audited of handshakes that fail at these addresses within a minute."""
    async with open_house() as house:
        for number in addresses:
            house.hub.handshake_failed(_address(number) + ":4711", HandshakeFailure.NO_TLS)
        await trio.sleep(60.1)
        page = await house.hub.audit.query(kind="handshakes_failed")
        return dict(page.records[0].details)


def _address(number: int) -> str:
    return f"10.0.{number // 256}.{number % 256}"


@case(failed_handshakes, "NAMED_ADDRESSES_MAX", virtual=True)
async def named_addresses() -> None:
    most = failed_handshakes.NAMED_ADDRESSES_MAX
    for more in (0, 1):
        summary = await _summary_of(*range(most + more))
        assert (len(summary["addresses"]), summary["elsewhere"]) == (most, more)


@case(failed_handshakes, "TALLIED_ADDRESSES_MAX", virtual=True)
async def tallied_addresses() -> None:
    most = failed_handshakes.TALLIED_ADDRESSES_MAX
    for last, is_told_apart in ((most - 1, True), (most, False)):
        summary = await _summary_of(*range(last), *[last] * 5)
        assert (summary["addresses"].get(_address(last)) == 5) == is_told_apart


@case(failed_handshakes, "LOGGED_HANDSHAKES_MAX", virtual=True)
async def logged_handshakes() -> None:
    most = failed_handshakes.LOGGED_HANDSHAKES_MAX
    for more in (0, 1):
        lines: list[str] = []
        handler = logging.Handler(logging.INFO)
        handler.emit = lambda it, lines=lines: lines.append(it.getMessage())  # type: ignore[method-assign,misc]
        logger = logging.getLogger("trio_hub")
        before = logger.level
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        try:
            await _summary_of(*range(most + more))
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before)
        assert len([it for it in lines if it.startswith("handshake failed")]) == most
        assert len([it for it in lines if it.startswith("handshakes failed")]) == more


@case(arbiter, "DEPARTED_NAMES_MAX")
async def departed_names() -> None:
    rule = Rule(limits=LimitsBlock(rate=RateBlock(per_minute=1)))
    envelope = Envelope(channel_id="c", sender_id="a", event_type=EV_TEXT, event_data={})
    for others, is_remembered in (
        (arbiter.DEPARTED_NAMES_MAX - 1, True),
        (arbiter.DEPARTED_NAMES_MAX, False),
    ):
        judge = arbiter.RuleArbiter(clock=lambda: 0.0)

        def sends(name: str, judge: arbiter.RuleArbiter = judge) -> bool:
            decision = judge.authorize_send(envelope, Passport(name=name), rule, [])
            return isinstance(decision, arbiter.Allow)

        for name in ("first", *(f"other{number}" for number in range(others))):
            assert sends(name)
            judge.forget(name)
        assert sends("first") == (not is_remembered)


@case(letter_replay, "REPLAYED_LETTERS_MAX")
async def replayed_letters() -> None:
    most = letter_replay.REPLAYED_LETTERS_MAX
    async with open_house(delivery=DeliveryPolicy(max_attempts=1)) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await bob.quiet()
        bob.acks = False
        for number in range(most + 1):
            await alice.say(channel_id, str(number))
            bob.nack(await bob.hears(str(number)))
        await bob.quiet()
        for letter in house.hub.list_dead_letters().letters:
            await house.hub.replay_dead_letter(letter.agent_id, letter.envelope_id)
        await bob.quiet()
        for replayed in (most, most + 1):
            again = [it for it in bob.frames if it.get("attempt") == 2]
            assert len(again) == replayed
            bob.ack(again[0])
            await bob.quiet()


@case(mailbox, "PAYLOAD_BYTES_MAX")
async def payload_bytes() -> None:
    most = mailbox.PAYLOAD_BYTES_MAX
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        channel = house.hub.channels.get(channel_id)
        inbox = house.hub._deliveries.mailboxes[bob.id].inbox
        await alice.say(channel_id, "")
        (empty,) = await house.hub.channels.read(channel, channel.length - 1, None)
        for more in (0, 1):
            text = "x" * (most - len(empty.raw) + more)
            await alice.say(channel_id, text)
            entry = inbox.find(channel_id, channel.length - 1)
            assert entry is not None
            assert len(entry.payload) == (most if not more else 0)
            # It arrives all the same.
            while (await bob.hears())["envelope"]["event_data"]["text"] != text:
                pass


class CountedTracing:
    """Counts the spans that are open."""

    def __init__(self) -> None:
        self.open = 0

    def start(self, *_: Any) -> CountedTracing:
        self.open += 1
        return self

    def end(self, *_: Any) -> None:
        self.open -= 1


@case(spans, "DELIVERY_SPANS_MAX")
async def delivery_spans() -> None:
    tracing: Any = CountedTracing()
    hub_spans = spans.HubSpans(tracing)

    def sent(number: int) -> None:
        hub_spans.sent("bob", Delivery("c", number, f"{number:032x}", 1, b"{}"))

    for number in range(spans.DELIVERY_SPANS_MAX):
        sent(number)
    assert tracing.open == spans.DELIVERY_SPANS_MAX
    sent(spans.DELIVERY_SPANS_MAX)
    assert tracing.open == spans.DELIVERY_SPANS_MAX
    hub_spans.receipt("bob", f"{0:032x}", "ack")
    assert tracing.open == spans.DELIVERY_SPANS_MAX - 1


class Padded(ConversationAdapter):
    """Keeps so much more than its state."""

    def __init__(self, padding: int) -> None:
        self._padding = "x" * padding

    def freeze(self, state: Any) -> Any:
        return {"padding": self._padding, "state": super().freeze(state)}

    def thaw(self, frozen: Any, metadata: Any) -> Any:
        return super().thaw(frozen["state"], metadata)


async def _snapshot_bytes(padding: int) -> int:
    """How large the snapshot is that is kept of a channel; 0 where there is none."""
    store, limits = MemoryKnowledgeStore(), HubLimits(snapshot_records=8)
    async with open_house(store, limits=limits, adapters=[Padded(padding)]) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        for number in range(8):
            await alice.say(channel_id, str(number))
        await bob.quiet()
        await trio.sleep(60)
        return len(await store.read(paths.snapshot(channel_id)) or b"")


@case(snapshots, "SNAPSHOT_BYTES_MAX", virtual=True)
async def snapshot_bytes() -> None:
    # More than the numbers of a few bytes in which MessagePack says how long something is.
    some = 100_000
    fits = snapshots.SNAPSHOT_BYTES_MAX - (await _snapshot_bytes(some) - some)
    assert await _snapshot_bytes(fits) == snapshots.SNAPSHOT_BYTES_MAX
    assert await _snapshot_bytes(fits + 1) == 0


@case(_checks, "BLOB_BYTES_MAX")
async def blob_bytes() -> None:
    # Zeros that nobody has touched take no memory.
    fits = bytes(_checks.BLOB_BYTES_MAX)
    async with MemoryKnowledgeStore() as store:
        await store.write("/blob", fits)
        del fits
        await store.delete("/blob")
        too_large = bytes(_checks.BLOB_BYTES_MAX + 1)
        for change in (Put("/blob", too_large), Append("/log", too_large)):
            with pytest.raises(TooLarge):
                await store.commit([change])


@case(_checks, "POSITION_MAX")
async def positions() -> None:
    last = _checks.POSITION_MAX - 1
    with TemporaryDirectory() as folder:
        for store in (MemoryKnowledgeStore(), DiskKnowledgeStore(folder)):
            async with store:
                await store.append("/log", b"0")
                # A position that there may be, and is not the next one.
                with pytest.raises(StoreError):
                    await store.commit([Append("/log", b"1", last)])
                with pytest.raises(ValueError, match="no position"):
                    await store.commit([Append("/log", b"1", last + 1)])
                assert await store.read_range("/log", 0, last + 2) == [b"0"]


def _stand_at(folder: str, log_id: int, position: int) -> None:
    """Give the only log of a store this number, and one record, at that position."""
    database = sqlite3.connect(Path(folder, DATABASE_NAME))
    with database:
        database.execute("UPDATE logs SET log_id = ?", (log_id,))
        database.execute("DELETE FROM records")
        database.execute(
            "INSERT INTO records VALUES (?, ?, ?)",
            (_places.first_place(log_id) + position, b"x", record_checksum(b"x", position)),
        )
    database.close()


@case(_places, "LOG_RECORDS_MAX")
async def log_records() -> None:
    most = _places.LOG_RECORDS_MAX
    with TemporaryDirectory() as folder:
        async with DiskKnowledgeStore(folder) as store:
            await store.append("/log", b"x")
        _stand_at(folder, 1, most - 2)
        async with DiskKnowledgeStore(folder) as store:
            assert await store.append("/log", b"last") == most - 1
            with pytest.raises(StoreError, match="full"):
                await store.append("/log", b"one more")
            assert await store.length("/log") == most


@case(_places, "LOGS_MAX")
async def logs() -> None:
    with TemporaryDirectory() as folder:
        async with DiskKnowledgeStore(folder) as store:
            await store.append("/log", b"x")
        # Logs are numbered from 1.
        _stand_at(folder, _places.LOGS_MAX - 2, 0)
        async with DiskKnowledgeStore(folder) as store:
            assert await store.append("/last", b"x") == 0
            with pytest.raises(StoreError, match="no log can be begun"):
                await store.append("/one more", b"x")


@case(_change_feed, "LISTENER_PATHS_MAX")
async def listener_paths() -> None:
    most = _change_feed.LISTENER_PATHS_MAX
    async with MemoryKnowledgeStore() as store, store.on_change("/a") as paths:
        for number in range(most):
            await store.write(f"/a/{number}", b"")
        assert paths.statistics().current_buffer_used == most
        await store.write("/a/newest", b"")
        heard = [paths.receive_nowait() for _ in range(most)]
        assert heard[-1] == "/a/newest"
        with pytest.raises(trio.WouldBlock):
            paths.receive_nowait()


def _damage_documents(folder: str) -> None:
    database = sqlite3.connect(Path(folder, DATABASE_NAME))
    with database:
        database.execute("UPDATE documents SET data = x'00' WHERE path LIKE '/%/x'")
    database.close()


@case(_shell, "PROBLEMS_MAX")
async def problems() -> None:
    most = _shell.PROBLEMS_MAX
    with TemporaryDirectory() as folder:
        async with DiskKnowledgeStore(folder) as store:
            for number in range(most + 1):
                await store.write(f"/{number:04}/x", b"good")
        _damage_documents(folder)
        async with DiskKnowledgeStore(folder) as store:
            for number in range(most + 1):
                await store.read_under(f"/{number:04}")
                kept = store.health().problems
                assert len(kept) == min(number + 1, most)
                assert f"/{number:04}/x" in kept[-1]
            assert "/0001/x" in kept[0]
