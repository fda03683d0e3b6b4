"""
Guests whose keys are revoked while they talk, and who are given another.

Nothing that a host posts meanwhile may be lost to its guest, nor come twice to one life of it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import attrs
import trio

from trio_hub import (
    AgentClient,
    AuthError,
    ClientState,
    FunctionAgent,
    HubClient,
    NetworkError,
    RateLimited,
    WsLink,
)
from trio_hub.testing import FaultyLink

from .crowd import cut_again_and_again, passport
from .talk import QUICKLY_BACK, Talk, say_nothing

__all__ = ["Revocations"]

_POSTS_BEFORE = 5
_POSTS_MEANWHILE = 5
# The command that changes keys takes a second of CPU, which the others want, too.
_PAUSE_SECONDS = (2.0, 10.0)
# The hub looks into its keys file every half second; a busy machine may take its time.
_TAKES_EFFECT_WITHIN_SECONDS = 30.0
_AGAIN_SECONDS = 0.2


@attrs.define
class Revocations:
    """
    Pairs of a host, whose key stays, and a guest, whose key does not.

    Attributes:
        url: The hub.
        keys: Its keys file.
        talk: Where to write down what happens.
    """

    url: str
    keys: Path
    talk: Talk
    _one_at_a_time: trio.Lock = attrs.field(factory=trio.Lock)

    async def pair(self, number: int, tokens: Mapping[str, str]) -> None:
        """Let one pair meet in one channel after another, until the talk is stopping."""
        host_name, guest_name = f"host-{number}", f"guest-{number}"
        token, life = tokens[guest_name], 0
        link = FaultyLink(WsLink(self.url))
        async with HubClient(link, reconnect=QUICKLY_BACK) as client, trio.open_nursery() as around:
            host = await client.register(
                FunctionAgent(host_name, say_nothing),
                passport(host_name, tokens[host_name]),
                handler=self.talk.handle,
            )
            around.start_soon(partial(cut_again_and_again, self.talk, link, reads_slowly=False))
            while not self.talk.stopping:
                token, life = await self._meet(host, guest_name, token, life)
                await trio.sleep(self.talk.rng.uniform(*_PAUSE_SECONDS))
            around.cancel_scope.cancel()

    async def _meet(self, host: AgentClient, name: str, token: str, life: int) -> tuple[str, int]:
        """Meet in one channel, in the middle of which the guest loses its key."""
        link = FaultyLink(WsLink(self.url))
        async with HubClient(link, reconnect=QUICKLY_BACK) as client:
            guest = await self._attach(client, name, token, life)
            channel = await host.open(type="discussion", target=[guest.agent_id])
            members = [host.agent_id, guest.agent_id]
            for number in range(_POSTS_BEFORE):
                await self.talk.post(host, channel.channel_id, number, members)
            await self._keys("revoke", token.split("_")[1])
            if not await self._is_refused(guest, link):
                self.talk.problems.append(f"{name} came back with a key that was revoked")
            self.talk.counts["keys revoked"] += 1
        for number in range(_POSTS_BEFORE, _POSTS_BEFORE + _POSTS_MEANWHILE):
            await self.talk.post(host, channel.channel_id, number, members)
        token = await self._keys("add", name)
        async with HubClient(WsLink(self.url), reconnect=QUICKLY_BACK) as client:
            await self._attach(client, name, token, life + 1)
            await self.talk.end(host, channel.channel_id, members)
        return token, life + 2

    async def _attach(self, client: HubClient, name: str, token: str, life: int) -> AgentClient:
        """Attach as soon as the hub knows the key."""
        with trio.fail_after(_TAKES_EFFECT_WITHIN_SECONDS):
            while True:
                try:
                    return await client.attach(
                        FunctionAgent(name, say_nothing),
                        name,
                        passport=passport(name, token),
                        handler=partial(self.talk.handle, life=life),
                    )
                except AuthError:
                    self.talk.counts["keys not accepted yet"] += 1
                    await trio.sleep(_AGAIN_SECONDS)
                except RateLimited as error:
                    # It came too often before the hub had read the new key.
                    self.talk.counts["attempts throttled"] += 1
                    await trio.sleep(error.retry_after_seconds or _AGAIN_SECONDS)

    async def _is_refused(self, guest: AgentClient, link: FaultyLink) -> bool:
        """Cut its connection until the hub does not let it come back."""
        with trio.move_on_after(_TAKES_EFFECT_WITHIN_SECONDS):
            while guest.hub_client.state is not ClientState.CLOSED:
                link.cut()
                try:
                    await guest.dead_letters()
                except AuthError:
                    return True
                except NetworkError:
                    self.talk.counts["requests tried again"] += 1
                await trio.sleep(_AGAIN_SECONDS)
            return True
        return False

    async def _keys(self, *words: str) -> str:
        """Change the keys as an operator does, and return what that prints."""
        command = [sys.executable, "-m", "trio_hub", "keys", *words, "--keys", str(self.keys)]
        # Each change reads the file and writes it: two at once, and one of them is lost.
        async with self._one_at_a_time:
            done = await trio.run_process(command, capture_stdout=True)
        return done.stdout.decode().strip()
