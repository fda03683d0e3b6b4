"""
One scenario, run again for every operation of its store, with that one operation failing.

Two agents register, consult, converse; the hub is closed and opened again with a clock that
stands an hour earlier; they converse further. Whoever is told that the outcome is unknown tries
again under the same key. Whatever fails, before or after it took effect: nothing that was
acknowledged is missing, nothing is there twice, everybody hears everything in order, and ids
increase all the while.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

import attrs
import pytest
import trio
import trio.testing

from trio_hub import (
    ChannelState,
    Envelope,
    Hub,
    HubLimits,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    ProtocolError,
    StoreError,
)
from trio_hub.client import AgentClient, Channel, HubClient, Turn, accept_invite, default_handler
from trio_hub.records import EV_CHANNEL_INVITE, is_addressed_to
from trio_hub.stores import Change
from trio_hub.testing import FaultyStore
from trio_hub.testing.faulty_store import Operation

from .speaker import NOTE, Post, Told

_T = TypeVar("_T")

# One fault can cost more than one attempt: what waits behind a failed commit fails with it.
_ATTEMPTS_MAX = 4
_HOUR_SECONDS = 3600.0
# Of the virtual clock: backoffs and retries take their time.
_HEARD_WITHIN_SECONDS = 300.0
_SWEPT_AFTER_SECONDS = 70.0
# So that snapshots are written and read in between.
_LIMITS = HubLimits(snapshot_records=2)


async def _insist(action: Callable[[], Awaitable[_T]]) -> _T:
    """Do something again where the outcome is unknown."""
    for _ in range(_ATTEMPTS_MAX - 1):
        try:
            return await action()
        except StoreError:
            continue
    return await action()


@attrs.define(eq=False)
class Scenario:
    """
    What happens, and what those to whom it happened were told.

    Args:
        store: What the hub keeps everything in.

    Attributes:
        told: By agent name.
        ended: Consultations that brought their answer.
    """

    store: FaultyStore
    told: dict[str, Told] = attrs.field(factory=lambda: {"alice": Told(), "bob": Told()})
    agent_ids: dict[str, str] = attrs.field(factory=dict)
    ended: list[str] = attrs.field(factory=list)
    _clock_runs_behind: float = 0.0

    async def run(self) -> None:
        """Let it all happen."""
        async with self.open_hub() as hub, HubClient(LocalLink(hub)) as client:
            alice = await self._register(client, "alice")
            await self._register(client, "bob")
            await self._consult(alice)
            talk = await _insist(lambda: alice.open(type="conversation", target="bob"))
            for number in range(4):
                await self._post(talk, number)
            # Some at the same time, so that one failure meets several.
            async with trio.open_nursery() as nursery:
                for number in range(4, 8):
                    nursery.start_soon(self._post, talk, number)
            await self._until_heard(hub)
        self._clock_runs_behind = _HOUR_SECONDS
        async with self.open_hub() as hub, HubClient(LocalLink(hub)) as client:
            alice = await self.attach(client, "alice")
            await self.attach(client, "bob")
            talk = await _insist(lambda: alice.channel(talk.channel_id))
            # What was answered once is answered alike.
            await self._post(talk, 7)
            for number in range(8, 11):
                await self._post(talk, number)
            await self._consult(alice)
            await _insist(talk.close)
            self.ended.append(talk.channel_id)
            await self._until_heard(hub)

    async def check(self) -> None:
        """Open a hub on what is there, without any fault, and see that all of it is true."""
        async with self.open_hub() as hub:
            assert hub.health().problems == ()
            assert sorted(one.name for one in hub.list_agents()) == ["alice", "bob"]
            for name, agent_id in self.agent_ids.items():
                assert hub.find_agent_id(name) == agent_id
            for channel_id in self.ended:
                assert hub.get_channel(channel_id).state is ChannelState.CLOSED
            for metadata in hub.list_channels():
                self._check_log(await hub.read_wal(metadata.channel_id))
            for told in self.told.values():
                for post, envelope_id in told.answered.items():
                    log = await hub.read_wal(post.channel_id)
                    kept = [one for one in log if one.idempotency_key == post.key]
                    assert [(one.envelope_id, one.text) for one in kept] == [
                        (envelope_id, post.text)
                    ]

    def _check_log(self, log: list[Envelope]) -> None:
        ids = [one.envelope_id for one in log]
        assert ids == sorted(set(ids))
        keys = [one.idempotency_key for one in log if one.idempotency_key is not None]
        assert len(keys) == len(set(keys)), "something was posted twice"
        causes = [(one.sender_id, one.causation_id) for one in log if one.causation_id]
        assert len(causes) == len(set(causes)), "something was answered twice"
        for name, agent_id in self.agent_ids.items():
            owed = [one.envelope_id for one in log if is_addressed_to(one, agent_id)]
            assert list(self.told[name].heard.get(log[0].channel_id, {})) == owed

    @asynccontextmanager
    async def open_hub(self) -> AsyncIterator[Hub]:
        """Open a hub, again if it cannot be opened at first."""
        async with AsyncExitStack() as stack:
            yield await _insist(
                lambda: stack.enter_async_context(
                    Hub.open(self.store, clock=self._clock, rng=random.Random(1), limits=_LIMITS)
                )
            )

    def _clock(self) -> float:
        return time.time() - self._clock_runs_behind

    async def _register(self, client: HubClient, name: str) -> AgentClient:
        for _ in range(_ATTEMPTS_MAX):
            try:
                agent = await client.register(self._answer, Passport(name=name), handler=self._hear)
            except StoreError:
                continue
            except ProtocolError:
                # It was registered, though its first attempt was told that nobody knows.
                return await self.attach(client, name)
            self.agent_ids[name] = agent.agent_id
            return agent
        raise AssertionError(f"{name} could not be registered")

    async def attach(self, client: HubClient, name: str) -> AgentClient:
        """Attach one of the two; the id must be that of before."""
        agent = await _insist(lambda: client.attach(self._answer, name, handler=self._hear))
        assert self.agent_ids.setdefault(name, agent.agent_id) == agent.agent_id
        return agent

    async def _consult(self, alice: AgentClient) -> None:
        consult = await _insist(lambda: alice.open(type="consulting", target="bob"))
        await _insist(lambda: consult.send("What now?", idempotency_key="question"))
        answer = await alice.wait_for_channel_event(
            channel_id=consult.channel_id, predicate=lambda one: one.text == "An answer."
        )
        assert answer.sender_id == self.agent_ids["bob"]
        self.ended.append(consult.channel_id)

    async def _post(self, talk: Channel, number: int) -> None:
        post = Post(talk.channel_id, f"key-{number}", f"note {number}")
        envelope_id = await _insist(
            lambda: talk.send(
                event_type=NOTE, event_data={"text": post.text}, idempotency_key=post.key
            )
        )
        self.told["alice"].answer(post, envelope_id)

    async def _answer(self, turn: Turn) -> str:
        return "An answer."

    async def _hear(self, envelope: Envelope, client: AgentClient, attempt: int) -> None:
        self.told[client.name].hear(envelope.channel_id, envelope.envelope_id)
        if envelope.event_type == EV_CHANNEL_INVITE:
            await accept_invite(envelope, client)
        elif client.name == "bob":
            await default_handler(envelope, client, attempt)

    async def _until_heard(self, hub: Hub) -> None:
        # What failed and was not asked about again is read back by the next sweep, and a channel
        # that nobody knows of is closed then.
        await trio.sleep(_SWEPT_AFTER_SECONDS)
        for metadata in hub.list_channels():
            channel_id = metadata.channel_id
            log = await _insist(lambda channel_id=channel_id: hub.read_wal(channel_id))  # type: ignore[misc]
            for name, told in self.told.items():
                owed = {
                    one.envelope_id for one in log if is_addressed_to(one, self.agent_ids[name])
                }
                with trio.fail_after(_HEARD_WITHIN_SECONDS):
                    while not told.heard.get(channel_id, {}).keys() >= owed:
                        await told.changes()


class _FailingTwice(FaultyStore):
    """A store whose failed commit is followed by a failed operation of the kind `then`."""

    then: Operation | None = None

    async def commit(self, changes: Sequence[Change]) -> tuple[int, ...]:
        """As the inner store's, unless it is made to fail."""
        try:
            return await super().commit(changes)
        except StoreError:
            if self.then is not None:
                self.fail(self.then)
                self.then = None
            raise


