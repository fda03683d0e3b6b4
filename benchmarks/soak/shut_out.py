"""
Agents that an operator shuts out while they talk, and lets in again.

From the answer to the operator until the agent is reinstated, nothing that it says is accepted and
nothing that is said to it is delivered. Afterwards it gets everything, and is heard again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import attrs
import trio

from trio_hub import (
    AccessDeniedError,
    AgentClient,
    AuthError,
    Channel,
    Envelope,
    FunctionAgent,
    HubClient,
    NetworkError,
    RateLimited,
    WsLink,
)
from trio_hub.testing import FaultyLink

from .crowd import cut_again_and_again, passport
from .talk import QUICKLY_BACK, Talk, say_nothing

__all__ = ["OPERATOR", "ShutOuts", "said_between"]

OPERATOR = "operator"
_POSTS_BEFORE = 5
_POSTS_MEANWHILE = 5
_POSTS_AFTER = 5
# Numbers of what the agent says that is shut out; those of its host begin with 0.
_FIRST_OF_AGENT = 1_000
_KNOCKS = 3
_PAUSE_SECONDS = (2.0, 10.0)
_BETWEEN_POSTS_SECONDS = (0.02, 0.1)
_AGAIN_SECONDS = 0.2
_REFUSED_WITHIN_SECONDS = 60.0
_BACK_WITHIN_SECONDS = 120.0


@attrs.define
class _Case:
    """
    One revocation.

    Attributes:
        asked: The operator has asked for it; it may hold or not yet.
        holds: It was answered, and nobody has asked to take it back.
        withheld: The numbers of what was said to the agent while it held.
        refused: Set when the agent has been refused to speak.
        spoken: How much it has said.
    """

    asked: bool = False
    holds: bool = False
    withheld: set[int] = attrs.field(factory=set)
    refused: trio.Event = attrs.field(factory=trio.Event)
    spoken: int = 0


def said_between(log: Sequence[Envelope], agent_id: str, first: int, last: int) -> list[str]:
    """
    Name what an agent has said between two notes of another one.

    Args:
        log: Of their channel.
        first: The number of the first note.
        last: The same of the last one; both must be there.
    """
    places = {
        it.event_data.get("number"): place
        for place, it in enumerate(log)
        if it.sender_id != agent_id and "number" in it.event_data
    }
    between = log[places[first] : places[last]]
    return [it.envelope_id for it in between if it.sender_id == agent_id]


@attrs.define
class ShutOuts:
    """
    Pairs of a host and an agent that an operator revokes and reinstates.

    Attributes:
        url: The hub.
        tokens: The keys of all of them, by name.
        talk: Where to write down what happens.
    """

    url: str
    tokens: Mapping[str, str]
    talk: Talk

    async def run(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Let pairs (host, agent) meet in one channel after another, until the talk is stopping."""
        async with trio.open_nursery() as cutting:
            async with (
                HubClient(self._link_cut(cutting), reconnect=QUICKLY_BACK) as client,
                trio.open_nursery() as meeting,
            ):
                await self._register(client, OPERATOR)
                for host_name, name in pairs:
                    meeting.start_soon(self._pair, client, host_name, name)
            cutting.cancel_scope.cancel()

    async def _pair(self, operator: HubClient, host_name: str, name: str) -> None:
        life = 0
        async with trio.open_nursery() as cutting:
            async with HubClient(self._link_cut(cutting), reconnect=QUICKLY_BACK) as client:
                host = await self._register(client, host_name)
                while not self.talk.stopping:
                    await self._meet(operator, host, name, life)
                    life += 2
                    await trio.sleep(self.talk.rng.uniform(*_PAUSE_SECONDS))
            cutting.cancel_scope.cancel()

    async def _meet(self, operator: HubClient, host: AgentClient, name: str, life: int) -> None:
        """Meet in one channel, in the middle of which the agent is shut out for a while."""
        case, talk = _Case(), self.talk
        async with trio.open_nursery() as cutting:
            async with HubClient(self._link_cut(cutting), reconnect=QUICKLY_BACK) as client:
                agent = await self._attach(client, name, case, life)
                channel = await host.open(type="discussion", target=[agent.agent_id])
                members = [host.agent_id, agent.agent_id]
                async with trio.open_nursery() as speaking:
                    speaking.start_soon(self._speak, agent, channel, members, case)
                    for number in range(_POSTS_BEFORE):
                        await talk.post(host, channel.channel_id, number, members)
                    case.asked = True
                    await talk.patiently(partial(operator.revoke_agent, name, "soaked"))
                    case.holds = True
                    talk.counts["agents revoked"] += 1
                    await self._say(case, host, channel, _POSTS_BEFORE, members)
                    with trio.move_on_after(_REFUSED_WITHIN_SECONDS):
                        await case.refused.wait()
                    if not case.refused.is_set():
                        talk.problems.append(f"{name} was not told that it was revoked")
                    speaking.cancel_scope.cancel()
            cutting.cancel_scope.cancel()
        await self._knock(name)
        await self._say(case, host, channel, _POSTS_BEFORE + 1, members)
        case.holds = False
        await talk.patiently(partial(operator.reinstate_agent, name))
        talk.counts["agents reinstated"] += 1
        async with trio.open_nursery() as cutting:
            async with HubClient(self._link_cut(cutting), reconnect=QUICKLY_BACK) as client:
                agent = await self._attach(client, name, case, life + 1)
                for number in range(_POSTS_AFTER):
                    number += _FIRST_OF_AGENT + case.spoken
                    await talk.post(agent, channel.channel_id, number, members)
                log = await talk.end(host, channel.channel_id, members)
            cutting.cancel_scope.cancel()
        for envelope_id in said_between(
            log, agent.agent_id, min(case.withheld), max(case.withheld)
        ):
            talk.problems.append(f"{envelope_id} of {name} was accepted while it was revoked")

    async def _say(
        self, case: _Case, host: AgentClient, channel: Channel, first: int, members: list[str]
    ) -> None:
        """Say something to an agent that must not hear it yet."""
        start = max(case.withheld, default=first - 1) + 1
        for number in range(start, start + _POSTS_MEANWHILE):
            case.withheld.add(number)
            await self.talk.post(host, channel.channel_id, number, members)

    async def _speak(
        self, agent: AgentClient, channel: Channel, members: list[str], case: _Case
    ) -> None:
        """Post one thing after another until it is refused."""
        talk = self.talk
        while True:
            note = talk.note(agent, channel.channel_id, _FIRST_OF_AGENT + case.spoken)
            case.spoken += 1
            while True:
                begun_too_late = case.holds
                try:
                    await talk.recorder(channel.channel_id).post(
                        agent, note, recipients=[it for it in members if it != agent.agent_id]
                    )
                except (NetworkError, trio.TooSlowError) as error:
                    if isinstance(error, AuthError | AccessDeniedError) and case.asked:
                        case.refused.set()
                        talk.counts["posts of revoked agents refused"] += 1
                        return
                    if isinstance(error, NetworkError) and not error.retryable:
                        talk.refused("a post", agent, error)
                        return
                    talk.counts["posts tried again"] += 1
                else:
                    talk.counts["posts"] += 1
                    if begun_too_late:
                        talk.problems.append(f"{agent.name} posted while it was revoked")
                    break
            await trio.sleep(talk.rng.uniform(*_BETWEEN_POSTS_SECONDS))

    async def _hear(
        self, case: _Case, life: int, envelope: Envelope, client: AgentClient, attempt: int
    ) -> None:
        number = envelope.event_data.get("number")
        if case.holds and number in case.withheld:
            self.talk.problems.append(
                f"{envelope.envelope_id} was delivered to {client.name} while it was revoked"
            )
        await self.talk.handle(envelope, client, attempt, life=life)

    async def _knock(self, name: str) -> None:
        """Try to come in by a revoked name, with a key that is good."""
        for _ in range(_KNOCKS):
            async with HubClient(WsLink(self.url), reconnect=QUICKLY_BACK) as client:
                try:
                    await client.attach(
                        FunctionAgent(name, say_nothing),
                        name,
                        passport=passport(name, self.tokens[name]),
                    )
                except (AuthError, RateLimited):
                    self.talk.counts["revoked agents turned away"] += 1
                except trio.TooSlowError:
                    self.talk.counts["requests tried again"] += 1
                else:
                    self.talk.problems.append(f"{name} came in while it was revoked")

    async def _attach(self, client: HubClient, name: str, case: _Case, life: int) -> AgentClient:
        """Attach; who was turned away too often has to wait for it."""
        with trio.fail_after(_BACK_WITHIN_SECONDS):
            while True:
                try:
                    return await client.attach(
                        FunctionAgent(name, say_nothing),
                        name,
                        passport=passport(name, self.tokens[name]),
                        handler=partial(self._hear, case, life),
                    )
                except RateLimited as error:
                    self.talk.counts["attempts throttled"] += 1
                    await trio.sleep(error.retry_after_seconds or _AGAIN_SECONDS)
                except trio.TooSlowError:
                    self.talk.counts["requests tried again"] += 1

    async def _register(self, client: HubClient, name: str) -> AgentClient:
        return await client.register(
            FunctionAgent(name, say_nothing),
            passport(name, self.tokens[name]),
            handler=self.talk.handle,
        )

    def _link_cut(self, cutting: trio.Nursery) -> FaultyLink:
        """Return a link that is cut every few seconds, until the nursery is cancelled."""
        link = FaultyLink(WsLink(self.url))
        cutting.start_soon(partial(cut_again_and_again, self.talk, link, reads_slowly=False))
        return link
