"""What each type of channel promises, turn by turn, and what goes by beside the turns."""

from __future__ import annotations

import attrs
import pytest

from trio_hub.errors import NotFoundError, ProtocolError
from trio_hub.protocol.adapters import (
    AdapterRegistry,
    ChannelAdapter,
    ConsultingAdapter,
    ConversationAdapter,
    DiscussionAdapter,
    ExpectedTurn,
    WorkflowAdapter,
)
from trio_hub.protocol.adapters.base import is_spoken, participant_with
from trio_hub.protocol.workflow import TransitionGraph
from trio_hub.records import (
    EV_CONTEXT_SET,
    EV_PACKET,
    EV_TEXT,
    ChannelManifest,
    ChannelState,
    ParticipantRole,
)

from .channels import ALICE, BOB, CAROL, ClumsyAdapter, Live, envelope, metadata, text

BUILTINS: list[ChannelAdapter] = [
    ConsultingAdapter(),
    ConversationAdapter(),
    DiscussionAdapter(),
    WorkflowAdapter(),
]
#: What one needs to be opened; the others pass it over.
KNOBS = {"graph": TransitionGraph.round_robin([ALICE, BOB]).to_dict()}


def _turn(live: Live) -> ExpectedTurn | None:
    return live.machine.expected_next()


# Consulting


def test_a_consult_is_one_question_and_one_reply() -> None:
    live = Live.opened(ConsultingAdapter())
    assert _turn(live) == ExpectedTurn(ALICE, None)
    question = live.post(text(ALICE, "what?")).envelopes[0]
    assert _turn(live) == ExpectedTurn(BOB, question.envelope_id)
    live.post(text(BOB, "that."))
    assert live.state is ChannelState.CLOSED
    assert live.machine.metadata.close_reason == "consulting_complete"
    assert _turn(live) is None


def test_in_a_consult_nobody_speaks_out_of_turn() -> None:
    live = Live.opened(ConsultingAdapter())
    with pytest.raises(ProtocolError, match=f"waits for the question of {ALICE}, not for {BOB}"):
        live.post(text(BOB))
    live.post(text(ALICE))
    with pytest.raises(ProtocolError, match=f"waits for the reply of {BOB}, not for {ALICE}"):
        live.post(text(ALICE, "and another thing"))


def test_a_complete_consult_says_so() -> None:
    live = Live.opened(ConsultingAdapter())
    live.post(text(ALICE))
    live.post(text(BOB))
    open_again = attrs.evolve(live.machine.metadata, state=ChannelState.ACTIVE)
    with pytest.raises(ProtocolError, match=r"is complete.*open another"):
        ConsultingAdapter().validate_send(open_again, text(ALICE), live.machine.state)


@pytest.mark.parametrize("event_type", [EV_PACKET, EV_CONTEXT_SET, "app.note", "ag2.task.progress"])
def test_in_a_consult_only_text_counts(event_type: str) -> None:
    live = Live.opened(ConsultingAdapter())
    before = live.machine.state
    live.post(envelope(BOB, event_type))
    assert live.machine.state == before
    live.post(text(ALICE))
    live.post(envelope(BOB, event_type))
    assert live.state is ChannelState.ACTIVE


def test_a_consult_is_between_two_of_which_one_opened_it() -> None:
    adapter = ConsultingAdapter()
    with pytest.raises(ProtocolError, match="got 3 participants"):
        adapter.validate_create(metadata(adapter, ALICE, BOB, CAROL))
    with pytest.raises(ProtocolError, match="got 1 participants"):
        adapter.validate_create(metadata(adapter, ALICE))
    adapter.validate_create(metadata(adapter))


# Conversation


def test_in_a_conversation_both_speak_as_they_like() -> None:
    live = Live.opened(ConversationAdapter())
    for sender in (BOB, BOB, ALICE, BOB):
        live.post(text(sender))
    last = live.post(envelope(ALICE, EV_PACKET)).envelopes[0]
    assert _turn(live) is None
    assert live.machine.state.turn_count == 5
    assert live.machine.state.last_speaker_id == ALICE
    assert live.machine.state.last_envelope_id == last.envelope_id
    live.post(envelope(BOB, "app.note"))
    assert live.machine.state.turn_count == 5


def test_a_conversation_is_between_two() -> None:
    adapter = ConversationAdapter()
    with pytest.raises(ProtocolError, match="a discussion takes more"):
        adapter.validate_create(metadata(adapter, ALICE, BOB, CAROL))
    adapter.validate_create(metadata(adapter))


# Discussion


def test_a_discussion_goes_round_and_round_from_its_creator() -> None:
    live = Live.opened(DiscussionAdapter(), ALICE, BOB, CAROL)
    trigger = None
    for sender in (ALICE, BOB, CAROL, ALICE):
        assert _turn(live) == ExpectedTurn(sender, trigger)
        for other in {ALICE, BOB, CAROL} - {sender}:
            with pytest.raises(ProtocolError, match=f"waits for {sender}, not for {other}"):
                live.post(text(other))
        trigger = live.post(text(sender)).envelopes[0].envelope_id
    assert live.state is ChannelState.ACTIVE


