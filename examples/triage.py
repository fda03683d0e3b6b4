"""Triage: tickets go to whoever can do them, as tasks that the desk waits for."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from trio_hub import (
    AgentClient,
    FunctionAgent,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    Resume,
    TaskState,
    Turn,
)

TICKETS = {
    "The printer is on fire": "hardware",
    "I forgot my password": "accounts",
    "The printer is out of paper": "hardware",
}


async def technician(turn: Turn) -> str:
    return await work(turn, "hardware")


async def registrar(turn: Turn) -> str:
    return await work(turn, "accounts")


async def work(turn: Turn, capability: str) -> str:
    """Do a ticket as a task in its channel, so that whoever asked can follow it by its id."""
    async with turn.agent.task(
        turn.text, capability=capability, ttl="10m", channel_id=turn.channel.channel_id
    ) as task:
        await turn.channel.send(task.task_id)
        await task.progress({"looked at": turn.text})
        if "fire" in turn.text:
            await task.fail("call the fire brigade")
        else:
            await task.complete("done")
    return ""


async def nobody(turn: Turn) -> None:
    """The desk reads the tasks, not the channels."""


async def main() -> None:
    able: Mapping[str, tuple[str, ...]] = {"technician": ("hardware",), "registrar": ("accounts",)}
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        for agent in (
            FunctionAgent("technician", technician),
            FunctionAgent("registrar", registrar),
        ):
            await client.register(agent, resume=Resume(claimed_capabilities=able[agent.name]))
        desk = await client.register(FunctionAgent("desk", nobody))
        for text, capability in TICKETS.items():
            print(await triage(desk, text, capability))
        # prints: technician: The printer is on fire: failed, call the fire brigade
        # prints: registrar: I forgot my password: completed
        # prints: technician: The printer is out of paper: completed


async def triage(desk: AgentClient, text: str, capability: str) -> str:
    (passport, *_) = await desk.hub_client.list_agents(capability=capability)
    channel = await desk.open(type="conversation", target=passport.name)
    await channel.send(text)
    begun = await desk.wait_for_channel_event(
        channel_id=channel.channel_id,
        predicate=lambda it: it.sender_id == passport.agent_id,
        timeout=10,
    )
    # The hub tells in the moment the task ends; nobody polls.
    task = await desk.hub_client.wait_task(begun.text, timeout=60)
    how = f", {task.error}" if task.state is TaskState.FAILED else ""
    return f"{passport.name}: {task.spec.title}: {task.state}{how}"


if __name__ == "__main__":
    trio.run(main)
