"""
A whole hub with real clients, through every fault that there is, against what is promised.

::

    class ClerkMachine(DeliveryMachine):
        def make_agent(self, name):
            return my_clerk                     # what you wrote

    TestClerk = ClerkMachine.TestCase

Two (or more) agents sit in one channel. Hypothesis posts for them, makes their handlers fail,
cuts their connections with or without telling, kills them, closes the hub, cuts its power, breaks
its disk and lets time pass, in any order. After each step the trace must break no promise of
`trio_hub.testing.checkers`; in the end, given time, nothing may be owed to anybody.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import ClassVar

import attrs
import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ...client import (
    Agent,
    AgentClient,
    Handler,
    HubClient,
    Reconnect,
    Turn,
    default_handler,
)
from ...client.agents import AgentFunction
from ...errors import NetworkError
from ...hub import Hub, HubLimits
from ...links import LinkLimits
from ...protocol.backoff import Backoff
from ...protocol.delivery_policy import DeliveryPolicy
from ...records import EV_TEXT, Envelope, Passport
from ..checkers import CHECKERS, assert_holds, everything_owed_is_settled, no_phantoms
from ..frozen_loop import FrozenLoop, Held
from ..simulated_disk import MachineStore, SimulatedDisk
from ..simulated_network import SimulatedNetwork
from ..trace import Recorder, Trace

__all__ = ["DeliveryMachine"]

# What handlers post of their own accord is only known from the logs, and those are read at the end.
_AT_THE_END = (everything_owed_is_settled, no_phantoms)
_SAFETY = tuple(checker for checker in CHECKERS if checker not in _AT_THE_END)
_LIMITS = LinkLimits(ping_interval_seconds=5.0, ping_timeout_seconds=5.0)
_ACK_WAIT_SECONDS = 60.0
_SETTLE_ROUNDS_MAX = 40
# Nothing that a rule waits for takes so long; a heartbeat every few seconds makes waiting dear.
_RULE_SECONDS_MAX = 600.0


@attrs.define
class _Machine:
    """One agent's process."""

    held: Held[AgentClient]
    life: int = 0
    failures_left: int = 0
    fails_after: bool = False


def _hub_time() -> float:
    return 1_700_000_000.0 + trio.current_time()


async def _says_nothing(_turn: Turn) -> None:
    await trio.lowlevel.checkpoint()


