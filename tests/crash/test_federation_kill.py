"""Two hubs that are joined, killed again and again while their agents talk: nothing is lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from trio_hub import AgentClient, Envelope, HubClient, Passport, Reconnect, WsLink
from trio_hub.client import Turn
from trio_hub.client.handlers import accept_invite
from trio_hub.errors import NetworkError
from trio_hub.protocol.backoff import Backoff
from trio_hub.records import EV_CHANNEL_INVITE, EV_TEXT

from .hub_process import HubProcess

PATIENCE_SECONDS = 120.0
TEXTS = 60
KILLS = 6


class Journal:
    """What an agent has acted on: once for each envelope, whatever is delivered."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._ids: set[str] = set()
        self._news = trio.Event()

    async def handle(self, envelope: Envelope, client: AgentClient, _attempt: int) -> None:
        if envelope.event_type == EV_CHANNEL_INVITE:
            await accept_invite(envelope, client)
        elif envelope.event_type == EV_TEXT and envelope.envelope_id not in self._ids:
            self._ids.add(envelope.envelope_id)
            self.texts.append(envelope.text)
            self._news.set()
            self._news = trio.Event()

    async def has(self, count: int) -> None:
        while len(self.texts) < count:
            await self._news.wait()


async def _silence(_turn: Turn) -> None:
    """Agents talk by themselves here."""


def _configure(directory: Path, me: HubProcess, name: str, other: HubProcess, peer: str) -> None:
    directory.joinpath("federation.toml").write_text(
        f'name = "{name}"\n'
        "allow-unauthenticated = true\n"
        f"[peers.{peer}]\n"
        f'url = "{other.url}"\n'
        'exports = ["*"]\n'
        'imports = ["*"]\n'
    )
    assert me.url != other.url


async def _talk(client: AgentClient, channel_id: str, name: str) -> None:
    for number in range(TEXTS):
        said = Envelope(
            channel_id=channel_id,
            sender_id=client.agent_id,
            event_type=EV_TEXT,
            event_data={"text": f"{name} {number}"},
            idempotency_key=f"{name} {number}",
        )
        while True:
            try:
                await client.send_envelope(said)
                break
            except trio.TooSlowError:
                pass
            except NetworkError as error:
                if not error.retryable:
                    raise


@pytest.mark.slow
async def test_joined_hubs_that_are_killed_lose_nothing_and_do_nothing_twice(
    tmp_path: Path,
) -> None:
    rng = random.Random(11)
    hubs = {}
    for name in ("east", "west"):
        folder = tmp_path / name
        folder.mkdir()
        hubs[name] = HubProcess(folder, rng, "--federation", str(folder / "federation.toml"))
    east, west = hubs["east"], hubs["west"]
    _configure(tmp_path / "east", east, "east", west, "west")
    _configure(tmp_path / "west", west, "west", east, "east")
    patient = Reconnect(backoff=Backoff(0.05, 0.5), wait_for_hub=True)
    of_alice, of_bob = Journal(), Journal()
    with trio.fail_after(PATIENCE_SECONDS):
        await east.start()
        await west.start()
        try:
            async with (
                HubClient(WsLink(east.url), reconnect=patient) as at_east,
                HubClient(WsLink(west.url), reconnect=patient) as at_west,
            ):
                alice = await at_east.register(
                    _silence, Passport(name="alice"), handler=of_alice.handle
                )
                bob = await at_west.register(_silence, Passport(name="bob"), handler=of_bob.handle)
                while await at_east.find_agent_id("hub://west/bob") is None:  # noqa: ASYNC110  tells nobody
                    await trio.sleep(0.05)
                channel = await alice.open(type="conversation", target="hub://west/bob")
                await _state(at_west, channel.channel_id)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_talk, alice, channel.channel_id, "alice")
                    nursery.start_soon(_talk, bob, channel.channel_id, "bob")
                    for kill in range(KILLS):
                        await of_bob.has(min(TEXTS, (kill + 1) * TEXTS // (KILLS + 2)))
                        hub = rng.choice([east, west])
                        await hub.kill()
                        await hub.start()
                await of_alice.has(TEXTS)
                await of_bob.has(TEXTS)
                for client in (at_east, at_west):
                    assert await client.find_agent_id("nobody") is None
        finally:
            with trio.CancelScope(shield=True):
                await east.kill()
                await west.kill()
    assert of_bob.texts == [f"alice {number}" for number in range(TEXTS)]
    assert of_alice.texts == [f"bob {number}" for number in range(TEXTS)]


async def _state(client: HubClient, channel_id: str) -> None:
    """Wait until a channel is known to be open."""
    while (await client.get_channel(channel_id)).state != "active":  # noqa: ASYNC110  tells nobody
        await trio.sleep(0.02)
