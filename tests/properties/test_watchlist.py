"""
The heap of deadlines against a model that scans: whatever is said when, in however many channels,
the same expectations fire at the same second as if every channel's whole log were looked at every
second; and a channel in which nothing can become due is not looked at.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import attrs
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from trio_hub.ids import iso_from_seconds
from trio_hub.protocol.adapters import ConversationAdapter, DiscussionAdapter
from trio_hub.protocol.channel import ChannelMachine
from trio_hub.protocol.expectations import (
    ExpectationRegistry,
    Firings,
    Outlook,
    Watched,
    Watchlist,
    look,
)
from trio_hub.protocol.plan import Stamp
from trio_hub.records import (
    EV_TEXT,
    ChannelMetadata,
    ChannelState,
    Envelope,
    Expectation,
    Participant,
    ParticipantRole,
)

AGENTS = ("a", "b", "c")
REGISTRY = ExpectationRegistry()

#: (second, channel, expectation, whom, which record of the log it is about)
Fired = tuple[int, int, int, str, int]


@attrs.frozen
class Setting:
    """One channel: of whom, with turns or without, and what is expected (name, seconds)."""

    size: int
    has_turns: bool
    expected: tuple[tuple[str, int], ...]


settings_of_channels = st.builds(
    Setting,
    st.integers(2, 3),
    st.booleans(),
    st.lists(
        st.tuples(
            st.sampled_from(["reply_within", "max_silence", "turn_within"]), st.integers(1, 8)
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
)


class Conversation(ConversationAdapter):
    """One among any number."""

    def validate_create(self, metadata: ChannelMetadata) -> None:
        pass


class Watching:
    """What the hub does: looks at what is due, and at what listens when something is said."""

    def __init__(self, chosen: list[Setting]) -> None:
        self.watchlist = Watchlist()
        self.now = 0
        self.fired: list[Fired] = []
        self.looks = 0
        numbers = itertools.count()
        self.stamp = lambda: Stamp(lambda: f"{next(numbers):032x}", iso_from_seconds(self.now))
        self.machines = [self._open(number, one) for number, one in enumerate(chosen)]
        self.positions: dict[str, int] = {}
        for number in range(len(chosen)):
            self._attend(number)

    def _open(self, number: int, one: Setting) -> ChannelMachine:
        adapter: Any = DiscussionAdapter() if one.has_turns else Conversation()
        manifest = attrs.evolve(
            adapter.manifest,
            expectations=tuple(
                Expectation(name=name, on_violation="audit", params={"seconds": seconds})
                for name, seconds in one.expected
            ),
        )
        metadata = ChannelMetadata(
            channel_id=str(number),
            manifest=manifest,
            creator_id="a",
            participants=tuple(
                Participant(agent_id=agent_id, role=ParticipantRole.PARTICIPANT, order=order)
                for order, agent_id in enumerate(AGENTS[: one.size])
            ),
            state=ChannelState.ACTIVE,
            created_at=iso_from_seconds(0),
        )
        return ChannelMachine(metadata, adapter)

    def say(self, number: int, agent_id: str) -> None:
        machine = self.machines[number]
        if not machine.can_send(agent_id, EV_TEXT):
            return
        said = Envelope(
            channel_id=str(number), sender_id=agent_id, event_type=EV_TEXT, event_data={}
        )
        plan = machine.plan_post(said, self.stamp())
        self.positions[plan.envelopes[0].envelope_id] = machine.length
        machine.apply(plan)
        if str(number) in self.watchlist.listening:
            self._attend(number)

    def pass_second(self) -> None:
        self.now += 1
        for channel_id in self.watchlist.due(self.now):
            self._attend(int(channel_id))

    def _attend(self, number: int) -> None:
        machine = self.machines[number]
        outlook = self._look(machine, machine.firings)
        firings = machine.firings
        for one in outlook.overdue:
            firings = firings.with_fired(one.index, one.subjects)
            for agent_id, occasion in one.subjects:
                about = self.positions.get(occasion, -1)
                self.fired.append((self.now, number, one.index, agent_id or "", about))
        machine.firings = firings
        self.watchlist.looked(str(number), self._look(machine, firings))

    def _look(self, machine: ChannelMachine, firings: Firings) -> Outlook:
        self.looks += 1
        assert machine.pulse is not None
        watched = Watched(
            metadata=machine.metadata,
            state=machine.state,
            turn=machine.expected_next(),
            pulse=machine.pulse,
        )
        return look(watched, firings, REGISTRY, self.now, _raise)


def _raise(expectation: Expectation, error: Exception) -> None:
    raise error


class Scanning:
    """The model: goes through every log from its beginning, every second."""

    def __init__(self, chosen: list[Setting]) -> None:
        self.chosen = chosen
        self.logs: list[list[tuple[int, str]]] = [[] for _ in chosen]
        self.fired: list[Fired] = []

    def say(self, now: int, number: int, agent_id: str) -> None:
        one, log = self.chosen[number], self.logs[number]
        members = AGENTS[: one.size]
        if agent_id in members and (not one.has_turns or members[len(log) % one.size] == agent_id):
            log.append((now, agent_id))

    def scan(self, now: int) -> None:
        known = {fired[1:] for fired in self.fired}
        for number, one in enumerate(self.chosen):
            for index, (name, seconds) in enumerate(one.expected):
                for agent_id, since, about in self._awaited(name, one, self.logs[number]):
                    if now - since >= seconds and (number, index, agent_id, about) not in known:
                        self.fired.append((now, number, index, agent_id, about))

    def _awaited(
        self, name: str, one: Setting, log: list[tuple[int, str]]
    ) -> Iterator[tuple[str, int, int]]:
        last = len(log) - 1
        last_at = log[-1][0] if log else 0
        if name == "max_silence":
            yield "", last_at, last
        elif name == "turn_within":
            if one.has_turns:
                yield AGENTS[len(log) % one.size], last_at, last
        else:
            for agent_id in AGENTS[: one.size]:
                spoke = max((n for n, (_, who) in enumerate(log) if who == agent_id), default=-1)
                if spoke < last:
                    yield agent_id, log[spoke + 1][0], spoke + 1


#: A second passes (None), or somebody says something in a channel.
steps = st.lists(st.none() | st.tuples(st.integers(0, 2), st.sampled_from(AGENTS)), max_size=60)


@given(st.lists(settings_of_channels, min_size=1, max_size=3), steps)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_fires_in_the_same_second_as_if_all_were_scanned(
    chosen: list[Setting], steps: list[tuple[int, str] | None]
) -> None:
    watching, scanning = Watching(chosen), Scanning(chosen)
    for step in [*steps, *[None] * 10]:
        if step is None:
            watching.pass_second()
            scanning.scan(watching.now)
        elif step[0] < len(chosen):
            number, agent_id = step
            watching.say(number, agent_id)
            scanning.say(watching.now, number, agent_id)
        assert sorted(watching.fired) == sorted(scanning.fired)
    # Nobody has said anything for longer than anything may take: nothing will ever be due.
    assert watching.watchlist.wake_at() is None
    looks = watching.looks
    for _ in range(100):
        watching.pass_second()
    assert watching.looks == looks


@given(settings_of_channels, st.integers(1, 200))
@settings(max_examples=50)
def test_what_is_said_in_a_busy_channel_costs_no_look_each(one: Setting, posts: int) -> None:
    # Where there are no turns, every post may be the first that gives one.
    assume(one.has_turns or all(name != "turn_within" for name, _ in one.expected))
    watching = Watching([one])
    looks = watching.looks
    for number in range(posts):
        watching.say(0, AGENTS[number % one.size])
    # Each expectation that awaited nothing until then may want one.
    assert watching.looks <= looks + 2 * (len(one.expected) + 1)
