"""Agents behind a proxy are owed what they are sent like any other, and get it in order."""

from __future__ import annotations

import attrs
import pytest
import trio

from trio_hub import (
    AuthBlock,
    DeliveryPolicy,
    Envelope,
    Hub,
    KnowledgeStore,
    MemoryKnowledgeStore,
    Passport,
    RemoteAgentProxy,
)
from trio_hub.protocol.backoff import Backoff
from trio_hub.records import EV_TEXT

from .peer import PATIENCE_SECONDS, House, Peer, open_house

FAR = Passport(name="far", kind="remote_agent", auth=AuthBlock(scheme="pigeon"))


@attrs.define(eq=False)
class Pigeons:
    """A proxy that writes down what it carries, and fails where it is told to."""

    scheme: str = "pigeon"
    carried: list[str] = attrs.field(factory=list)
    tried: list[str] = attrs.field(factory=list)
    fails: dict[str, int] = attrs.field(factory=dict)
    closed: int = 0
    news: trio.Event = attrs.field(factory=trio.Event)

    async def dispatch(self, envelope: Envelope, recipient: Passport) -> None:
        assert recipient.name == "far"
        if envelope.event_type != EV_TEXT:
            return
        self.tried.append(envelope.text)
        if self.fails.get(envelope.text, 0):
            self.fails[envelope.text] -= 1
            raise OSError("a hawk")
        self.carried.append(envelope.text)
        self.news.set()
        self.news = trio.Event()

    async def close(self) -> None:
        self.closed += 1

    async def has_carried(self, *texts: str) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while len(self.carried) < len(texts):
                await self.news.wait()
        assert self.carried == list(texts)


async def talk(house: House, *, with_id: str, alice: Peer | None = None) -> tuple[Peer, str]:
    alice = alice if alice is not None else await house.join("alice")
    metadata = await alice.request(
        "create_channel",
        creator_id=alice.id,
        manifest_type="conversation",
        participants=[with_id],
    )
    return alice, metadata["channel_id"]


def test_a_proxy_is_what_has_its_shape() -> None:
    assert isinstance(Pigeons(), RemoteAgentProxy)


async def test_remote_agent_is_invited_hears_and_answers() -> None:
    pigeons = Pigeons()
    async with open_house() as house:
        await house.enter(house.hub.remote_proxy(pigeons))
        far = await house.hub.register(FAR)
        assert far.agent_id is not None
        alice, channel_id = await talk(house, with_id=far.agent_id)
        for number in range(20):
            await alice.say(channel_id, f"{number}")
        await pigeons.has_carried(*(f"{number}" for number in range(20)))
        answer = Envelope(
            channel_id=channel_id,
            sender_id=far.agent_id,
            event_type=EV_TEXT,
            event_data={"text": "from afar"},
        )
        await house.hub.post_envelope(answer)
        await alice.hears("from afar")
    assert pigeons.closed == 1


async def test_what_a_proxy_fails_on_comes_again_and_what_stands_behind_it_waits() -> None:
    pigeons = Pigeons(fails={"1": 2})
    policy = DeliveryPolicy(backoff=Backoff(base=0.01))
    async with open_house(delivery=policy) as house:
        await house.enter(house.hub.remote_proxy(pigeons))
        far = await house.hub.register(FAR)
        assert far.agent_id is not None
        alice, channel_id = await talk(house, with_id=far.agent_id)
        for number in range(4):
            await alice.say(channel_id, f"{number}")
        await pigeons.has_carried("0", "1", "2", "3")
    assert pigeons.tried == ["0", "1", "1", "1", "2", "3"]


async def test_what_a_proxy_never_manages_is_a_dead_letter() -> None:
    pigeons = Pigeons(fails={"0": 99})
    policy = DeliveryPolicy(max_attempts=2, backoff=Backoff(base=0.01))
    async with open_house(delivery=policy) as house:
        await house.enter(house.hub.remote_proxy(pigeons))
        far = await house.hub.register(FAR)
        assert far.agent_id is not None
        alice, channel_id = await talk(house, with_id=far.agent_id)
        await alice.say(channel_id, "0")
        await alice.say(channel_id, "1")
        await pigeons.has_carried("1")
        [letter] = house.hub.list_dead_letters(far.agent_id).letters
        assert letter.attempts == 2
        assert "a hawk" in letter.reason


