"""The life of a channel: what may follow what, what a plan holds, and that a replay agrees."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from trio_hub.errors import ProtocolError
from trio_hub.protocol.adapters import (
    AdapterResult,
    ChannelAdapter,
    ConsultingAdapter,
    ConversationAdapter,
    DiscussionAdapter,
)
from trio_hub.protocol.channel import ChannelMachine
from trio_hub.protocol.channel_states import CHANNEL, ChannelEvent
from trio_hub.records import (
    EV_CHANNEL_CLOSED,
    EV_CHANNEL_EXPIRED,
    EV_CHANNEL_INVITE,
    EV_CHANNEL_INVITE_ACK,
    EV_CHANNEL_INVITE_REJECT,
    EV_CHANNEL_OPENED,
    EV_TEXT,
    ChannelState,
    Envelope,
)

from .channels import (
    ALICE,
    BOB,
    CAROL,
    CREATED_AT,
    ClumsyAdapter,
    Live,
    ack,
    envelope,
    metadata,
    reject,
    stamps,
    text,
)

PENDING, ACTIVE, CLOSING, CLOSED, EXPIRED = ChannelState

# The table

#: The table written down a second time, one word for each legal step.
LEGAL = {
    (PENDING, ChannelEvent.ACKED): PENDING,
    (PENDING, ChannelEvent.QUORUM): ACTIVE,
    (PENDING, ChannelEvent.REJECTED): CLOSED,
    (PENDING, ChannelEvent.CLOSED): CLOSED,
    (PENDING, ChannelEvent.EXPIRED): EXPIRED,
    (ACTIVE, ChannelEvent.POSTED): ACTIVE,
    (ACTIVE, ChannelEvent.ACKED): ACTIVE,
    (ACTIVE, ChannelEvent.REJECTED): ACTIVE,
    (ACTIVE, ChannelEvent.WOUND_DOWN): CLOSING,
    (ACTIVE, ChannelEvent.CLOSED): CLOSED,
    (ACTIVE, ChannelEvent.EXPIRED): EXPIRED,
    (CLOSING, ChannelEvent.CLOSED): CLOSED,
    (CLOSING, ChannelEvent.EXPIRED): EXPIRED,
}
EVERY_STEP = [
    (state, event)
    for state in ChannelState
    for event in ChannelEvent
    # An active channel has its quorum: there is no way to cause another one.
    if (state, event) != (ACTIVE, ChannelEvent.QUORUM)
]


def _live_in(state: ChannelState) -> Live:
    """A channel of three that has come to `state`; in all but CLOSED somebody has not answered."""
    adapter = ClumsyAdapter()
    live = Live.create(adapter, ALICE, BOB, CAROL, required_acks=1)
    if state is not PENDING:
        live.post(ack(BOB))
    if state is CLOSING:
        adapter.result = AdapterResult(CLOSING, "winding down")
        live.post(text(ALICE, "that was it"))
        adapter.result = None
    if state.is_terminal:
        plan = live.machine.plan_end(state, "over", live.stamp())
        assert plan is not None
        live.apply(plan)
    assert live.state is state
    return live


def _cause(live: Live, event: ChannelEvent) -> None:
    """Make `event` happen to a channel, the way it happens in a hub."""
    adapter = live.machine.adapter
    assert isinstance(adapter, ClumsyAdapter)
    match event:
        case ChannelEvent.POSTED:
            live.post(text(ALICE))
        case ChannelEvent.ACKED if live.state is PENDING:
            # Not yet enough.
            live.machine.metadata = attrs.evolve(live.machine.metadata, required_acks=2)
            live.post(ack(CAROL))
        case ChannelEvent.ACKED | ChannelEvent.QUORUM:
            live.post(ack(CAROL))
        case ChannelEvent.REJECTED:
            live.post(reject(CAROL))
        case ChannelEvent.WOUND_DOWN:
            adapter.result = AdapterResult(CLOSING, "winding down")
            live.post(text(ALICE))
        case ChannelEvent.CLOSED | ChannelEvent.EXPIRED:
            state = CLOSED if event is ChannelEvent.CLOSED else EXPIRED
            plan = live.machine.plan_end(state, "over", live.stamp())
            if plan is None:
                raise ProtocolError("it has ended")
            live.apply(plan)


def test_the_table_is_what_it_says() -> None:
    assert {
        (state, event): following
        for state, events in CHANNEL.items()
        for event, following in events.items()
    } == LEGAL
    assert set(CHANNEL) == set(ChannelState)


@pytest.mark.parametrize(("state", "event"), EVERY_STEP)
def test_a_step_leads_where_the_table_says_or_is_refused(
    state: ChannelState, event: ChannelEvent
) -> None:
    live = _live_in(state)
    before = (live.machine.metadata, live.machine.state, list(live.log))
    following = LEGAL.get((state, event))
    if following is None:
        with pytest.raises(ProtocolError):
            _cause(live, event)
        assert (live.machine.metadata, live.machine.state, live.log) == before
    else:
        _cause(live, event)
        assert live.state is following


# Creating and agreeing


def test_creating_invites_each_invitee_alone_with_all_that_it_needs_to_decide() -> None:
    live = Live.create(
        DiscussionAdapter(), ALICE, BOB, CAROL, knobs={"a": 1}, labels={"intent": "talk"}
    )
    assert [(one.sender_id, one.audience, one.event_type) for one in live.log] == [
        (ALICE, (BOB,), EV_CHANNEL_INVITE),
        (ALICE, (CAROL,), EV_CHANNEL_INVITE),
    ]
    assert live.log[0].event_data == {
        "channel_id": "channel",
        "manifest_type": "discussion",
        "manifest_version": 1,
        "creator_id": ALICE,
        "knobs": {"a": 1},
        "labels": {"intent": "talk"},
    }
    assert live.log[0].created_at == CREATED_AT
    assert live.state is PENDING


def test_the_last_ack_opens_the_channel_to_everybody_its_creator_included() -> None:
    live = Live.create(DiscussionAdapter(), ALICE, BOB, CAROL)
    assert [one.event_type for one in live.post(ack(BOB)).envelopes] == [EV_CHANNEL_INVITE_ACK]
    plan = live.post(ack(CAROL))
    assert [one.event_type for one in plan.envelopes] == [EV_CHANNEL_INVITE_ACK, EV_CHANNEL_OPENED]
    assert plan.envelopes[1].audience == (ALICE, BOB, CAROL)
    assert live.state is ACTIVE
    assert live.machine.metadata.pending_acks == ()


def test_a_quorum_opens_the_channel_before_all_have_answered() -> None:
    live = Live.create(DiscussionAdapter(), ALICE, BOB, CAROL, required_acks=1)
    live.post(ack(CAROL))
    assert live.state is ACTIVE
    assert live.machine.metadata.pending_acks == (BOB,)
    # Who comes late is in, and the channel is not opened again.
    assert [one.event_type for one in live.post(ack(BOB)).envelopes] == [EV_CHANNEL_INVITE_ACK]


@pytest.mark.parametrize("required", [0, 5])
def test_odd_numbers_of_required_acks_do_not_hang_a_channel(required: int) -> None:
    live = Live.create(DiscussionAdapter(), ALICE, BOB, required_acks=required)
    if required:
        live.post(ack(BOB))
    assert live.state is ACTIVE
    assert EV_CHANNEL_OPENED in live.event_types


def test_a_reject_of_a_channel_that_others_have_opened_leaves_it_open() -> None:
    live = Live.create(ClumsyAdapter(), ALICE, BOB, CAROL, required_acks=1)
    live.post(ack(BOB))
    live.post(reject(CAROL))
    metadata = live.machine.metadata
    assert metadata.state is ACTIVE
    assert metadata.rejected_by == (CAROL,)
    assert metadata.pending_acks == ()


def test_one_reject_closes_a_pending_channel() -> None:
    live = Live.create(DiscussionAdapter(), ALICE, BOB, CAROL)
    live.post(ack(BOB))
    plan = live.post(reject(CAROL))
    assert [one.event_type for one in plan.envelopes] == [
        EV_CHANNEL_INVITE_REJECT,
        EV_CHANNEL_CLOSED,
    ]
    assert live.machine.metadata.rejected_by == (CAROL,)
    assert live.machine.metadata.pending_acks == ()
    assert live.machine.metadata.close_reason == "invite_rejected"
    assert live.machine.metadata.closed_at == CREATED_AT


def test_who_was_not_asked_cannot_answer() -> None:
    live = Live.create(DiscussionAdapter(), ALICE, BOB)
    for answer in (ack(ALICE), reject(ALICE), ack("mallory")):
        with pytest.raises(ProtocolError):
            live.post(answer)
    assert live.state is PENDING


def test_the_answer_of_an_invite_that_came_twice_is_one_answer() -> None:
    live = Live.create(ConsultingAdapter())
    invite_id = live.log[0].envelope_id
    given = live.post(ack(BOB, causation_id=invite_id)).envelopes[0]
    # What else was said because of the invite is no answer of it.
    live.post(envelope(BOB, "app.note", causation_id=invite_id))
    length = live.machine.length
    for machine in (live.machine, live.replayed()):
        again = machine.plan_post(ack(BOB, causation_id=invite_id), live.stamp())
        assert again.duplicate_of == given.envelope_id
        assert machine.length == length
        with pytest.raises(ProtocolError, match="waits for no answer"):
            machine.plan_post(reject(BOB, causation_id=invite_id), live.stamp())
    with pytest.raises(ProtocolError, match="waits for no answer"):
        live.post(ack(BOB))


def test_nothing_is_said_before_the_channel_is_open_but_tasks_go_by() -> None:
    live = Live.create(ConversationAdapter())
    with pytest.raises(ProtocolError, match="pending, not active"):
        live.post(text(ALICE))
    live.post(envelope(ALICE, "ag2.task.started"))
    assert live.state is PENDING


def test_a_stranger_says_nothing() -> None:
    with pytest.raises(ProtocolError, match="takes no part"):
        Live.opened(ConversationAdapter()).post(text("mallory"))


# Ending


def test_a_consult_closes_with_its_reply_in_one_plan() -> None:
    live = Live.opened(ConsultingAdapter())
    live.post(text(ALICE, "what?"))
    plan = live.post(text(BOB, "that."))
    assert [one.event_type for one in plan.envelopes] == [EV_TEXT, EV_CHANNEL_CLOSED]
    assert plan.metadata.state is CLOSED
    assert plan.metadata.close_reason == "consulting_complete"
    assert plan.envelopes[1].audience == (ALICE, BOB)
    assert plan.envelopes[1].event_data["reason"] == "consulting_complete"
    assert plan.envelopes[0].envelope_id < plan.envelopes[1].envelope_id


@pytest.mark.parametrize(
    ("state", "event_type"), [(CLOSED, EV_CHANNEL_CLOSED), (EXPIRED, EV_CHANNEL_EXPIRED)]
)
def test_the_end_is_told_to_everybody_once(state: ChannelState, event_type: str) -> None:
    live = Live.opened(ConversationAdapter())
    plan = live.machine.plan_end(state, "enough", live.stamp())
    assert plan is not None
    live.apply(plan)
    assert [(one.event_type, one.audience) for one in plan.envelopes] == [
        (event_type, (ALICE, BOB))
    ]
    assert live.machine.metadata.close_reason == "enough"
    assert live.machine.plan_end(CLOSED, "again", live.stamp()) is None
    with pytest.raises(ProtocolError, match=f"is {state}: enough"):
        live.post(text(ALICE))


def test_a_plan_changes_nothing_until_it_is_applied() -> None:
    live = Live.opened(ConsultingAdapter())
    before = (live.machine.metadata, live.machine.state, live.machine.length)
    live.machine.plan_post(text(ALICE, idempotency_key="k"), live.stamp())
    live.machine.plan_end(CLOSED, "x", live.stamp())
    assert (live.machine.metadata, live.machine.state, live.machine.length) == before
    # Nor is its key taken.
    assert not live.machine.plan_post(
        text(ALICE, "?", idempotency_key="k"), live.stamp()
    ).is_duplicate


# Once


def test_the_same_key_and_content_is_the_first_post() -> None:
    live = Live.opened(ConversationAdapter())
    first = live.post(text(ALICE, "a", idempotency_key="k")).envelopes[0]
    again = live.post(text(ALICE, "a", idempotency_key="k"))
    assert again.duplicate_of == first.envelope_id
    assert live.event_types.count(EV_TEXT) == 1
    # The key is the sender's own, and a retry may carry another trace.
    assert not live.post(text(BOB, "a", idempotency_key="k")).is_duplicate
    assert live.post(text(ALICE, "a", idempotency_key="k", trace_id="t")).is_duplicate


@pytest.mark.parametrize(
    "changed",
    [
        {"event_data": {"text": "b"}},
        {"event_type": "app.other"},
        {"audience": (BOB,)},
        {"causation_id": "x"},
        {"task_id": "t"},
        {"priority": "urgent"},
        {"depth": 1},
        {"ttl_seconds": 5},
    ],
    ids=lambda it: next(iter(it)),
)
def test_the_same_key_with_other_content_is_refused(changed: dict[str, Any]) -> None:
    live = Live.opened(ConversationAdapter())
    first = text(ALICE, "a", idempotency_key="k")
    first_id = live.post(first).envelopes[0].envelope_id
    with pytest.raises(ProtocolError, match="used for other content") as caught:
        live.post(attrs.evolve(first, **changed))
    assert first_id in str(caught.value)


def test_the_order_of_keys_in_a_json_object_is_no_content() -> None:
    live = Live.opened(ConversationAdapter())
    live.post(
        envelope(ALICE, "app.x", event_data={"a": 1, "b": {"c": 2, "d": 3}}, idempotency_key="k")
    )
    again = envelope(
        ALICE, "app.x", event_data={"b": {"d": 3, "c": 2}, "a": 1}, idempotency_key="k"
    )
    assert live.post(again).is_duplicate


def test_a_retry_is_answered_though_the_channel_has_closed_meanwhile() -> None:
    live = Live.opened(ConsultingAdapter())
    live.post(text(ALICE, "what?"))
    reply_id = live.post(text(BOB, "that.", idempotency_key="k")).envelopes[0].envelope_id
    assert live.state is CLOSED
    assert live.post(text(BOB, "that.", idempotency_key="k")).duplicate_of == reply_id


def test_keys_and_causes_are_found_again_after_a_replay() -> None:
    live = Live.opened(ConversationAdapter())
    question = live.post(text(ALICE, idempotency_key="k")).envelopes[0]
    answer = live.post(text(BOB, causation_id=question.envelope_id)).envelopes[0]
    live.post(text(BOB, "more", causation_id=question.envelope_id))
    for machine in (live.machine, live.replayed()):
        position = machine.position_by_cause(BOB, question.envelope_id)
        assert position is not None
        assert live.log[position] == answer
        assert machine.position_by_cause(ALICE, question.envelope_id) is None
        again = machine.plan_post(text(ALICE, idempotency_key="k"), live.stamp())
        assert again.duplicate_of == question.envelope_id


# Adapters with bugs


@pytest.mark.parametrize("step", ["validate_send", "fold", "on_accepted"])
def test_an_adapter_that_raises_costs_one_post(step: str) -> None:
    adapter = ClumsyAdapter(step, only_for="app.poison")
    live = Live.opened(adapter)
    length = live.machine.length
    with pytest.raises(ProtocolError, match=f"cannot take a 'app.poison'.*a bug in {step}"):
        live.post(envelope(ALICE, "app.poison"))
    assert live.machine.length == length
    live.post(text(ALICE))
    assert live.event_types[-1] == EV_TEXT


@pytest.mark.parametrize("result", [AdapterResult(ACTIVE), AdapterResult(PENDING), "closed", 7])
def test_an_adapter_that_asks_for_what_cannot_be_costs_one_post(result: Any) -> None:
    adapter = ClumsyAdapter(result=result)
    live = Live.opened(adapter)
    with pytest.raises(ProtocolError):
        live.post(text(ALICE))
    adapter.result = None
    live.post(text(ALICE))


@pytest.mark.parametrize("step", ["validate_create", "initial_state", "fold"])
def test_an_adapter_that_raises_at_birth_refuses_the_channel(step: str) -> None:
    adapter = ClumsyAdapter(step)
    with pytest.raises(ProtocolError, match=f"a bug in {step}"):
        ChannelMachine.plan_create(metadata(adapter), adapter, stamps()())


def test_a_channel_can_always_be_ended_though_its_adapter_cannot_fold_the_end() -> None:
    adapter = ClumsyAdapter("fold", only_for=EV_CHANNEL_EXPIRED)
    live = Live.opened(adapter)
    plan = live.machine.plan_end(EXPIRED, "ttl", live.stamp())
    assert plan is not None
    live.apply(plan)
    assert live.state is EXPIRED
    assert live.event_types[-1] == EV_CHANNEL_EXPIRED
    assert live.replayed().metadata.is_terminal


def test_an_adapter_that_cannot_say_whose_turn_it_is_has_no_turns_and_no_sends() -> None:
    adapter = ClumsyAdapter()
    live = Live.opened(adapter)
    adapter.failing = {"expected_next", "validate_send"}
    assert live.machine.expected_next() is None
    assert live.machine.can_send(ALICE, EV_TEXT) is False


# Damage


def test_an_envelope_that_cannot_be_folded_damages_its_channel_and_nothing_more() -> None:
    live = Live.opened(ClumsyAdapter())
    live.post(envelope(ALICE, "app.poison", idempotency_key="p"))
    live.post(text(ALICE, idempotency_key="k"))
    live.machine.adapter = ClumsyAdapter("fold", only_for="app.poison")
    machine = live.replayed()
    assert machine.length == len(live.log)
    assert "record 3" in machine.damage
    assert live.log[3].envelope_id in machine.damage
    with pytest.raises(ProtocolError, match="damaged"):
        machine.plan_post(text(ALICE), live.stamp())
    assert machine.can_send(ALICE, EV_TEXT) is False
    assert machine.expected_next() is None
    # What was said before is still known by its key, and the channel can be closed.
    for retry in (
        text(ALICE, idempotency_key="k"),
        envelope(ALICE, "app.poison", idempotency_key="p"),
    ):
        assert machine.plan_post(retry, live.stamp()).is_duplicate
    assert machine.plan_end(CLOSED, "damaged", live.stamp()) is not None


def test_the_first_damage_is_the_one_that_is_told() -> None:
    live = Live.opened(ConversationAdapter())
    machine = live.replayed()
    machine.replay_unreadable("torn")
    machine.replay_unreadable("also torn")
    assert machine.damage == f"record {len(live.log)}: torn"
    assert machine.length == len(live.log) + 2


def test_an_adapter_that_cannot_begin_damages_its_channel_and_nothing_more() -> None:
    adapter = ClumsyAdapter("initial_state")
    machine = ChannelMachine(metadata(adapter, state=ACTIVE), adapter)
    assert "a bug in initial_state" in machine.damage
    machine.replay(text(ALICE, envelope_id="1"))
    assert machine.length == 1
    assert machine.expected_next() is None
    assert machine.can_send(ALICE, EV_TEXT) is False
    assert machine.plan_end(CLOSED, "damaged", stamps()()) is not None


# What may be asked


def test_can_send_says_what_a_post_would_meet() -> None:
    live = Live.opened(ConsultingAdapter())
    assert live.machine.can_send(ALICE, EV_TEXT)
    assert not live.machine.can_send(BOB, EV_TEXT)
    assert live.machine.can_send(BOB, "app.note")
    assert not live.machine.can_send("mallory", "app.note")


def test_nobody_is_expected_where_the_channel_is_not_active() -> None:
    live = Live.create(ConsultingAdapter())
    assert live.machine.expected_next() is None
    live.post(ack(BOB))
    turn = live.machine.expected_next()
    assert turn is not None
    assert turn.agent_id == ALICE


# Live and replayed agree

_senders = st.sampled_from([ALICE, BOB, CAROL, "mallory"])
_posts = st.lists(
    st.one_of(
        st.builds(
            text,
            _senders,
            st.sampled_from(["a", "b"]),
            idempotency_key=st.none() | st.sampled_from(["k", "l"]),
            causation_id=st.none() | st.sampled_from([f"{n:032x}" for n in range(1, 6)]),
            audience=st.none() | st.just((BOB,)),
        ),
        st.builds(ack, _senders, causation_id=st.none() | st.just(f"{1:032x}")),
        st.builds(reject, _senders),
        st.builds(
            envelope,
            _senders,
            st.sampled_from(["ag2.packet", "ag2.context.set", "ag2.task.started"]),
        ),
    ),
    max_size=20,
)


@pytest.mark.parametrize(
    ("adapter", "members"),
    [
        (ConsultingAdapter(), (ALICE, BOB)),
        (ConversationAdapter(), (ALICE, BOB)),
        (DiscussionAdapter(), (ALICE, BOB, CAROL)),
    ],
    ids=lambda it: getattr(getattr(it, "manifest", None), "type", ""),
)
@given(
    posts=_posts, required_acks=st.none() | st.integers(0, 2), ends=st.none() | st.integers(0, 20)
)
def test_a_replayed_log_gives_the_state_that_it_was_written_in(
    adapter: ChannelAdapter,
    members: tuple[str, ...],
    posts: list[Envelope],
    required_acks: int | None,
    ends: int | None,
) -> None:
    live = Live.create(adapter, *members, required_acks=required_acks)
    for number, wanted in enumerate(posts):
        before = (live.machine.metadata, live.machine.state, live.machine.length)
        try:
            live.post(wanted)
        except ProtocolError:
            assert (live.machine.metadata, live.machine.state, live.machine.length) == before
        if number == ends:
            plan = live.machine.plan_end(EXPIRED, "ttl", live.stamp())
            if plan is not None:
                live.apply(plan)
    machine = live.replayed()
    assert machine.damage == ""
    assert machine.state == live.machine.state
    assert machine.length == live.machine.length == len(live.log)
    assert machine.expected_next() == live.machine.expected_next()
    log_ids = [record.envelope_id for record in live.log]
    assert log_ids == sorted(set(log_ids))
    for record in live.log:
        if record.idempotency_key is not None:
            retry = attrs.evolve(record, envelope_id="", created_at="")
            for each in (machine, live.machine):
                assert each.plan_post(retry, live.stamp()).duplicate_of == record.envelope_id
        if record.causation_id is not None:
            cause = (record.sender_id, record.causation_id)
            assert machine.position_by_cause(*cause) == live.machine.position_by_cause(*cause)
    if live.state.is_terminal:
        assert live.event_types[-1] in (EV_CHANNEL_CLOSED, EV_CHANNEL_EXPIRED)


def test_key_is_known_once_something_was_posted_under_it() -> None:
    live = Live.opened(ConversationAdapter())
    said = text(ALICE, idempotency_key="k")
    assert not live.machine.knows_key_of(said)
    live.post(said)
    assert live.machine.knows_key_of(said)
    # Other words under the same key are no new post either; other senders have other keys.
    assert live.machine.knows_key_of(text(ALICE, "other", idempotency_key="k"))
    assert not live.machine.knows_key_of(text(BOB, idempotency_key="k"))
    assert not live.machine.knows_key_of(text(ALICE))