def test_a_discussion_begins_with_its_creator_wherever_that_is_listed() -> None:
    adapter = DiscussionAdapter()
    drawn = metadata(adapter, ALICE, BOB, CAROL, creator_id=BOB)
    assert adapter.initial_state(drawn).order == (BOB, CAROL, ALICE)
    shuffled = attrs.evolve(drawn, participants=drawn.participants[::-1])
    assert adapter.initial_state(shuffled).order == (BOB, CAROL, ALICE)


@pytest.mark.parametrize("event_type", [EV_PACKET, EV_CONTEXT_SET, "app.note"])
def test_in_a_discussion_only_text_takes_a_turn(event_type: str) -> None:
    live = Live.opened(DiscussionAdapter(), ALICE, BOB, CAROL)
    live.post(envelope(CAROL, event_type))
    assert _turn(live) == ExpectedTurn(ALICE, None)


def test_a_discussion_wants_company_and_an_order_that_exists() -> None:
    adapter = DiscussionAdapter()
    with pytest.raises(ProtocolError, match="two or more"):
        adapter.validate_create(metadata(adapter, ALICE))
    with pytest.raises(ProtocolError, match=r"ordering='chaos'.*round_robin"):
        adapter.validate_create(metadata(adapter, ALICE, BOB, knobs={"ordering": "chaos"}))
    adapter.validate_create(metadata(adapter, ALICE, BOB, knobs={"ordering": "round_robin"}))


# All of them


@pytest.mark.parametrize("adapter", BUILTINS, ids=lambda it: it.manifest.type)
def test_an_adapters_first_state_is_what_it_says_its_states_are(adapter: ChannelAdapter) -> None:
    state = adapter.initial_state(metadata(adapter, knobs=KNOBS))
    assert isinstance(state, adapter.state_type)
    assert attrs.has(adapter.state_type)
    assert adapter.manifest.participants.min == 2


@pytest.mark.parametrize("adapter", BUILTINS, ids=lambda it: it.manifest.type)
def test_a_fold_changes_no_state_in_place(adapter: ChannelAdapter) -> None:
    state = adapter.initial_state(metadata(adapter, knobs=KNOBS))
    before = attrs.asdict(state)
    assert adapter.fold(text(ALICE, envelope_id="1"), state) != state
    assert attrs.asdict(state) == before


def test_text_and_packets_are_spoken_and_nothing_else() -> None:
    assert [is_spoken(envelope(ALICE, it)) for it in (EV_TEXT, EV_PACKET, "app.x")] == [
        True,
        True,
        False,
    ]


def test_a_role_that_nobody_has_is_nobody() -> None:
    drawn = metadata(ConsultingAdapter())
    assert participant_with(drawn, ParticipantRole.RESPONDENT) == BOB
    assert participant_with(drawn, ParticipantRole.PARTICIPANT) is None


# The registry


def test_the_registry_knows_what_ships_and_names_it_when_asked_for_more() -> None:
    registry = AdapterRegistry.with_builtins()
    for adapter in BUILTINS:
        assert registry.for_manifest(adapter.manifest).manifest == adapter.manifest
    assert {one.manifest.type for one in registry} >= {
        "consulting",
        "conversation",
        "discussion",
        "workflow",
    }
    with pytest.raises(NotFoundError, match=r"'auction' v1; this hub knows .*consulting v1"):
        registry.get("auction", 1)
    with pytest.raises(NotFoundError, match="'consulting' v9"):
        registry.get("consulting", 9)
    with pytest.raises(NotFoundError, match="knows none"):
        AdapterRegistry().get("consulting", 1)


def test_a_later_adapter_takes_the_place_of_an_earlier_one_of_its_type_and_version() -> None:
    mine = ClumsyAdapter()
    registry = AdapterRegistry.with_builtins([mine])
    assert registry.get("conversation", 1) is mine


def test_two_versions_live_side_by_side() -> None:
    class Newer(ClumsyAdapter):
        manifest = ChannelManifest(type="conversation", version=2)  # type: ignore[misc]

    registry = AdapterRegistry.with_builtins([Newer()])
    assert registry.get("conversation", 1).manifest.version == 1
    assert registry.get("conversation", 2).manifest.version == 2


def test_in_a_log_that_goes_on_behind_the_reply_nothing_changes() -> None:
    # An adapter takes whatever stands in a log, also what it would not allow today.
    live = Live.opened(ConsultingAdapter())
    live.post(text(ALICE, "question"))
    live.post(text(BOB, "reply"))
    state = live.machine.state
    assert ConsultingAdapter().fold(text(ALICE, "and another thing"), state) == state