@pytest.mark.parametrize("is_registered_before", [True, False])
async def test_without_a_proxy_it_waits_in_the_log_also_over_a_restart(
    is_registered_before: bool,
) -> None:
    store: KnowledgeStore = MemoryKnowledgeStore()
    first = Pigeons()
    async with open_house(store) as house:
        alice = await house.join("alice")
        if is_registered_before:
            far = await house.hub.register(FAR)
        async with house.hub.remote_proxy(first):
            if not is_registered_before:
                far = await house.hub.register(FAR)
            assert far.agent_id is not None
            _, channel_id = await talk(house, with_id=far.agent_id, alice=alice)
            await alice.say(channel_id, "0")
            await first.has_carried("0")
            # The receipt has been taken once everything stands still.
            await alice.quiet()
        await alice.say(channel_id, "1")
        await alice.quiet()
        assert first.carried == ["0"]
    second = Pigeons()
    async with Hub.open(store) as hub, hub.remote_proxy(second):
        await second.has_carried("1")


async def test_scheme_has_one_proxy_and_a_free_one_can_have_another() -> None:
    async with open_house() as house:
        async with house.hub.remote_proxy(Pigeons()):
            with pytest.raises(ValueError, match="'pigeon' has a proxy already"):
                async with house.hub.remote_proxy(Pigeons()):
                    pass
        async with house.hub.remote_proxy(Pigeons()):
            pass


async def test_proxy_gets_only_remote_agents_of_its_scheme() -> None:
    pigeons = Pigeons()
    async with open_house() as house:
        await house.enter(house.hub.remote_proxy(pigeons))
        other = attrs.evolve(FAR, name="other", auth=AuthBlock(scheme="drum"))
        drum = await house.hub.register(other)
        assert drum.agent_id is not None
        assert house.hub._deliveries.binding_of(drum.agent_id) is None
        bob = await house.join("bob")
        assert house.hub._deliveries.binding_of(bob.id) is not None


async def test_wire_client_cannot_come_as_a_remote_agent() -> None:
    async with open_house() as house:
        await house.enter(house.hub.remote_proxy(Pigeons()))
        await house.hub.register(FAR)
        stranger = await house.peer()
        stranger.send("hello", name="far", auth_scheme="pigeon", since_envelope_id="")
        error = await stranger.expect("error")
        assert error["code"] == "auth_failed"


async def test_agent_that_is_unregistered_leaves_nothing_with_its_proxy() -> None:
    async with open_house() as house:
        await house.enter(house.hub.remote_proxy(Pigeons()))
        for _ in range(3):
            far = await house.hub.register(FAR)
            assert far.agent_id is not None
            await house.hub.unregister(far.agent_id)
        assert not house.hub._remote_agents._routes["pigeon"]._bindings


async def test_one_that_is_revoked_is_handed_nothing_until_it_is_reinstated() -> None:
    store: KnowledgeStore = MemoryKnowledgeStore()
    async with store:
        async with open_house(store) as house:
            pigeons = Pigeons()
            await house.enter(house.hub.remote_proxy(pigeons))
            far = await house.hub.register(FAR)
            assert far.agent_id is not None
            alice, channel_id = await talk(house, with_id=far.agent_id)
            await alice.say(channel_id, "before")
            await pigeons.has_carried("before")
            await house.hub.revoke_agent("far", "x")
            await alice.say(channel_id, "kept")
            assert house.hub.owed_to(far.agent_id) == 1
        async with open_house(store) as house:
            again = Pigeons()
            await house.enter(house.hub.remote_proxy(again))
            alice = await house.peer()
            await alice.hello("alice")
            await alice.say(channel_id, "kept, too")
            await alice.quiet()
            assert (pigeons.tried, again.tried) == (["before"], [])
            await house.hub.reinstate_agent("far")
            await again.has_carried("kept", "kept, too")
