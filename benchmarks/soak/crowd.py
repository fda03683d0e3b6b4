"""
One process full of agents, and of others: ``python -m benchmarks.soak.crowd``.

It is told on stdin what to do (`Orders` in JSON) and answers on stdout what came of it.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs
import trio

from trio_hub import (
    AgentClient,
    AuthBlock,
    ConnectionLost,
    FunctionAgent,
    HubClient,
    Passport,
    WsLink,
)
from trio_hub.testing import FaultyLink

from .talk import QUICKLY_BACK, Talk, say_nothing

__all__ = ["Crowd", "Orders", "cut_again_and_again", "passport"]

_GROUP = 5
_CUT_AFTER_SECONDS = (1.0, 5.0)
_GARBAGE = (b"garbage", b'{"kind":"shout"}', b"[", b'{"kind":"request","request_id":"1","op":5}')
_GARBAGE_AT_ONCE = 200


@attrs.frozen(kw_only=True)
class Orders:
    """
    What one process does.

    Attributes:
        url: The hub.
        until: By the monotonic clock of the machine; nothing is begun after that.
        seed: Of everything that is left to chance.
        tokens: The keys of its agents, by name.
        slow: The names of those that do not read for a while now and then.
        passer_by: Who registers and unregisters all the time, and its key.
    """

    url: str
    until: float
    seed: int
    tokens: Mapping[str, str]
    slow: tuple[str, ...]
    passer_by: tuple[str, str]


def passport(name: str, token: str) -> Passport:
    """Return the passport of one that has an API key."""
    return Passport(name=name, auth=AuthBlock(scheme="api_key", claim={"token": token}))


async def cut_again_and_again(talk: Talk, link: FaultyLink, *, reads_slowly: bool) -> None:
    """Cut a connection every few seconds; let it stand still before, if it is one of those."""
    while True:
        await trio.sleep(talk.rng.uniform(*_CUT_AFTER_SECONDS))
        if reads_slowly:
            link.stall(sending=False)
            talk.counts["stalls"] += 1
            await trio.sleep(talk.rng.uniform(*_CUT_AFTER_SECONDS))
            link.resume()
        link.cut()
        talk.counts["cuts"] += 1


class Crowd:
    """The agents of one process, in groups, on a connection each; a stranger; a passer-by."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.talk = Talk(random.Random(orders.seed))

    async def run(self) -> None:
        """Talk for as long as ordered, and until everything is settled."""
        async with self._everybody() as agents, trio.open_nursery() as around:
            around.start_soon(self._send_garbage)
            around.start_soon(self._pass_by)
            async with trio.open_nursery() as groups:
                for start in range(0, len(agents), _GROUP):
                    groups.start_soon(self.talk.group, agents[start : start + _GROUP])
                await trio.sleep(max(0.0, self.orders.until - time.monotonic()))
                self.talk.stopping = True
            around.cancel_scope.cancel()

    @asynccontextmanager
    async def _everybody(self) -> AsyncIterator[list[AgentClient]]:
        """Have all agents there for as long as the block lasts, on connections that are cut."""
        agents: list[AgentClient] = []
        arrived, leaving = trio.Event(), trio.Event()

        async def one(name: str, token: str) -> None:
            link = FaultyLink(WsLink(self.orders.url))
            async with HubClient(link, reconnect=QUICKLY_BACK) as client:
                agents.append(
                    await client.register(
                        FunctionAgent(name, say_nothing),
                        passport(name, token),
                        handler=self.talk.handle,
                    )
                )
                if len(agents) == len(self.orders.tokens):
                    arrived.set()
                await arrived.wait()
                async with trio.open_nursery() as cutting:
                    cutting.start_soon(cut, link, name in self.orders.slow)
                    await leaving.wait()
                    cutting.cancel_scope.cancel()

        async def cut(link: FaultyLink, reads_slowly: bool) -> None:
            await cut_again_and_again(self.talk, link, reads_slowly=reads_slowly)

        async with trio.open_nursery() as nursery:
            for name, token in self.orders.tokens.items():
                nursery.start_soon(one, name, token)
            await arrived.wait()
            yield agents
            leaving.set()

    async def _send_garbage(self) -> None:
        """Send what is no frame until the hub has had enough, again and again."""
        talk = self.talk
        while True:
            async with (
                WsLink(self.orders.url).connect() as endpoint,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(endpoint.write_out)
                for _ in range(_GARBAGE_AT_ONCE):
                    endpoint.push_nowait(talk.rng.choice(_GARBAGE))
                try:
                    while True:
                        await endpoint.receive()
                except ConnectionLost as error:
                    shown_out = "too many malformed frames" in str(error)
                    talk.counts["garbage senders shown out"] += shown_out
                    if not shown_out:
                        talk.problems.append(f"a sender of garbage ended otherwise: {error}")
                nursery.cancel_scope.cancel()
            await trio.sleep(1)

    async def _pass_by(self) -> None:
        """Register, look around, unregister, again and again."""
        name, token = self.orders.passer_by
        while True:
            async with HubClient(WsLink(self.orders.url), reconnect=QUICKLY_BACK) as client:
                one = await client.register(FunctionAgent(name, say_nothing), passport(name, token))
                await client.list_agents(limit=10)
                await one.unregister()
                self.talk.counts["came and went"] += 1
            await trio.sleep(1)


def main() -> None:
    """Do what stdin says."""
    crowd = Crowd(Orders(**json.load(sys.stdin)))
    trio.run(crowd.run)
    json.dump(crowd.talk.report(), sys.stdout)


if __name__ == "__main__":
    main()