async def _run_with(
    arm: Callable[[FaultyStore], None], store: FaultyStore | None = None
) -> FaultyStore:
    store = store or FaultyStore(MemoryKnowledgeStore())
    arm(store)
    scenario = Scenario(store)
    await scenario.run()
    happened = store.operations.copy()
    store.heal()
    await scenario.check()
    store.operations = happened
    return store


def _arm(operation: Operation, nth: int, after: bool, store: FaultyStore) -> None:
    store.fail(operation, nth=nth, after=after)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "after"),
    [
        ("commit", False),
        ("commit", True),
        ("read", False),
        ("read_under", False),
        ("read_range", False),
        ("length", False),
        ("lengths_under", False),
    ],
)
async def test_nothing_acknowledged_is_lost_whichever_operation_fails(
    operation: Operation, after: bool, autojump_clock: trio.testing.MockClock
) -> None:
    store = await _run_with(lambda _: None)
    assert store.operations[operation], f"the scenario never does {operation}: test another one"
    number = 0
    while store.operations[operation] > number:
        number += 1
        with trio.fail_after(10 * _HEARD_WITHIN_SECONDS):
            store = await _run_with(partial(_arm, operation, number, after))
    print(f"{operation}: each of {number} made to fail {'after' if after else 'before'}")  # noqa: T201


