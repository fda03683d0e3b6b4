"""
Any channel adapter, in a channel as a hub has it.

::

    class TestAuction(AdapterMachine.of(AuctionAdapter(), events=bids()).TestCase):
        pass

or subclass `AdapterMachine` and set `adapter`. Whoever takes part says whatever comes to mind, in
any order, and after each step these hold:

- *live is replay*: folding the log from the start gives the state that the hub has in memory;
- *what may be said can be folded*: `validate_send` refuses, or `fold` and `on_accepted` succeed;
- a fold changes nothing but what it returns, and gives the same each time;
- whoever is expected next may speak, as long as the channel is active;
- *what is kept is what was*: a state that the adapter lets the hub keep (`FreezingAdapter`) comes
  back as it was folded.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ...errors import NetworkError, ProtocolError
from ...ids import IdMint, iso_from_seconds
from ...protocol.adapters import ChannelAdapter
from ...protocol.adapters.freezing import freezing
from ...protocol.channel import ChannelMachine
from ...protocol.channel_snapshot import freeze, thaw
from ...protocol.plan import Stamp
from ...records import EV_PACKET, EV_TEXT, ChannelMetadata, Envelope
from ..strategies import active_channels, json_objects, texts

__all__ = ["AdapterMachine"]

#: An event type and its data.
Event = tuple[str, dict[str, Any]]

_ANY_EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.tuples(st.just(EV_TEXT), st.builds(dict, text=texts())),
    st.tuples(st.just(EV_PACKET), st.builds(dict, body=texts(), routing=json_objects())),
    st.tuples(st.sampled_from([EV_TEXT, EV_PACKET, "app.x"]), json_objects()),
)


class AdapterMachine(RuleBasedStateMachine):
    """
    Set `adapter` in a subclass, or call `of`.

    Attributes:
        adapter: What is tested.
        events: Makes what is said, (event type, data); by default texts, packets, anything.
        knobs: Makes the knobs of channels; None is no knobs.
        turn_event_type: What an expected speaker must be allowed to say.
    """

    adapter: ClassVar[ChannelAdapter]
    events: ClassVar[st.SearchStrategy[Event]] = _ANY_EVENTS
    knobs: ClassVar[st.SearchStrategy[dict[str, Any]] | None] = None
    turn_event_type: ClassVar[str] = EV_TEXT

    @classmethod
    def of(cls, adapter: ChannelAdapter, **attributes: Any) -> type[AdapterMachine]:
        """Return a machine for `adapter`; `attributes` are those of the class."""
        name = f"{type(adapter).__name__}Machine"
        return type(name, (cls,), {"adapter": adapter, **attributes})

    @initialize(data=st.data())
    def open(self, data: st.DataObject) -> None:
        """Open a channel that the adapter takes."""
        self.metadata: ChannelMetadata = data.draw(active_channels(self.adapter, knobs=self.knobs))
        self.channel = ChannelMachine(self.metadata, self.adapter)
        self.log: list[Envelope] = []
        self.mint = IdMint(lambda: float(len(self.log)))

    @rule(data=st.data())
    def say(self, data: st.DataObject) -> None:
        """Somebody says something, whether or not it is allowed."""
        event_type, event_data = data.draw(self.events)
        self._say(data.draw(st.sampled_from(self.metadata.participant_ids)), event_type, event_data)

    @rule(data=st.data())
    def say_in_turn(self, data: st.DataObject) -> None:
        """Whoever is expected says something, so that conversations get anywhere."""
        expected = self.channel.expected_next()
        event_type, event_data = data.draw(self.events)
        if expected is not None:
            self._say(expected.agent_id, event_type, event_data)

    def _say(self, sender_id: str, event_type: str, event_data: dict[str, Any]) -> None:
        envelope = Envelope(
            channel_id=self.metadata.channel_id,
            sender_id=sender_id,
            event_type=event_type,
            event_data=event_data,
        )
        adapter, channel, before = self.adapter, self.channel, copy.deepcopy(self.channel.state)
        stamp = Stamp(self.mint, iso_from_seconds(len(self.log)))
        try:
            plan = channel.plan_post(envelope, stamp)
        except ProtocolError:
            assert channel.state == before, "what was refused has changed the state"
            if not channel.metadata.is_terminal:
                self._refused_by_its_rules(envelope)
            return
        assert channel.state == before, "fold has changed its argument"
        for logged in plan.envelopes:
            first, again = adapter.fold(logged, before), adapter.fold(logged, before)
            assert first == again, f"fold gave {first} and then {again}"
            before = first
        channel.apply(plan)
        self.log += plan.envelopes

    def _refused_by_its_rules(self, envelope: Envelope) -> None:
        """A post may be refused by `validate_send`, and by nothing after it."""
        stamped = attrs.evolve(envelope, envelope_id=self.mint(), created_at=iso_from_seconds(0))
        try:
            self.adapter.validate_send(self.channel.metadata, envelope, self.channel.state)
        except NetworkError:
            return
        # It was allowed, and still refused: here is why.
        state = self.adapter.fold(stamped, self.channel.state)
        self.adapter.on_accepted(self.channel.metadata, stamped, state)

    @invariant()
    def live_is_replay(self) -> None:
        """Folding the log gives the state that the hub has in memory."""
        if not hasattr(self, "channel"):
            return
        replayed = ChannelMachine(self.metadata, self.adapter)
        for envelope in self.log:
            replayed.replay(envelope)
        assert not replayed.damage, replayed.damage
        assert replayed.state == self.channel.state
        assert replayed.length == self.channel.length

    @invariant()
    def what_is_kept_is_what_was(self) -> None:
        """A snapshot of the channel gives the state that the log folds to."""
        if not hasattr(self, "channel") or freezing(self.adapter) is None or not self.log:
            return
        snapshot = freeze(self.channel)
        assert snapshot is not None, "the adapter cannot freeze its state"
        thawed = ChannelMachine(self.metadata, self.adapter)
        for page in self.channel.memory.posted.pages:
            thawed.memory.posted.restore(page)
        thaw(thawed, snapshot)
        replayed = ChannelMachine(self.metadata, self.adapter)
        for envelope in self.log:
            replayed.replay(envelope)
        assert thawed.state == replayed.state, "it thaws to another state than the log folds to"

    @invariant()
    def whoever_is_expected_may_speak(self) -> None:
        """`expected_next` names a participant, who may speak now, and an envelope of the log."""
        if not hasattr(self, "channel"):
            return
        expected = self.channel.expected_next()
        if expected is None:
            return
        assert expected.agent_id in self.metadata.participant_ids
        assert self.channel.can_send(expected.agent_id, self.turn_event_type), (
            f"{expected.agent_id} is expected to speak and may not"
        )
        trigger = expected.triggering_envelope_id
        assert trigger is None or any(each.envelope_id == trigger for each in self.log)
