"""The machines pass what keeps its contract, and find what breaks it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from trio_hub import (
    ChannelMetadata,
    ConsultingAdapter,
    ConversationAdapter,
    DiscussionAdapter,
    Envelope,
    ExpectedTurn,
    KnowledgeStore,
    MemoryKnowledgeStore,
)
from trio_hub.client import AgentClient, Handler, Turn, accept_invite
from trio_hub.errors import StoreError
from trio_hub.hub.leavings import Leavings
from trio_hub.protocol.adapters import ChannelAdapter
from trio_hub.protocol.adapters.conversation import ConversationState
from trio_hub.records import EV_CHANNEL_INVITE, EV_TEXT
from trio_hub.stores import Append, Trim
from trio_hub.stores.base import Change
from trio_hub.testing.machines import AdapterMachine, DeliveryMachine, StoreMachine
from trio_hub.testing.simulated_disk import MachineStore
from trio_hub.testing.trace import Expired

from ..properties.test_store_machine import CrashingStoreMachine, MemoryStoreMachine

# Enough to find what is seeded below, and nothing is shrunk: that it was found is the point.
SEARCH = settings(
    # It ends with the first fault. How soon depends on what has been imported: Hypothesis tries the
    # constants that it finds there.
    max_examples=2_000,
    stateful_step_count=20,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    print_blob=False,
    report_multiple_bugs=False,
    derandomize=True,
)
QUICK = settings(max_examples=15, stateful_step_count=20, deadline=None)


def finds_a_fault(machine: type[RuleBasedStateMachine], match: str | None = None) -> None:
    with pytest.raises(AssertionError, match=match):
        run_state_machine_as_test(machine, settings=SEARCH)


# Stores


def test_store_that_forgets_when_it_is_closed_is_found() -> None:
    class Forgetful(MemoryStoreMachine):
        def reopen(self, store: KnowledgeStore) -> KnowledgeStore:
            return MemoryKnowledgeStore()

    finds_a_fault(Forgetful)


def test_store_that_keeps_half_a_batch_in_a_crash_is_found() -> None:
    class Torn(CrashingStoreMachine):
        def crash(self, store: KnowledgeStore) -> KnowledgeStore:
            assert isinstance(store, MachineStore)
            under_way = store.die()
            left = super().crash(store)
            if under_way is not None and len(under_way) > 1:
                self.loop.run(self._write, left, under_way[:1])
            return left

        async def _write(self, left: KnowledgeStore, changes: Sequence[Change]) -> None:
            async with left:
                # It may break a rule by itself.
                with suppress(StoreError):
                    await left.commit(changes)

    finds_a_fault(Torn, match="after a crash")


def test_store_that_answers_before_it_keeps_is_found() -> None:
    class TooSoon(MemoryKnowledgeStore):
        waiting: tuple[Change, ...] = ()

        async def commit(self, changes: Sequence[Change]) -> tuple[int, ...]:
            await super().commit(self.waiting)
            self.waiting = tuple(changes)
            return tuple(0 for change in changes if isinstance(change, Append))

    class TooSoonMachine(StoreMachine):
        def make_store(self) -> KnowledgeStore:
            return TooSoon()

    finds_a_fault(TooSoonMachine)


def test_store_that_numbers_anew_what_a_trim_leaves_is_found() -> None:
    class Renumbering(MemoryKnowledgeStore):
        async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
            return await super().read_range(path, max(start, await self.first(path)), stop)

    class RenumberingMachine(StoreMachine):
        def make_store(self) -> KnowledgeStore:
            return Renumbering()

    finds_a_fault(RenumberingMachine, match="as if it were there")


def test_store_without_trims_is_not_asked_for_them() -> None:
    class Plain(MemoryKnowledgeStore):
        first = None  # type: ignore[assignment]

        async def commit(self, changes: Sequence[Change]) -> tuple[int, ...]:
            assert not any(isinstance(change, Trim) for change in changes)
            return await super().commit(changes)

    class PlainMachine(StoreMachine):
        def make_store(self) -> KnowledgeStore:
            return Plain()

    run_state_machine_as_test(PlainMachine, settings=QUICK)


# Adapters


@pytest.mark.parametrize(
    "adapter",
    [ConsultingAdapter(), ConversationAdapter(), DiscussionAdapter()],
    ids=lambda adapter: adapter.manifest.type,
)
def test_adapters_that_ship_hold(adapter: ChannelAdapter) -> None:
    run_state_machine_as_test(AdapterMachine.of(adapter), settings=QUICK)


class Broken(ConversationAdapter):
    """A conversation with a fault to be filled in."""


def test_adapter_whose_fold_looks_at_more_than_its_arguments_is_found() -> None:
    count = itertools.count()

    class Counting(Broken):
        def fold(self, envelope: Envelope, state: ConversationState) -> ConversationState:
            return ConversationState(turn_count=next(count))

    finds_a_fault(AdapterMachine.of(Counting()), match="fold gave")


def test_adapter_that_allows_what_it_cannot_fold_is_found() -> None:
    class Greedy(Broken):
        def fold(self, envelope: Envelope, state: ConversationState) -> ConversationState:
            return attrs.evolve(state, last_speaker_id=envelope.event_data["text"].upper())

    with pytest.raises((KeyError, AttributeError)):
        run_state_machine_as_test(AdapterMachine.of(Greedy()), settings=SEARCH)


def test_adapter_that_changes_its_state_in_place_is_found() -> None:
    class Listing(Broken):
        def initial_state(self, metadata: ChannelMetadata) -> Any:
            return []

        def fold(self, envelope: Envelope, state: Any) -> Any:
            state.append(envelope.envelope_id)
            return state

    finds_a_fault(AdapterMachine.of(Listing()), match="changed its argument")


def test_adapter_that_expects_whom_it_does_not_allow_is_found() -> None:
    class Strict(DiscussionAdapter):
        def expected_next(self, metadata: ChannelMetadata, state: Any) -> ExpectedTurn:
            return ExpectedTurn(metadata.participant_ids[-1])

    finds_a_fault(AdapterMachine.of(Strict()), match="may not")


def test_adapter_whose_kept_state_is_another_is_found() -> None:
    class Forgetful(ConversationAdapter):
        def thaw(self, frozen: Any, metadata: ChannelMetadata) -> ConversationState:
            return ConversationState(frozen["turn_count"])

    finds_a_fault(AdapterMachine.of(Forgetful()), match="thaws to another state")


def test_machine_takes_an_adapter_with_its_own_events() -> None:
    machine = AdapterMachine.of(DiscussionAdapter(), turn_event_type="app.x")
    adapter: ChannelAdapter = machine.adapter
    assert machine.turn_event_type == "app.x"
    assert adapter.manifest.type == "discussion"


# Delivery


class Clerks(DeliveryMachine):
    """Agents that answer whatever is a question."""

    def make_agent(self, name: str) -> Any:
        async def answer(turn: Turn) -> str | None:
            return None if turn.text.startswith("re: ") else f"re: {turn.text}"

        return answer


def test_hub_and_clients_deliver_through_every_fault() -> None:
    run_state_machine_as_test(DeliveryMachine, settings=QUICK)


def test_agents_answer_once_through_every_fault() -> None:
    run_state_machine_as_test(Clerks, settings=QUICK)


def test_handler_that_answers_again_when_it_runs_again_is_found() -> None:
    class Chatty(DeliveryMachine):
        def make_handler(self, name: str) -> Handler:
            async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
                if envelope.event_type == EV_CHANNEL_INVITE:
                    await accept_invite(envelope, client)
                elif envelope.event_type == EV_TEXT and envelope.causation_id is None:
                    channel = await client.channel(envelope.channel_id)
                    await channel.send("yes", causation_id=envelope.envelope_id)

            return handler

    machine = Chatty()
    machine.open_channel()
    machine.loop.sleep(1)
    machine.fail_next("bob", after=True)
    machine.post_as("alice", "a question")
    machine.loop.sleep(1)
    with pytest.raises(AssertionError, match=r"no_double_reply: .* twice"):
        machine.teardown()


@pytest.mark.parametrize("forgets", [False, True])
def test_hub_that_forgets_that_time_is_over_is_found(
    forgets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if forgets:
        monkeypatch.setattr(Leavings, "moment", lambda *_: None)
    machine = DeliveryMachine()
    machine.open_channel()
    machine.loop.sleep(1)
    machine.loop.call(machine.network.part, "bob")
    machine.post_as("alice", "soon too late", ttl_seconds=1.0)
    machine.loop.sleep(60)
    machine.loop.call(machine.network.join, "bob")
    if forgets:
        with pytest.raises(AssertionError, match="nothing_late: "):
            machine.teardown()
    else:
        machine.teardown()
        assert len(list(machine.trace.of(Expired))) == 1