@pytest.mark.slow
@pytest.mark.parametrize("then", ["read", "length", "read_range", "commit"])
async def test_nothing_acknowledged_is_lost_when_reading_back_fails_too(
    then: Operation, autojump_clock: trio.testing.MockClock
) -> None:
    store = await _run_with(lambda _: None)
    number = 0
    while store.operations["commit"] > number:
        number += 1
        failing = _FailingTwice(MemoryKnowledgeStore())
        failing.then = then
        with trio.fail_after(10 * _HEARD_WITHIN_SECONDS):
            store = await _run_with(partial(_arm, "commit", number, True), failing)


async def test_what_was_settled_stays_so_when_its_log_cannot_be_read_at_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    scenario = Scenario(store)
    await scenario.run()
    bob = scenario.told["bob"]
    async with scenario.open_hub() as hub, HubClient(LocalLink(hub)) as client:
        alice = await scenario.attach(client, "alice")
        async with HubClient(LocalLink(hub)) as client_of_bob:
            await scenario.attach(client_of_bob, "bob")
            talk = await alice.open(type="conversation", target="bob")
            await talk.send("one")
            while len(bob.heard.get(talk.channel_id, {})) < 3:
                await bob.changes()
            # Until the receipt has arrived as well.
            await trio.testing.wait_all_tasks_blocked()
        await talk.send("two")
    async with scenario.open_hub() as hub, HubClient(LocalLink(hub)) as client:
        before = bob.deliveries
        store.fail("read_range")
        await scenario.attach(client, "bob")
        while len(bob.heard[talk.channel_id]) < 4:
            await bob.changes()
        assert bob.deliveries == before + 1


@pytest.mark.parametrize("after", [False, True])
async def test_first_writer_of_a_checkpoint_is_known_though_the_first_attempt_failed(
    after: bool,
) -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with Hub.open(store) as hub:
        store.fail("commit", after=after)
        with pytest.raises(StoreError, match="made to fail"):
            await hub.tasks.checkpoints.write("task", {"done": 1}, ["alice"])
        await hub.tasks.checkpoints.write("task", {"done": 1}, ["alice"])
    async with Hub.open(store) as hub:
        assert hub.tasks.checkpoints.writers("task") == {"alice"}
        assert (await hub.tasks.checkpoints.read("task")).state == {"done": 1}
