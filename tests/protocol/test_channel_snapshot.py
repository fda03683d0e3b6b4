"""A snapshot and what came after it are the log, for every adapter that ships and at any place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import attrs
import msgspec
import pytest
from hypothesis import given, strategies as st

from trio_hub.errors import NetworkError
from trio_hub.protocol import posted
from trio_hub.protocol.adapters import (
    AdapterResult,
    ChannelAdapter,
    ConsultingAdapter,
    ConversationAdapter,
    DiscussionAdapter,
    WorkflowAdapter,
)
from trio_hub.protocol.adapters.conversation import ConversationState
from trio_hub.protocol.adapters.freezing import freezing
from trio_hub.protocol.channel import ChannelMachine
from trio_hub.protocol.channel_snapshot import ChannelSnapshot, SnapshotUnfit, freeze, thaw
from trio_hub.protocol.expectations import Firings
from trio_hub.protocol.federation import ReflectedMachine
from trio_hub.protocol.posted_pages import PostedPage
from trio_hub.protocol.workflow import TransitionGraph
from trio_hub.records import (
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    ChannelMetadata,
    Envelope,
)

from .channels import ALICE, BOB, CAROL, Live, ack, envelope, metadata, reject, text

GRAPH = {"graph": TransitionGraph.round_robin([ALICE, BOB, CAROL]).to_dict()}
CASES: list[tuple[ChannelAdapter, tuple[str, ...], dict[str, Any]]] = [
    (ConsultingAdapter(), (ALICE, BOB), {}),
    (ConversationAdapter(), (ALICE, BOB), {}),
    (DiscussionAdapter(), (ALICE, BOB, CAROL), {}),
    (WorkflowAdapter(), (ALICE, BOB, CAROL), GRAPH),
]

_senders = st.sampled_from([ALICE, BOB, CAROL])
_causes = st.none() | st.integers(1, 6).map("{:032x}".format)
_posts = st.lists(
    st.one_of(
        st.builds(
            text,
            _senders,
            st.sampled_from(["a", "b"]),
            idempotency_key=st.none() | st.sampled_from("klmno"),
            causation_id=_causes,
            audience=st.none() | st.just((BOB,)),
        ),
        st.builds(ack, _senders, causation_id=_causes),
        st.builds(reject, _senders),
        st.builds(
            envelope,
            _senders,
            st.just("ag2.context.set"),
            event_data=st.fixed_dictionaries(
                {"set": st.dictionaries(st.sampled_from("xy"), st.integers() | st.lists(st.none()))}
            ),
        ),
        st.builds(envelope, _senders, st.sampled_from(["ag2.packet", "ag2.task.started"])),
        st.sampled_from([EV_CHANNEL_PARTICIPANT_HIDDEN, EV_CHANNEL_PARTICIPANT_REMOVED]),
    ),
    max_size=15,
)


def leave(live: Live, how: str) -> None:
    """Have the last participant hidden or removed by the hub."""
    machine = live.machine
    last = machine.metadata.participants[-1]
    said = envelope(machine.metadata.creator_id, how, event_data={"participants": [last.agent_id]})
    after, firings = machine.metadata, machine.firings
    if how == EV_CHANNEL_PARTICIPANT_REMOVED:
        rest = tuple(it for it in after.participants if it is not last)
        pending = tuple(it for it in after.pending_acks if it != last.agent_id)
        after = attrs.evolve(after, participants=rest, pending_acks=pending)
        firings = attrs.evolve(firings, removed=(*firings.removed, last))
    live.apply(machine.plan_own([said], after, AdapterResult(), firings, live.stamp()))


def through_bytes(snapshot: ChannelSnapshot) -> ChannelSnapshot:
    """Return it as it comes back from a store."""
    data = msgspec.msgpack.encode(snapshot)
    return msgspec.msgpack.decode(data, type=ChannelSnapshot)


def thawed(
    like: ChannelMachine,
    snapshot: ChannelSnapshot,
    pages: Sequence[PostedPage],
    rest: Sequence[Envelope],
) -> ChannelMachine:
    """Return a machine from a snapshot, that has taken the rest of the log."""
    machine = ChannelMachine(like.metadata, like.adapter, like.firings)
    for page in pages:
        machine.memory.posted.restore(PostedPage.decode(page.encode()))
    thaw(machine, through_bytes(snapshot))
    for record in rest:
        machine.replay(record)
    return machine


@pytest.mark.parametrize(
    ("adapter", "members", "knobs"), CASES, ids=[it[0].manifest.type for it in CASES]
)
@given(posts=_posts, taken=st.sets(st.integers(0, 14), max_size=3), page=st.integers(1, 6))
def test_a_snapshot_and_the_rest_are_the_whole_log(
    adapter: ChannelAdapter,
    members: tuple[str, ...],
    knobs: dict[str, Any],
    posts: list[Envelope | str],
    taken: set[int],
    page: int,
) -> None:
    with mock.patch.object(posted, "PAGE_ENTRIES", page):
        live = Live.create(adapter, *members, knobs=knobs)
        kept = []
        for number, wanted in enumerate(posts):
            if number in taken:
                # As a hub takes it: of the machine that lives.
                snapshot = freeze(live.machine)
                assert snapshot is not None
                kept.append((snapshot, list(live.machine.memory.posted.pages)))
            try:
                if isinstance(wanted, Envelope):
                    live.post(wanted)
                elif len(live.machine.metadata.participants) > 1:
                    leave(live, wanted)
            except NetworkError:
                pass
        whole = live.replayed()
        for snapshot, pages in kept:
            again = thawed(live.machine, snapshot, pages, live.log[snapshot.position :])
            assert again.damage == ""
            assert again.state == whole.state
            assert again.hidden == whole.hidden
            assert again.expected_next() == whole.expected_next()
            # The whole of it, in one comparison.
            assert freeze(again) == freeze(whole)
            for record in live.log:
                _finds_the_same(again, whole, record)


def _finds_the_same(one: ChannelMachine, other: ChannelMachine, record: Envelope) -> None:
    retry = attrs.evolve(record, envelope_id="", created_at="")
    posted_one, posted_other = one.memory.posted, other.memory.posted
    assert one.knows_key_of(retry) == other.knows_key_of(retry)
    if record.idempotency_key is not None:
        assert posted_one.duplicate_of(retry) == posted_other.duplicate_of(retry)
        assert one.id_by_key(record.idempotency_key) == other.id_by_key(record.idempotency_key)
    if record.causation_id is not None:
        cause = record.sender_id, record.causation_id
        assert one.position_by_cause(*cause) == other.position_by_cause(*cause)


def test_a_reflection_can_be_kept_too() -> None:
    expecting_nothing = attrs.evolve(ConversationAdapter.manifest, expectations=())
    drawn = metadata(ConversationAdapter(), ALICE, BOB, manifest=expecting_nothing)
    machine = ReflectedMachine(drawn, frozenset({ALICE}))
    invite = text(ALICE, envelope_id=f"{1:032x}", created_at=drawn.created_at, idempotency_key="k")
    machine.replay(invite)
    snapshot = freeze(machine)
    assert snapshot is not None
    again = ReflectedMachine(drawn, frozenset({ALICE}))
    thaw(again, through_bytes(snapshot))
    assert freeze(again) == snapshot
    assert again.knows_key_of(invite)


# What does not fit


def spoken(adapter: ChannelAdapter | None = None) -> Live:
    live = Live.opened(ConversationAdapter() if adapter is None else adapter)
    for number in range(6):
        live.post(text(ALICE, idempotency_key=str(number)))
    return live


def snapshot_of(live: Live) -> ChannelSnapshot:
    snapshot = freeze(live.machine)
    assert snapshot is not None
    return snapshot


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda it: attrs.evolve(it, format=0), "has the format 0"),
        (lambda it: attrs.evolve(it, adapter="conversation/1 other"), "made by"),
        (lambda it: attrs.evolve(it, state=b"[]"), "Expected"),
        (lambda it: attrs.evolve(it, state=b"{"), "truncated"),
        (lambda it: attrs.evolve(it, rest=b""), "no page"),
        (lambda it: attrs.evolve(it, rest=it.rest + b"x"), "no page"),
        (lambda it: attrs.evolve(it, rest=PostedPage(3, 4, b"", b"").encode()), "do not follow"),
        (lambda it: attrs.evolve(it, pages=1), "nothing of what was posted"),
        (lambda it: attrs.evolve(it, position=it.position + 1), "nothing of what was posted"),
        (lambda it: attrs.evolve(it, pulse=None), "other expectations"),
    ],
)
def test_what_does_not_fit_is_of_no_use(
    change: Callable[[ChannelSnapshot], ChannelSnapshot], why: str
) -> None:
    live = spoken()
    with pytest.raises(SnapshotUnfit, match=why):
        thawed(live.machine, change(snapshot_of(live)), [], [])


def test_pages_of_another_index_are_of_no_use() -> None:
    live = spoken()
    with pytest.raises(ValueError, match="do not follow 0"):
        thawed(live.machine, snapshot_of(live), [PostedPage(2, 3, b"", b"")], [])


def test_nothing_is_kept_of_a_channel_that_is_damaged_or_empty() -> None:
    live = spoken()
    live.machine.replay_unreadable("a bit has flipped")
    assert freeze(live.machine) is None
    assert freeze(ChannelMachine(metadata(ConversationAdapter()), ConversationAdapter())) is None


def test_nothing_is_kept_under_ids_that_no_hub_has_minted() -> None:
    machine = spoken().replayed()
    odd = text(ALICE, envelope_id="e-1", idempotency_key="odd")
    machine.replay(odd)
    assert freeze(machine) is None
    # It is found all the same.
    assert machine.memory.posted.duplicate_of(odd) == "e-1"


# Adapters of others


class Counting(ConversationAdapter):
    """Folds in its own way, and inherits `freeze` of those who fold in another."""

    def fold(self, envelope: Envelope, state: ConversationState) -> ConversationState:
        return ConversationState(state.turn_count + 2)


class Kept(Counting):
    """The same, and says how it is kept."""

    state_version = 7
    failing = False

    def freeze(self, state: ConversationState) -> Any:
        if self.failing:
            raise ZeroDivisionError
        return state.turn_count

    def thaw(self, frozen: Any, metadata: ChannelMetadata) -> ConversationState:
        return ConversationState(frozen)


class Plain:
    """All that a `ChannelAdapter` must have."""

    def __init__(self, rules: ChannelAdapter) -> None:
        for name in dir(ChannelAdapter):
            if not name.startswith("_"):
                setattr(self, name, getattr(rules, name))


def test_an_adapter_that_folds_in_its_own_way_says_itself_how_that_is_kept() -> None:
    assert freezing(Counting()) is None
    assert freeze(spoken(Counting()).machine) is None
    assert freezing(Plain(ConversationAdapter())) is None  # type: ignore[arg-type]
    live = spoken(Kept())
    again = thawed(live.machine, snapshot_of(live), [], [])
    assert again.state == live.machine.state


def test_a_subclass_that_changes_other_things_is_kept_as_its_base_is() -> None:
    class Silent(ConversationAdapter):
        def validate_create(self, metadata: ChannelMetadata) -> None:
            pass

    live = spoken(Silent())
    assert thawed(live.machine, snapshot_of(live), [], []).state == live.machine.state
    # It is another adapter all the same.
    with pytest.raises(SnapshotUnfit, match="made by"):
        thawed(spoken().machine, snapshot_of(live), [], [])


def test_a_bug_in_freeze_costs_the_snapshot() -> None:
    adapter = Kept()
    live = spoken(adapter)
    adapter.failing = True
    assert freeze(live.machine) is None


def test_another_version_of_the_state_is_of_no_use() -> None:
    adapter = Kept()
    live = spoken(adapter)
    snapshot = snapshot_of(live)
    adapter.state_version = 8
    with pytest.raises(SnapshotUnfit, match="made by"):
        thawed(live.machine, snapshot, [], [])


def test_an_adapter_that_keeps_nothing_any_more_has_no_use_for_a_snapshot() -> None:
    snapshot = snapshot_of(spoken(Kept()))
    machine = ChannelMachine(metadata(Counting()), Counting(), Firings())
    with pytest.raises(SnapshotUnfit, match="no state"):
        thaw(machine, snapshot)
