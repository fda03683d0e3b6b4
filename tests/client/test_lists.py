"""Lists that are longer than one answer of a hub."""

from __future__ import annotations

import trio

from trio_hub.client import AgentClient, HubClient, ScriptedAgent, accept_invite
from trio_hub.hub import Hub, HubLimits
from trio_hub.links import LocalLink
from trio_hub.records import EV_CHANNEL_INVITE, Envelope
from trio_hub.stores import MemoryKnowledgeStore

LIMITS = HubLimits(agents_per_answer_max=2, channels_per_answer_max=2, turns_per_answer_max=2)


async def listen(envelope: Envelope, client: AgentClient, attempt: int) -> None:
    """Accept invites and say nothing."""
    if envelope.event_type == EV_CHANNEL_INVITE:
        await accept_invite(envelope, client)


async def test_agents_channels_and_turns_are_all_found_a_page_at_a_time() -> None:
    async with (
        Hub.open(MemoryKnowledgeStore(), limits=LIMITS) as hub,
        HubClient(LocalLink(hub)) as client,
    ):
        alice = await client.register(ScriptedAgent("alice", []), handler=listen)
        bob = await client.register(ScriptedAgent("bob", []), handler=listen)
        for name in ("carol", "dave", "eve"):
            await client.register(ScriptedAgent(name, []), handler=listen)
        opened = []
        for number in range(5):
            channel = await alice.open(type="consulting", target="bob")
            opened.append(channel.channel_id)
            await channel.send("well?")
            if number == 0:
                await channel.close()

        names: list[str] = []
        page = await client.list_agents()
        while page:
            names += [it.name for it in page]
            page = await client.list_agents(after=page[-1])
        assert names == ["alice", "bob", "carol", "dave", "eve"]

        listed: list[str] = []
        channels = await client.list_channels(agent_id=alice.agent_id)
        while channels:
            listed += [it.channel_id for it in channels]
            channels = await client.list_channels(agent_id=alice.agent_id, after=channels[-1])
        assert sorted(listed) == sorted(opened[1:])

        with trio.fail_after(10):
            turns = await client.pending_turns_for(bob.agent_id)
        assert sorted(it.channel_id for it in turns) == sorted(opened[1:])


async def test_more_names_than_a_hub_resolves_at_once_are_asked_for_in_parts() -> None:
    async with (
        Hub.open(MemoryKnowledgeStore(), limits=HubLimits(names_per_request_max=1_000)) as hub,
        HubClient(LocalLink(hub)) as client,
    ):
        alice = await client.register(ScriptedAgent("alice", []))
        wanted = [f"{number:032x}" for number in range(1_500)]
        names = await client.names_for([*wanted, alice.agent_id])
        assert names == {**{it: it for it in wanted}, alice.agent_id: "alice"}