class DeliveryMachine(RuleBasedStateMachine):
    """
    Override `make_agent` or `make_handler` to test yours.

    Attributes:
        names: Of the agents; the first one opens the channel to the others.
        channel_type: Of the channel.
    """

    names: ClassVar[tuple[str, ...]] = ("alice", "bob")
    channel_type: ClassVar[str] = "conversation"

    def make_agent(self, name: str) -> Agent | AgentFunction:
        """Return who answers as `name`; called for each of its lives. By default it is silent."""
        return _says_nothing

    def make_handler(self, name: str) -> Handler:
        """Return what handles envelopes for `name`; by default the `default_handler`."""
        return default_handler

    def __init__(self) -> None:
        super().__init__()
        self.loop = FrozenLoop(rule_seconds_max=_RULE_SECONDS_MAX)
        self.recorder = Recorder(clock=_hub_time)
        self.disk = SimulatedDisk(random.Random(1))  # noqa: S311  a test's choices
        self.network = SimulatedNetwork(random.Random(2), limits=_LIMITS)  # noqa: S311
        self.posts: list[tuple[str, Envelope]] = []
        self.store: MachineStore
        self.hub = self.loop.enter(self._hub())
        self.machines = {
            name: _Machine(self.loop.enter(self._client(name, 0))) for name in self.names
        }

    @property
    def trace(self) -> Trace:
        """What has happened so far."""
        return self.recorder.trace

    @initialize()
    def open_channel(self) -> None:
        """Open the channel that everything happens in."""
        first, *others = self.names
        opener = self.machines[first].held.value
        self.channel = self.loop.run(self._open, opener, others)

    # What agents do. The first two can be called by hand, for a story of your own.

    def post_as(self, name: str, text: str, *, ttl_seconds: float | None = None) -> None:
        """Post as `name`; it is on its way when this returns."""
        envelope = Envelope(
            channel_id=self.channel,
            sender_id=self.machines[name].held.value.agent_id,
            event_type=EV_TEXT,
            event_data={"text": text},
            idempotency_key=f"post {len(self.posts)}",
            ttl_seconds=ttl_seconds,
        )
        self.posts.append((name, envelope))
        self.loop.start_soon(self._insist, name, envelope)

    def fail_next(self, name: str, *, times: int = 1, after: bool = False) -> None:
        """Make the handler of `name` fail: before it has begun or, with `after`, when it is done."""
        self.machines[name].failures_left, self.machines[name].fails_after = times, after

    @rule(
        data=st.data(),
        text=st.text(max_size=3),
        ttl_seconds=st.sampled_from([None, None, None, 0.5, 20.0]),
    )
    def post(self, data: st.DataObject, text: str, ttl_seconds: float | None) -> None:
        """Somebody posts, now and then what is soon worth nothing any more."""
        self.post_as(data.draw(st.sampled_from(self.names)), text, ttl_seconds=ttl_seconds)

    @rule(data=st.data())
    def post_again(self, data: st.DataObject) -> None:
        """Somebody is not sure, and posts the same thing under the same key."""
        if self.posts:
            self.loop.start_soon(self._insist, *data.draw(st.sampled_from(self.posts)))

    @rule(data=st.data(), times=st.integers(1, 3), after=st.booleans())
    def handler_fails(self, data: st.DataObject, times: int, after: bool) -> None:
        """Somebody's handler fails for the next envelopes."""
        self.fail_next(data.draw(st.sampled_from(self.names)), times=times, after=after)

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.1, 1.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        """Let what is under way get on."""
        self.loop.sleep(seconds)

    # What goes wrong

    @rule(data=st.data(), silently=st.booleans())
    def cut(self, data: st.DataObject, silently: bool) -> None:
        """A connection ends."""
        name = data.draw(st.sampled_from(self.names))
        self.loop.call(partial(self.network.cut, silently=silently), name)

    @rule(data=st.data(), silently=st.booleans())
    def kill_agent(self, data: st.DataObject, silently: bool) -> None:
        """A process dies, and another one takes its place."""
        name = data.draw(st.sampled_from(self.names))
        machine = self.machines[name]
        self.loop.call(partial(self.network.cut, silently=silently), name)
        machine.held.cancel()
        machine.life += 1
        machine.held = self.loop.enter(self._client(name, machine.life))

    @rule()
    def close_hub(self) -> None:
        """The hub is closed in all form, and opened again."""
        self.loop.run(self.hub.value.drain)
        self.hub.exit()
        self.hub = self.loop.enter(self._hub())

    @rule()
    def cut_power(self) -> None:
        """The hub is gone from one moment to the next, and opened again."""
        self.loop.call(self.disk.cut_power)
        self.hub.cancel()
        self.hub = self.loop.enter(self._hub())

    @rule(nth=st.integers(1, 3), after=st.booleans())
    def break_disk(self, nth: int, after: bool) -> None:
        """A commit will fail; with `after`, it is kept all the same."""
        self.store.fail("commit", nth=nth, after=after)

    # What must hold

    @invariant()
    def no_promise_is_broken(self) -> None:
        """Nothing has happened that must not."""
        assert_holds(self.trace, checkers=_SAFETY)

    def teardown(self) -> None:
        """Given time, everything owed is settled; and the logs agree with what was seen."""
        try:
            for machine in self.machines.values():
                machine.failures_left = 0
            self.store.heal()
            seen = self.trace
            for _ in range(_SETTLE_ROUNDS_MAX):
                self.loop.sleep(_ACK_WAIT_SECONDS / 4)
                seen = Trace(self.trace)
                self.loop.run(Recorder(seen).read_logs, self.hub.value)
                if not everything_owed_is_settled(seen):
                    break
            assert_holds(seen)
            assert not self.network.failures, f"the hub raised {self.network.failures}"
        finally:
            self.loop.close()

    # Inside the loop

    @asynccontextmanager
    async def _hub(self) -> AsyncIterator[Hub]:
        self.store = self.disk.store()
        async with (
            Hub.open(
                self.store,
                clock=_hub_time,
                listeners=[self.recorder.listener()],
                rng=random.Random(3),  # noqa: S311
                limits=HubLimits(cursor_flush_seconds=0.5),
                # A letter would be out of the way; here everything is to arrive.
                delivery=DeliveryPolicy(
                    ack_wait_seconds=_ACK_WAIT_SECONDS, max_attempts=0, backoff=Backoff(0.1, 1.0)
                ),
            ) as hub,
            self.network.serving(hub),
        ):
            yield hub

    @asynccontextmanager
    async def _client(self, name: str, life: int) -> AsyncIterator[AgentClient]:
        async with HubClient(
            self.network.link(name),
            reconnect=Reconnect(backoff=Backoff(0.1, 2.0), wait_for_hub=True),
            rng=random.Random(f"{name} {life}"),  # noqa: S311
            progress_interval_seconds=_ACK_WAIT_SECONDS / 4,
        ) as client:
            yield await client.attach(
                self.make_agent(name),
                name,
                passport=Passport(name=name),
                handler=self.recorder.handler(self._failing(name), life=life),
            )

    def _failing(self, name: str) -> Handler:
        handle = self.make_handler(name)

        async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
            machine = self.machines.get(name)
            fails = machine is not None and machine.failures_left > 0
            if machine is not None and fails:
                machine.failures_left -= 1
            if machine is None or not fails or machine.fails_after:
                await handle(envelope, client, attempt)
            if fails:
                raise RuntimeError("made to fail")

        return handler

    async def _open(self, opener: AgentClient, others: list[str]) -> str:
        channel = await opener.open(type=self.channel_type, target=others, ttl=0)
        return channel.channel_id

    async def _insist(self, name: str, envelope: Envelope) -> None:
        """Post until there is an answer, from whichever life of the agent there is."""
        others = [
            other.held.value.agent_id for each, other in self.machines.items() if each != name
        ]
        while True:
            try:
                await self.recorder.post(
                    self.machines[name].held.value, envelope, recipients=others
                )
            except NetworkError as error:
                if not error.retryable:
                    return
            except trio.TooSlowError:
                pass
            else:
                return
            await trio.sleep(1)
