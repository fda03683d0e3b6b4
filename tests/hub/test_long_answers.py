"""
How much is done for one peer before everybody else gets a turn: counted, not timed.

Between two steps of tasks only so many records are decoded and only so many items of a list are
encoded, whatever was asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio.testing

from trio_hub import Envelope, HubLimits, LinkLimits, MemoryKnowledgeStore
from trio_hub.hub import answers, log_reader, paths
from trio_hub.records import TaskState
from trio_hub.testing import FaultyStore
from trio_hub.wire.params import UpdateTask

from .peer import House, Peer, open_house

ENVELOPES = 600
CHANNELS = 250
RECORDS_MAX = 128
ITEMS_MAX = 100
# And one record more, at the most.
BYTES_MAX = (256 + 60) * 1024


class Steps(trio.abc.Instrument):
    """What was done in the step of a task in which the most of it was done."""

    def __init__(self) -> None:
        self.most = {"records": 0, "bytes": 0, "items": 0}
        self.total = dict(self.most)
        self._now = dict(self.most)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._now = dict.fromkeys(self._now, 0)

    def add(self, what: str, amount: int) -> None:
        self._now[what] += amount
        self.total[what] += amount
        self.most[what] = max(self.most[what], self._now[what])


@contextmanager
def counted() -> Iterator[Steps]:
    steps = Steps()
    read_record, read_head, encode = log_reader.read_record, log_reader.read_head, answers.encode

    def counted_read(position: int, raw: bytes) -> Any:
        steps.add("records", 1)
        steps.add("bytes", len(raw))
        return read_record(position, raw)

    def counted_read_head(raw: bytes) -> Any:
        steps.add("records", 1)
        steps.add("bytes", len(raw))
        return read_head(raw)

    def counted_encode(items: Any) -> bytes:
        steps.add("items", len(items))
        return encode(items)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_reader, "read_record", counted_read)
        patch.setattr(log_reader, "read_head", counted_read_head)
        patch.setattr(answers, "encode", counted_encode)
        trio.lowlevel.add_instrument(steps)
        try:
            yield steps
        finally:
            trio.lowlevel.remove_instrument(steps)


async def fill(
    house: House, peer: Peer, channel_id: str, *, times: int = ENVELOPES, size: int = 10
) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(times):
            nursery.start_soon(
                house.hub.post_envelope,
                Envelope(
                    channel_id=channel_id,
                    sender_id=peer.id,
                    event_type="ag2.msg.text",
                    event_data={"text": f"{number:03}" + "x" * size},
                ),
            )


async def read_wal(peer: Peer, channel_id: str) -> list[str]:
    envelopes = await peer.request("read_wal", channel_id=channel_id)
    return [it["event_data"].get("text", "") for it in envelopes]


async def read_tail(peer: Peer, channel_id: str) -> list[str]:
    tail = await peer.request("read_tail", channel_id=channel_id, limit=ENVELOPES, said=True)
    return [it["event_data"].get("text", "") for it in tail["envelopes"]]


@pytest.mark.parametrize("read", [read_wal, read_tail])
async def test_a_long_read_is_done_in_turns(
    read: Callable[[Peer, str], Awaitable[list[str]]],
) -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await fill(house, alice, channel_id)
        with counted() as steps:
            texts = await read(alice, channel_id)
        said = [it[:3] for it in texts if it]
        assert sorted(said) == [f"{it:03}" for it in range(ENVELOPES)]
        assert steps.total["records"] >= ENVELOPES
        assert steps.most["records"] <= RECORDS_MAX


async def test_large_envelopes_are_fewer_in_a_turn() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await fill(house, alice, channel_id, times=16, size=50 * 1024)
        with counted() as steps:
            texts = await read_wal(alice, channel_id)
        assert len([it for it in texts if it]) == 16
        assert steps.total["bytes"] > 16 * 50 * 1024
        assert steps.most["bytes"] <= BYTES_MAX


async def test_one_who_reads_while_others_post_sees_the_log_as_it_was() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await fill(house, alice, channel_id)
        length = house.hub.channels.get(channel_id).length
        asked = alice.ask("read_wal", channel_id=channel_id)
        await fill(house, alice, channel_id, times=50)
        seen = await alice.answer(asked)
        ids = [it["envelope_id"] for it in seen]
        assert ids == sorted(ids)
        # All that was posted before, and of what came while it was on its way nothing but a start.
        log = await house.hub.read_wal(channel_id)
        assert len(ids) >= length
        assert ids == [it.envelope_id for it in log[: len(ids)]]


async def test_a_peer_that_leaves_in_the_middle_of_its_read_costs_nobody_anything() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await fill(house, alice, channel_id)
        bob.ask("read_wal", channel_id=channel_id)
        bob.cut()
        await bob.gone()
        assert len([it for it in await read_wal(alice, channel_id) if it]) == ENVELOPES


async def test_a_long_list_is_encoded_in_turns() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        opened = [await alice.open("conversation", bob) for _ in range(CHANNELS)]
        with counted() as steps:
            listed = await alice.request("list_channels", limit=CHANNELS + 10)
            some = await alice.request("list_channels", agent_id=alice.id, limit=ITEMS_MAX + 1)
        assert [it["channel_id"] for it in listed] == opened
        assert some == listed[: ITEMS_MAX + 1]
        assert steps.total["items"] == CHANNELS + ITEMS_MAX + 1
        assert steps.most["items"] <= ITEMS_MAX
        short = await alice.request("list_channels", limit=3)
        assert short == listed[:3]


async def test_a_replay_is_read_in_turns() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        bob.cut()
        await bob.gone()
        await fill(house, alice, channel_id)
        with counted() as steps:
            again = await house.back("bob")
            for _ in range(ENVELOPES):
                await again.hears()
        assert steps.total["records"] >= ENVELOPES
        assert steps.most["records"] <= RECORDS_MAX


async def test_a_cold_channel_is_folded_in_turns() -> None:
    store = MemoryKnowledgeStore()
    async with store:
        async with open_house(store) as house:
            alice, bob = await house.join("alice"), await house.join("bob")
            channel_id = await alice.open("conversation", bob)
            await fill(house, alice, channel_id)
        # It would spare the reading.
        await store.delete(paths.snapshot(channel_id))
        async with open_house(store) as house:
            with counted() as steps:
                assert (await house.hub.close_channel(channel_id)).is_terminal
            assert steps.total["records"] >= ENVELOPES
            assert steps.most["records"] <= RECORDS_MAX


KIB = 1024
NARROW = LinkLimits(
    message_bytes_max=64 * KIB,
    overhead_bytes_max=4 * KIB,
    plain_message_bytes_max=64 * KIB,
    batch_bytes_max=64 * KIB,
    outbox_low_bytes=16 * KIB,
    outbox_high_bytes=64 * KIB,
    outbox_hard_bytes=512 * KIB,
)
ASKED = 100


@pytest.mark.parametrize("op", ["read_wal", "get_skill"])
async def test_a_peer_that_reads_no_answers_has_few_worked_out_and_is_not_cut_off(op: str) -> None:
    async with open_house(link_limits=NARROW) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await fill(house, alice, channel_id, times=10, size=5 * KIB)
        await alice.request("set_skill", agent_id=alice.id, skill_md="s" * 50 * KIB)
        params = {"read_wal": {"channel_id": channel_id}, "get_skill": {"agent_id": alice.id}}[op]
        with counted() as steps, alice.stalls():
            asked = [alice.ask(op, **params) for _ in range(ASKED)]
            await trio.testing.wait_all_tasks_blocked()
            # What the outbox takes, and what is on the line.
            assert steps.total["bytes"] < 3 * NARROW.outbox_hard_bytes
        answers = [await alice.answer(it) for it in asked]
        assert all(it == answers[0] for it in answers)
        assert alice.lost_because is None


async def test_short_answers_come_while_long_ones_wait() -> None:
    async with open_house(link_limits=NARROW) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await fill(house, alice, channel_id, times=10, size=5 * KIB)
        asked = [alice.ask("read_wal", channel_id=channel_id) for _ in range(ASKED)]
        assert await alice.request("find_agent_id", name="bob") == bob.id
        assert not all(alice.is_answered(it) for it in asked)
        for it in asked:
            await alice.answer(it)


async def test_requests_of_a_peer_that_is_let_go_are_not_begun_once_it_is_their_turn() -> None:
    async with open_house(link_limits=NARROW) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await fill(house, alice, channel_id, times=10, size=5 * KIB)
        with counted() as steps:
            with alice.stalls():
                for _ in range(ASKED):
                    alice.ask("read_wal", channel_id=channel_id)
                await trio.testing.wait_all_tasks_blocked()
                before = steps.total["records"]
                alice.cut()
            await alice.gone()
            await bob.quiet()
            assert steps.total["records"] == before


async def test_many_that_wait_for_the_same_are_answered_one_after_another() -> None:
    async with open_house(link_limits=NARROW) as house:
        alice = await house.join("alice")
        spec = {"title": "errand", "payload": {"text": "x" * 50 * KIB}}
        task = {"task_id": "errand", "owner_id": alice.id, "spec": spec, "state": "running"}
        await alice.request("observe_task", metadata=task)
        asked: list[str] = []
        with alice.stalls():
            for _ in range(ASKED):
                asked.append(alice.ask("wait_task", task_id="errand"))
            await trio.testing.wait_all_tasks_blocked()
            await house.hub.tasks.update(UpdateTask(task_id="errand", state=TaskState.COMPLETED))
            await trio.testing.wait_all_tasks_blocked()
        for it in asked:
            assert (await alice.answer(it))["state"] == "completed"
        assert alice.lost_because is None


async def test_what_requests_are_called_counts_as_what_they_say() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    limits = HubLimits(request_bytes_in_flight_max=4_000)
    async with open_house(store, limits=limits) as house:
        alice = await house.join("alice")
        with store.hold_commits():
            for number in range(2):
                alice.send(
                    "request",
                    request_id=f"{number}".ljust(1_000, "."),
                    op="set_skill",
                    params={"agent_id": alice.id, "skill_md": "x"},
                )
            asked = alice.ask("find_agent_id", name="alice")
            await trio.testing.wait_all_tasks_blocked()
            # The first of them is under way, and nothing behind it is looked at.
            assert store.commits_held == 1
            assert not alice.is_answered(asked)
        assert await alice.answer(asked) == alice.id
