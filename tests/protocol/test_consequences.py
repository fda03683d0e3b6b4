"""What follows when an expectation is not met: said, hidden, removed, closed, in one plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from trio_hub.errors import AccessDeniedError, ProtocolError
from trio_hub.protocol.adapters import (
    AdapterResult,
    ChannelAdapter,
    DiscussionAdapter,
    WorkflowAdapter,
    left_by,
)
from trio_hub.protocol.expectations import (
    Action,
    CloseChannel,
    Consequences,
    ExpectationRegistry,
    HideParticipants,
    RemoveParticipants,
    TellParticipants,
    Violation,
    plan_violation,
)
from trio_hub.protocol.workflow import (
    AgentTarget,
    FromSpeaker,
    RoundRobinTarget,
    Transition,
    TransitionGraph,
)
from trio_hub.records import (
    EV_CHANNEL_CLOSED,
    EV_CHANNEL_OPENED,
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_EXPECTATION_VIOLATED,
    ChannelState,
)

from .channels import ALICE, BOB, CAROL, ClumsyAdapter, Live, ack, text
from .test_expectations import adapter_with, expect

DAVE = "dave"
EXPECTED = expect("turn_within", "whatever")
ACTIVE, CLOSED = ChannelState.ACTIVE, ChannelState.CLOSED


def opened(adapter: ChannelAdapter | None = None, *agent_ids: str, **fields: Any) -> Live:
    rules = adapter_with(adapter or DiscussionAdapter(), EXPECTED)
    return Live.opened(rules, *(agent_ids or (ALICE, BOB, CAROL)), **fields)


def violated(live: Live, *actions: Action, by: tuple[str, ...] = (BOB,)) -> Consequences:
    violation = Violation(expectation=EXPECTED, violator_ids=by, detail={"elapsed_seconds": 3.0})
    firings = live.machine.firings.with_fired(0, [(it, "why") for it in by])
    consequences = plan_violation(live.machine, violation, actions, firings, live.stamp())
    live.apply(consequences.plan)
    assert live.machine.firings == consequences.plan.firings
    assert live.machine.firings.has_fired(0, by[0], "why")
    assert not live.machine.firings.has_fired(0, by[0], "why not")
    agrees(live)
    return consequences


def agrees(live: Live) -> None:
    """A hub that has restarted comes to the same."""
    again = live.replayed()
    assert again.damage == ""
    assert (again.state, again.hidden) == (live.machine.state, live.machine.hidden)
    assert again.expected_next() == live.machine.expected_next()


def actions_of(name: str, *violators: str) -> tuple[Action, ...]:
    live = opened()
    violation = Violation(expectation=EXPECTED, violator_ids=violators)
    return tuple(ExpectationRegistry().handler(name).actions(violation, live.machine.metadata))


def test_what_the_handlers_want() -> None:
    assert actions_of("audit", BOB) == ()
    assert actions_of("warn", BOB) == (TellParticipants((BOB,)),)
    assert actions_of("warn") == (TellParticipants(),)
    assert actions_of("notify_channel", BOB) == (TellParticipants(),)
    assert actions_of("hide", BOB) == (HideParticipants((BOB,)),)
    assert actions_of("remove", BOB) == (RemoveParticipants((BOB,)),)
    assert actions_of("auto_close", BOB) == (CloseChannel("expectation_violated:turn_within"),)


@pytest.mark.parametrize(
    "action",
    [
        lambda: TellParticipants("bob"),  # type: ignore[arg-type]
        lambda: HideParticipants((7,)),  # type: ignore[arg-type]
        lambda: RemoveParticipants(None),  # type: ignore[arg-type]
        lambda: CloseChannel(7),  # type: ignore[arg-type]
    ],
)
def test_an_action_that_makes_no_sense_cannot_be_made(action: Callable[[], Action]) -> None:
    with pytest.raises(TypeError):
        action()


def test_what_is_no_action_is_refused() -> None:
    with pytest.raises(TypeError, match="'close' is no action"):
        violated(opened(), "close")  # type: ignore[arg-type]


def test_only_those_that_take_part_are_told() -> None:
    live = opened()
    plan = violated(live, TellParticipants(("mallory", CAROL))).plan
    assert [it.audience for it in plan.envelopes] == [(CAROL,)]
    assert violated(opened(), TellParticipants(("mallory",))).plan.envelopes == ()
    plan = violated(opened(), RemoveParticipants((BOB,)), TellParticipants((BOB,))).plan
    assert [it.event_type for it in plan.envelopes] == [EV_CHANNEL_PARTICIPANT_REMOVED]


def test_nothing_to_do_is_still_noted() -> None:
    live = opened()
    before = live.machine.metadata
    consequences = violated(live)
    assert consequences.plan.envelopes == ()
    assert live.machine.metadata is before


@pytest.mark.parametrize(("told", "audience"), [(None, (ALICE, BOB, CAROL)), ((BOB,), (BOB,))])
def test_a_notice_is_as_ag2_writes_it(
    told: tuple[str, ...] | None, audience: tuple[str, ...]
) -> None:
    live = opened()
    violated(live, TellParticipants(told))
    notice = live.log[-1]
    assert (notice.event_type, notice.audience) == (EV_EXPECTATION_VIOLATED, audience)
    assert notice.sender_id == ALICE
    assert notice.event_data == {
        "expectation": "turn_within",
        "violators": [BOB],
        "detail": {"elapsed_seconds": 3.0},
    }


def test_closing_says_so_to_everybody() -> None:
    live = opened()
    violated(live, TellParticipants(), CloseChannel("because"))
    assert live.event_types[-2:] == [EV_EXPECTATION_VIOLATED, EV_CHANNEL_CLOSED]
    assert (live.state, live.machine.metadata.close_reason) == (CLOSED, "because")


# Hidden


def test_who_is_hidden_is_passed_over_and_may_not_post() -> None:
    live = opened()
    live.post(text(ALICE))
    consequences = violated(live, HideParticipants((BOB, "mallory")))
    assert (consequences.hidden, consequences.removed) == ((BOB,), ())
    said = live.log[-1]
    assert said.event_type == EV_CHANNEL_PARTICIPANT_HIDDEN
    assert said.audience == (ALICE, BOB, CAROL)
    assert said.event_data["reason"] == "expectation_violated:turn_within"
    assert left_by(said) == (BOB,)
    assert live.machine.hidden == {BOB}
    assert BOB in live.machine.metadata.participant_ids
    turn = live.machine.expected_next()
    assert turn is not None
    assert (turn.agent_id, turn.triggering_envelope_id) == (CAROL, said.envelope_id)
    with pytest.raises(AccessDeniedError, match="bob is hidden"):
        live.post(text(BOB))
    assert not live.machine.can_send(BOB, "app.note")
    live.post(text(CAROL))
    live.post(text(ALICE))
    assert live.machine.can_send(CAROL, "ag2.msg.text")
    agrees(live)


def test_a_post_from_before_is_still_known_by_its_key() -> None:
    live = opened()
    live.post(text(ALICE))
    first = live.post(text(BOB, idempotency_key="k")).envelopes[0].envelope_id
    violated(live, HideParticipants((BOB,)))
    assert live.post(text(BOB, idempotency_key="k")).duplicate_of == first


def test_nobody_is_hidden_twice() -> None:
    live = opened(None, ALICE, BOB, CAROL, DAVE)
    violated(live, HideParticipants((BOB,)))
    consequences = violated(live, HideParticipants((BOB,)))
    assert (consequences.hidden, consequences.plan.envelopes) == ((), ())


def test_a_channel_in_which_too_few_are_heard_is_closed() -> None:
    live = opened()
    violated(live, HideParticipants((BOB,)))
    assert live.state is ACTIVE
    violated(live, HideParticipants((CAROL,)), by=(CAROL,))
    assert (live.state, live.machine.metadata.close_reason) == (CLOSED, "too_few_participants")
    assert live.event_types[-2:] == [EV_CHANNEL_PARTICIPANT_HIDDEN, EV_CHANNEL_CLOSED]


def test_an_invitee_that_is_hidden_may_still_accept() -> None:
    live = Live.create(adapter_with(DiscussionAdapter(), EXPECTED), ALICE, BOB, CAROL)
    violated(live, HideParticipants((BOB,)))
    live.post(ack(BOB))
    live.post(ack(CAROL))
    assert live.state is ACTIVE


# Removed


def test_who_is_removed_takes_no_part_any_more() -> None:
    live = opened()
    live.post(text(ALICE))
    consequences = violated(live, RemoveParticipants((BOB,)), HideParticipants((BOB,)))
    assert (consequences.hidden, consequences.removed) == ((), (BOB,))
    assert live.machine.metadata.participant_ids == (ALICE, CAROL)
    assert [it.agent_id for it in live.machine.firings.removed] == [BOB]
    said = live.log[-1]
    assert (said.event_type, said.audience) == (EV_CHANNEL_PARTICIPANT_REMOVED, (ALICE, CAROL))
    with pytest.raises(ProtocolError, match="takes no part"):
        live.post(text(BOB))
    assert not live.machine.can_send(BOB, "app.note")
    live.post(text(CAROL))
    live.post(text(ALICE))
    agrees(live)


@pytest.mark.parametrize("gone", [ALICE, BOB, CAROL, DAVE])
@pytest.mark.parametrize("spoken", range(5))
def test_a_discussion_goes_on_with_the_next_whoever_leaves_when(gone: str, spoken: int) -> None:
    members = (ALICE, BOB, CAROL, DAVE)
    live = opened(None, *members)
    for number in range(spoken):
        live.post(text(members[number % 4]))
    last = live.machine.state.last_envelope_id
    place = spoken % 4
    upcoming = [*members[place:], *members[:place]]
    violated(live, RemoveParticipants((gone,)), by=(gone,))
    # The turn was given by whoever has left, or it stays where it was.
    moved = upcoming[0] == gone
    assert live.machine.state.last_envelope_id == (live.log[-1].envelope_id if moved else last)
    for speaker in [it for it in upcoming if it != gone] * 2:
        turn = live.machine.expected_next()
        assert turn is not None
        assert turn.agent_id == speaker
        live.post(text(speaker))
    agrees(live)


def test_a_channel_with_too_few_left_is_closed_whoever_they_are() -> None:
    live = opened(None, ALICE, BOB)
    violated(live, RemoveParticipants((ALICE,)), by=(ALICE,))
    assert (live.state, live.machine.metadata.close_reason) == (CLOSED, "too_few_participants")
    everybody = opened()
    violated(everybody, RemoveParticipants((ALICE, BOB, CAROL)))
    assert everybody.state is CLOSED
    assert everybody.machine.metadata.participants == ()


def test_a_pending_channel_opens_when_those_that_are_left_have_accepted() -> None:
    live = Live.create(adapter_with(DiscussionAdapter(), EXPECTED), ALICE, BOB, CAROL)
    live.post(ack(CAROL))
    violated(live, RemoveParticipants((BOB,)))
    assert live.state is ACTIVE
    assert live.event_types[-1] == EV_CHANNEL_OPENED
    assert live.machine.metadata.pending_acks == ()


# Workflows


GRAPH = TransitionGraph(
    initial_speaker=ALICE,
    transitions=(Transition(when=FromSpeaker(ALICE), then=AgentTarget(CAROL)),),
    default_target=RoundRobinTarget(),
)


def workflow() -> Live:
    return opened(WorkflowAdapter(), ALICE, BOB, CAROL, knobs={"graph": GRAPH.to_dict()})


@pytest.mark.parametrize("leaving", [RemoveParticipants((CAROL,)), HideParticipants((CAROL,))])
def test_a_workflow_whose_next_speaker_leaves_is_closed(leaving: Action) -> None:
    live = workflow()
    live.post(text(ALICE))
    violated(live, leaving, by=(CAROL,))
    assert (live.state, live.machine.metadata.close_reason) == (CLOSED, "participant_left")


def test_a_workflow_goes_on_without_somebody_until_its_script_wants_them() -> None:
    live = workflow()
    violated(live, RemoveParticipants((BOB,)))
    live.post(text(ALICE))
    # Round and round: after carol, alice.
    live.post(text(CAROL))
    assert live.machine.state.next_speaker_id == ALICE
    other = workflow()
    violated(other, HideParticipants((CAROL,)), by=(CAROL,))
    assert other.state is ACTIVE
    other.post(text(ALICE))
    assert (other.state, other.machine.metadata.close_reason) == (CLOSED, "participant_left")
    agrees(other)


# Adapters


def test_an_adapter_may_end_a_channel_that_somebody_has_left() -> None:
    ends = ClumsyAdapter(result=AdapterResult(CLOSED, "not without them"))
    three = attrs.evolve(ends.manifest, expectations=(EXPECTED,))
    ends.manifest = attrs.evolve(three, participants=attrs.evolve(three.participants, max=None))  # type: ignore[misc]
    live = Live.opened(ends, ALICE, BOB, CAROL)
    violated(live, RemoveParticipants((BOB,)))
    assert (live.state, live.machine.metadata.close_reason) == (CLOSED, "not without them")


def test_what_an_adapter_cannot_take_is_not_planned() -> None:
    clumsy = ClumsyAdapter("fold", only_for=EV_EXPECTATION_VIOLATED)
    clumsy.manifest = attrs.evolve(clumsy.manifest, expectations=(EXPECTED,))  # type: ignore[misc]
    live = Live.opened(clumsy)
    with pytest.raises(ProtocolError, match=r"cannot take a 'ag2\.expectation\.violated'"):
        violated(live, TellParticipants())
