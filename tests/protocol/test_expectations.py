"""Expectations: what is awaited, when it is overdue, and that nothing fires twice."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import Any

import attrs
import pytest

from trio_hub.errors import NotFoundError, ProtocolError
from trio_hub.ids import iso_from_seconds, seconds_from_iso
from trio_hub.protocol.adapters import (
    ChannelAdapter,
    ConsultingAdapter,
    ConversationAdapter,
    DiscussionAdapter,
)
from trio_hub.protocol.expectations import (
    Awaited,
    ExpectationEvaluator,
    ExpectationRegistry,
    Firings,
    Moment,
    Outlook,
    Pulse,
    Violation,
    ViolationHandler,
    Watched,
    Watchlist,
    look,
)
from trio_hub.protocol.plan import Stamp
from trio_hub.records import (
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_CONTEXT_SET,
    EV_EXPECTATION_VIOLATED,
    EV_PACKET,
    ChannelMetadata,
    ChannelState,
    Expectation,
    ParticipantRole,
)

from ..counted import compared_at_most, many_ids
from .channels import ALICE, BOB, CAROL, CREATED_AT, Live, ack, envelope, metadata, stamps, text

BEGAN = seconds_from_iso(CREATED_AT)


def adapter_with(adapter: ChannelAdapter, *expectations: Expectation) -> Any:
    """The same rules, with other expectations."""

    class Other(type(adapter)):  # type: ignore[misc]
        manifest = attrs.evolve(adapter.manifest, expectations=expectations)

    return Other()


def expect(name: str, handler: str = "audit", **fields: Any) -> Expectation:
    params = {} if "seconds" not in fields else {"seconds": fields.pop("seconds")}
    return Expectation(name=name, on_violation=handler, params=params, **fields)


class Clocked:
    """A live channel with a clock of its own."""

    def __init__(self, adapter: ChannelAdapter, *agent_ids: str, opened: bool = True) -> None:
        self.now = BEGAN
        self.live = Live.create(adapter, *agent_ids)
        ids = stamps()

        def stamp() -> Stamp:
            return Stamp(
                lambda: f"{self.live.machine.length:08x}{ids().mint()}"[:32],
                iso_from_seconds(self.now),
            )

        self.live.stamp = stamp
        self.firings = Firings()
        self.broken: list[tuple[str, Exception]] = []
        if opened:
            for invitee in self.live.machine.metadata.pending_acks:
                self.live.post(ack(invitee))

    def at(self, seconds: float) -> Clocked:
        self.now = BEGAN + seconds
        return self

    def says(self, agent_id: str, words: str = "hi", **fields: Any) -> str:
        return self.live.post(text(agent_id, words, **fields)).envelopes[0].envelope_id

    @property
    def watched(self) -> Watched:
        machine = self.live.machine
        assert machine.pulse is not None
        return Watched(
            metadata=machine.metadata,
            state=machine.state,
            turn=machine.expected_next(),
            pulse=machine.pulse,
        )

    def look(self, registry: ExpectationRegistry | None = None) -> Outlook:
        return look(
            self.watched,
            self.firings,
            registry or ExpectationRegistry(),
            self.now,
            lambda expectation, error: self.broken.append((expectation.name, error)),
        )

    def fires(self) -> list[tuple[str, tuple[str, ...]]]:
        """What is overdue now; it has fired then."""
        overdue = self.look().overdue
        for one in overdue:
            self.firings = self.firings.with_fired(one.index, one.subjects)
        return [(it.violation.expectation.name, it.violation.violator_ids) for it in overdue]


def talk(*expectations: Expectation, **options: Any) -> Clocked:
    return Clocked(adapter_with(ConversationAdapter(), *expectations), **options)


def discussion(*expectations: Expectation, **options: Any) -> Clocked:
    adapter = adapter_with(DiscussionAdapter(), *expectations)
    return Clocked(adapter, ALICE, BOB, CAROL, **options)


# acks_within


def test_an_invitee_that_does_not_answer_is_late_at_its_time_and_not_before() -> None:
    channel = discussion(expect("acks_within", seconds=10), opened=False)
    assert channel.at(9.999).look() == Outlook((), BEGAN + 10, listens=False)
    channel.live.post(ack(BOB))
    assert channel.at(10).fires() == [("acks_within", (CAROL,))]
    # Whatever is posted meanwhile changes nothing about it.
    assert channel.at(99).look() == Outlook((), None, listens=False)


def test_answers_are_awaited_for_thirty_seconds_unless_said_otherwise() -> None:
    channel = talk(expect("acks_within"), opened=False)
    assert channel.look().next_at == BEGAN + 30


def test_nobody_waits_for_answers_in_a_channel_that_is_open() -> None:
    channel = discussion(expect("acks_within", seconds=10))
    assert channel.at(11).fires() == []


# reply_within


def test_who_was_asked_and_does_not_answer_is_late_from_the_first_question_on() -> None:
    channel = talk(expect("reply_within", seconds=60))
    assert channel.look() == Outlook((), None, listens=True)
    channel.at(5).says(ALICE)
    channel.at(50).says(ALICE, "well?")
    assert channel.look() == Outlook((), BEGAN + 65, listens=False)
    (overdue,) = channel.at(70).look().overdue
    assert overdue.violation == Violation(
        expectation=expect("reply_within", seconds=60),
        violator_ids=(BOB,),
        detail={"elapsed_seconds": 65.0, "threshold_seconds": 60.0},
    )


def test_late_is_told_once_for_each_question() -> None:
    channel = talk(expect("reply_within", seconds=60))
    channel.at(0).says(ALICE)
    assert channel.at(60).fires() == [("reply_within", (BOB,))]
    channel.at(61).says(ALICE, "hello?")
    assert channel.at(500).fires() == []
    channel.at(501).says(BOB, "sorry")
    channel.at(502).says(ALICE, "and this?")
    # Alice has answered bob's in time; the new question is bob's again.
    assert channel.at(561).fires() == []
    assert channel.at(562).fires() == [("reply_within", (BOB,))]


def test_only_those_that_were_addressed_owe_an_answer() -> None:
    channel = discussion(expect("reply_within", seconds=60))
    channel.at(0).says(ALICE, audience=(CAROL,))
    assert channel.at(60).fires() == [("reply_within", (CAROL,))]


def test_a_packet_asks_and_answers_and_other_data_does_neither() -> None:
    channel = talk(expect("reply_within", seconds=60))
    channel.live.post(envelope(ALICE, "app.note"))
    assert channel.at(60).fires() == []
    channel.live.post(envelope(ALICE, EV_PACKET))
    channel.at(100).live.post(envelope(BOB, "app.note"))
    assert channel.at(120).fires() == [("reply_within", (BOB,))]


def test_nobody_owes_an_answer_in_a_channel_that_is_closed() -> None:
    consult = Clocked(adapter_with(ConsultingAdapter(), expect("reply_within", seconds=60)))
    consult.says(ALICE, "what?")
    consult.says(BOB, "that.")
    assert consult.live.state is ChannelState.CLOSED
    assert consult.at(99).fires() == []


# max_silence


def test_silence_counts_from_the_opening_and_then_from_the_last_content() -> None:
    channel = talk(expect("max_silence", seconds=100), opened=False)
    assert channel.at(500).look() == Outlook((), None, listens=True)
    channel.live.post(ack(BOB))
    assert channel.look().next_at == BEGAN + 600
    channel.at(550).live.post(envelope(ALICE, EV_CONTEXT_SET))
    for bookkeeping in ("ag2.task.progress", EV_EXPECTATION_VIOLATED):
        channel.at(600).live.post(envelope(ALICE, bookkeeping))
    assert channel.at(649).look() == Outlook((), BEGAN + 650, listens=False)
    assert channel.at(650).fires() == [("max_silence", ())]
    assert channel.at(9999).fires() == []
    # Another silence is another occasion.
    channel.at(10_000).says(ALICE)
    assert channel.at(10_100).fires() == [("max_silence", ())]


# turn_within


def test_a_turn_counts_from_the_opening_and_then_from_what_gave_it() -> None:
    channel = discussion(expect("turn_within", "warn", seconds=120), expect("turn_within", "hide"))
    assert channel.at(120).fires() == [("turn_within", (ALICE,))]
    channel.at(130).says(ALICE)
    assert channel.look().next_at == BEGAN + 250
    assert channel.at(250).fires() == [("turn_within", (BOB,))]
    # The second one waits for ten minutes by default.
    assert channel.look() == Outlook((), BEGAN + 730, listens=True)
    assert channel.at(730).fires() == [("turn_within", (BOB,))]


def test_a_protocol_without_turns_awaits_none() -> None:
    channel = talk(expect("turn_within", seconds=60))
    channel.says(ALICE)
    assert channel.at(60).look() == Outlook((), None, listens=True)


class Notes(ConversationAdapter):
    """Gives the turn by whatever envelope it is told."""

    manifest = attrs.evolve(
        ConversationAdapter.manifest, expectations=(expect("turn_within", seconds=60),)
    )
    trigger: str | None = None

    def expected_next(self, metadata: ChannelMetadata, state: Any) -> Any:
        turn = DiscussionAdapter().initial_state(metadata)
        return attrs.evolve(
            DiscussionAdapter().expected_next(metadata, turn), triggering_envelope_id=self.trigger
        )


def test_a_turn_that_was_given_by_something_forgotten_counts_from_the_last_content() -> None:
    adapter = Notes()
    channel = Clocked(adapter)
    adapter.trigger = "0" * 32
    assert channel.look().next_at == BEGAN + 60
    note = channel.at(10).live.post(envelope(ALICE, "app.note")).envelopes[0].envelope_id
    channel.at(20).says(ALICE)
    assert channel.look().next_at == BEGAN + 80
    adapter.trigger = note
    assert channel.look().next_at == BEGAN + 80


# Who is meant


@pytest.mark.parametrize(
    ("applies_to", "blamed"),
    [
        (None, (BOB, CAROL)),
        ((CAROL,), (CAROL,)),
        ((ParticipantRole.PARTICIPANT,), (BOB, CAROL)),
        ((ParticipantRole.INITIATOR, BOB), (BOB,)),
    ],
)
def test_an_expectation_may_be_about_some_only(
    applies_to: tuple[str, ...] | None, blamed: tuple[str, ...]
) -> None:
    channel = discussion(expect("reply_within", seconds=60, applies_to=applies_to))
    channel.says(ALICE)
    (overdue,) = channel.at(60).look().overdue
    assert set(overdue.violation.violator_ids) == set(blamed)


def test_nothing_is_awaited_of_one_who_is_hidden() -> None:
    channel = discussion(expect("reply_within", seconds=60))
    channel.says(ALICE)
    hidden = {"participants": [CAROL]}
    channel.live.post(envelope(ALICE, EV_CHANNEL_PARTICIPANT_HIDDEN, event_data=hidden))
    assert channel.at(60).fires() == [("reply_within", (BOB,))]


def test_whom_it_is_about_is_not_looked_up_for_each_that_is_late() -> None:
    members = many_ids(500)
    # From a manifest of a time when nobody counted them.
    many_times = (*many_ids(500)[1:], "initiator") * 10
    patience = expect("reply_within", seconds=60, applies_to=many_times)
    drawn = metadata(
        adapter_with(DiscussionAdapter(), patience), *members, state=ChannelState.ACTIVE
    )
    pulse = Pulse()
    pulse.add(text(members[0], envelope_id="1", created_at=CREATED_AT), members)
    watched = Watched(metadata=drawn, state=None, turn=None, pulse=pulse)
    with compared_at_most(50_000):
        found = look(watched, Firings(), ExpectationRegistry(), BEGAN + 60, lambda *_: None)
    (overdue,) = found.overdue
    assert overdue.violation.violator_ids == members[1:]


class Mallory(ExpectationEvaluator):
    """Awaits something of somebody who takes no part."""

    name = "mallory"

    def awaited(self, expectation: Expectation, watched: Watched) -> Iterable[Awaited]:
        return [Awaited(agent_id="mallory", since=BEGAN, seconds=1)]


def test_nothing_is_awaited_of_one_who_takes_no_part() -> None:
    channel = talk(expect("mallory"))
    assert channel.at(60).look(ExpectationRegistry([Mallory()])).overdue == ()


# Registries


class Applause(ExpectationEvaluator):
    """Somebody claps within so many seconds of the opening."""

    name = "applause"
    blames_agents = False

    def __init__(self, broken: Exception | None = None) -> None:
        self.broken = broken

    def awaited(self, expectation: Expectation, watched: Watched) -> Iterable[Awaited]:
        if self.broken is not None:
            raise self.broken
        seconds = self.seconds_of(expectation)
        return [Awaited(agent_id=None, since=watched.opened_at, seconds=seconds)]


class Whistle(ViolationHandler):
    """Does nothing in particular."""

    name = "whistle"

    def actions(self, violation: Violation, metadata: ChannelMetadata) -> tuple[()]:
        return ()


def test_evaluators_and_handlers_of_ones_own_are_known_by_name() -> None:
    registry = ExpectationRegistry([Applause()], [Whistle()])
    channel = talk(expect("applause", "whistle", seconds=5))
    (overdue,) = channel.at(5).look(registry).overdue
    assert overdue.violation.violator_ids == ()
    assert registry.handler("whistle").actions(overdue.violation, channel.watched.metadata) == ()


def test_what_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="no evaluator: inherit from"):
        ExpectationRegistry([object()])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="no handler: inherit from"):
        ExpectationRegistry([], [object()])  # type: ignore[list-item]


def test_base_classes_say_nothing_by_themselves() -> None:
    channel = talk(expect("max_silence"))
    violation = Violation(expectation=expect("max_silence"))
    with pytest.raises(NotImplementedError):
        ExpectationEvaluator().awaited(expect("x"), channel.watched)
    with pytest.raises(NotImplementedError):
        ViolationHandler().actions(violation, channel.watched.metadata)


@pytest.mark.parametrize(
    "broken", [expect("nonsense"), expect("max_silence", "nonsense"), expect("applause")]
)
def test_one_that_is_broken_costs_no_other_one(broken: Expectation) -> None:
    registry = ExpectationRegistry([Applause(broken=ZeroDivisionError("a bug"))])
    channel = talk(broken, expect("max_silence", seconds=60))
    outlook = channel.at(60).look(registry)
    assert [it.index for it in outlook.overdue] == [1]
    assert [name for name, _ in channel.broken] == [broken.name]
    # A broken one wants to be told of nothing.
    channel.firings = channel.firings.with_fired(1, outlook.overdue[0].subjects)
    alone = talk(broken)
    assert alone.look(registry) == Outlook()


class Confused(ExpectationEvaluator):
    """Awaits what it was made with."""

    name = "confused"

    def __init__(self, *awaited: Any) -> None:
        self.result = awaited

    def awaited(self, expectation: Expectation, watched: Watched) -> Iterable[Awaited]:
        return self.result


def test_one_that_awaits_nothing_that_makes_sense_is_broken() -> None:
    channel = talk(expect("confused"))
    assert channel.look(ExpectationRegistry([Confused("bob")])) == Outlook()
    assert [str(error) for _, error in channel.broken] == ["'bob' is not Awaited"]


@pytest.mark.parametrize(
    "fields",
    [
        {"since": float("nan")},
        {"since": "today"},
        {"seconds": float("inf")},
        {"seconds": 10**400},
        {"agent_id": 7},
        {"occasion": None},
    ],
)
def test_nothing_can_be_awaited_that_makes_no_sense(fields: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        Awaited(**{"agent_id": BOB, "since": BEGAN, "seconds": 60.0, **fields})


def test_what_would_come_after_all_time_is_no_matter() -> None:
    channel = talk(expect("confused"))
    late = Awaited(agent_id=None, since=sys.float_info.max, seconds=sys.float_info.max)
    early = Awaited(agent_id=None, since=-sys.float_info.max, seconds=-sys.float_info.max)
    outlook = channel.look(ExpectationRegistry([Confused(late, early)]))
    assert outlook.next_at == math.inf
    assert len(outlook.overdue) == 1
    assert channel.broken == []


def check(
    *expectations: Expectation, registry: ExpectationRegistry | None = None, most: int = 4
) -> None:
    drawn = metadata(adapter_with(DiscussionAdapter(), *expectations), ALICE, BOB, CAROL)
    (registry or ExpectationRegistry()).check(drawn, expectations_max=most, seconds_min=1.0)


def test_what_a_hub_ships_is_taken() -> None:
    for adapter in (ConsultingAdapter(), ConversationAdapter(), DiscussionAdapter()):
        check(*adapter.manifest.expectations)
    check(expect("turn_within", "remove", seconds=1, applies_to=(BOB, "respondent")))
    check(expect("turn_within", applies_to=(ALICE, BOB, CAROL, *ParticipantRole)))


def test_names_that_nobody_knows_are_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        NotFoundError,
        match="'nonsense'; this hub knows acks_within, max_silence, reply_within, turn_within",
    ):
        check(expect("nonsense"))
    with pytest.raises(
        NotFoundError,
        match="knows audit, auto_close, hide, notify_channel, remove, warn",
    ):
        check(expect("max_silence", "nonsense"))


@pytest.mark.parametrize(
    ("expectation", "why"),
    [
        (Expectation(name="max_silence", on_violation="audit", params={"minutes": 1}), "minutes"),
        (expect("max_silence", seconds=True), "is a number"),
        (expect("max_silence", seconds="60"), "is a number"),
        (expect("max_silence", seconds=float("nan")), "finite"),
        (expect("max_silence", seconds=float("inf")), "finite"),
        (expect("max_silence", seconds=10**400), "finite"),
        (expect("max_silence", seconds=-60), "at least 1"),
        (expect("max_silence", seconds=0.999), "at least 1"),
        (expect("max_silence", "hide"), "blames nobody"),
        (expect("max_silence", "remove"), "blames nobody"),
        (expect("max_silence", applies_to=(BOB,)), "takes no applies_to"),
        (expect("turn_within", applies_to=("mallory",)), "names mallory: neither"),
        (expect("turn_within", applies_to=("m",) * 4), "names m, m, m and 1 more: neither"),
        (expect("turn_within", applies_to=("m" * 101,)), "names m{100}[.]{3}: neither"),
        (expect("turn_within", applies_to=(BOB, CAROL, BOB)), "names bob more than once"),
        (expect("turn_within", applies_to=("initiator",) * 2), "names initiator more than once"),
        (expect("turn_within", applies_to=(BOB,) * 7), "has 7 names, and there are 6 participants"),
    ],
)
def test_what_makes_no_sense_is_refused(expectation: Expectation, why: str) -> None:
    with pytest.raises(ProtocolError, match=f"'{expectation.name}': .*{why}"):
        check(expectation)


def test_a_channel_has_so_many_expectations_and_no_more() -> None:
    check(*[expect("turn_within")] * 4)
    with pytest.raises(ProtocolError, match="5 expectations are more than the 4"):
        check(*[expect("turn_within")] * 5)


# The pulse


def test_a_moment_knows_its_time() -> None:
    assert Moment("id", CREATED_AT).seconds == BEGAN


def test_a_channel_that_is_not_open_yet_counts_from_its_creation() -> None:
    waiting = discussion(expect("applause", seconds=60), opened=False).at(10)
    registry = ExpectationRegistry([Applause()])
    assert waiting.look(registry).next_at == BEGAN + 60


def test_a_pulse_does_not_look_through_a_long_audience_for_each_participant() -> None:
    members = many_ids(1_000)
    pulse = Pulse()
    with compared_at_most(30_000):
        pulse.add(text("alice", audience=many_ids(1_000)[1:] * 10), members)
        thawed = Pulse.thaw(pulse.freeze(), members[:-1])
    assert tuple(pulse.unanswered) == members[1:]
    assert tuple(thawed.unanswered) == members[1:-1]


def test_a_pulse_after_a_replay_is_the_pulse_before() -> None:
    channel = discussion(expect("reply_within"))
    channel.at(1).says(ALICE)
    channel.at(2).says(BOB, audience=(CAROL,))
    channel.live.post(
        envelope(ALICE, EV_CHANNEL_PARTICIPANT_REMOVED, event_data={"participants": []})
    )
    before, after = channel.live.machine.pulse, channel.live.replayed().pulse
    for name in Pulse.__slots__:
        assert getattr(before, name) == getattr(after, name), name


def test_channels_without_expectations_have_no_pulse() -> None:
    live = Live.opened(adapter_with(ConversationAdapter()))
    live.post(text(ALICE))
    assert live.machine.pulse is None
    assert live.machine.hidden == frozenset()


# The watchlist


def test_a_channel_is_looked_at_when_it_is_due_and_listens_when_it_is_told() -> None:
    watchlist = Watchlist()
    assert watchlist.wake_at() is None
    watchlist.looked("a", Outlook((), 10.0, listens=False))
    watchlist.looked("b", Outlook((), 5.0, listens=True))
    watchlist.looked("c", Outlook((), None, listens=True))
    assert watchlist.listening == {"b", "c"}
    assert watchlist.wake_at() == 5
    assert list(watchlist.due(5)) == ["b"]
    watchlist.looked("b", Outlook((), None, listens=False))
    watchlist.look_at("c", 7)
    assert (watchlist.wake_at(), watchlist.listening) == (7, {"c"})
    watchlist.forget("c")
    assert (watchlist.wake_at(), watchlist.listening) == (10, set())
    watchlist.looked("a", Outlook())
    assert watchlist.wake_at() is None
