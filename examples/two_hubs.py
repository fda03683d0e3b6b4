"""Two hubs: an agent in Berlin asks one in Lisbon, and each company keeps its own hub."""

from __future__ import annotations

import trio

from trio_hub import (
    ApiKeyAuth,
    AuthBlock,
    AuthRegistry,
    Federation,
    FunctionAgent,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    Peer,
    WsLink,
    serve_ws,
)
from trio_hub.client import Turn


async def alice(turn: Turn) -> None:
    """Alice only asks."""


async def bob(turn: Turn) -> str:
    return f"The price of {turn.text} is 12 euros."


def key(token: str) -> AuthBlock:
    return AuthBlock(scheme="api_key", claim={"token": token})


async def main() -> None:
    # Each hub knows the keys of its own agents, and one for the other hub.
    of_berlin = AuthRegistry([ApiKeyAuth({"alice": "k1", "hub:lisbon": "k2"})])
    of_lisbon = AuthRegistry([ApiKeyAuth({"bob": "k3", "hub:berlin": "k4"})])
    async with (
        Hub.open(MemoryKnowledgeStore(), auth=of_berlin) as berlin,
        Hub.open(MemoryKnowledgeStore(), auth=of_lisbon) as lisbon,
        serve_ws(berlin, "127.0.0.1", 0) as berlin_server,
        serve_ws(lisbon, "127.0.0.1", 0) as lisbon_server,
        HubClient(LocalLink(berlin)) as at_berlin,
        HubClient(LocalLink(lisbon)) as at_lisbon,
    ):
        asker = await at_berlin.register(
            FunctionAgent("alice", alice), Passport(name="alice", auth=key("k1"))
        )
        await at_lisbon.register(FunctionAgent("bob", bob), Passport(name="bob", auth=key("k3")))
        to_lisbon = Peer(
            name="lisbon", link=WsLink(lisbon_server.url), key="k4", exports="alice", imports="*"
        )
        to_berlin = Peer(
            name="berlin", link=WsLink(berlin_server.url), key="k2", exports="bob", imports="*"
        )
        async with (
            Federation.open(berlin, "berlin", [to_lisbon]),
            Federation.open(lisbon, "lisbon", [to_berlin]) as federation,
        ):
            # Once Lisbon has reached Berlin, Berlin knows who there is.
            await federation.wait_up("berlin")
            channel = await asker.open(type="consulting", target="hub://lisbon/bob")
            await channel.send("cork")
            reply = await asker.wait_for_channel_event(
                channel_id=channel.channel_id,
                predicate=lambda it: it.sender_id != asker.agent_id and it.text != "",
                timeout=10,
            )
            print(berlin.name_for(reply.sender_id))  # prints: hub://lisbon/bob
            print(reply.text)  # prints: The price of cork is 12 euros.


if __name__ == "__main__":
    trio.run(main)
