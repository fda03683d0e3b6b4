"""
The load with this project's own client: `HubClient` over WebSocket, in the batched dialect.

Other than `plain_load`, what is measured here is the whole way as users have it: client, wire and
hub, receipts included. Both share the machine's cores.

Run by `benchmarks.run`, or by hand like `plain_load`.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

import trio

from benchmarks.plain_load import LoadFlags, Meter
from trio_hub import AgentClient, Envelope, FunctionAgent, HubClient, WsLink
from trio_hub.client.handlers import accept_invite
from trio_hub.records import EV_CHANNEL_INVITE, EV_TEXT, InboxBlock, LimitsBlock, Rule

__all__ = ["ClientLoad", "Listener"]

_DRAIN_SECONDS = 120.0
_NO_LIMIT = Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=0)))


class Listener:
    """An agent that accepts invites and counts what it hears."""

    def __init__(self) -> None:
        self.heard = 0
        self.last_at = 0.0
        self._wanted = -1
        self._there = trio.Event()

    async def handle(self, envelope: Envelope, client: AgentClient, _attempt: int) -> None:
        """Take an envelope."""
        if envelope.event_type == EV_CHANNEL_INVITE:
            await accept_invite(envelope, client)
        elif envelope.event_type in (EV_TEXT, "bench.note"):
            self.heard += 1
            if self.heard == self._wanted:
                self._there.set()

    async def wait_for(self, wanted: int) -> None:
        """Return once it has heard so much in all."""
        self._wanted = wanted
        if self.heard < wanted:
            with trio.fail_after(_DRAIN_SECONDS):
                await self._there.wait()


class ClientLoad:
    """What a question gets: clients, agents on them, and the hub's CPU time."""

    def __init__(self, url: str, hub_pid: int | None, stack: AsyncExitStack) -> None:
        self._url = url
        self._hub_pid = hub_pid
        self._stack = stack

    async def client(self) -> HubClient:
        """Open a connection."""
        return await self._stack.enter_async_context(HubClient(WsLink(self._url)))

    async def agent(self, client: HubClient, name: str) -> tuple[AgentClient, Listener]:
        """Register an agent without limits that listens."""
        listener = Listener()
        registered = await client.register(
            FunctionAgent(name, _never_asked), rule=_NO_LIMIT, handler=listener.handle
        )
        return registered, listener

    def meter(self) -> Meter:
        """Start to measure."""
        return Meter(self._hub_pid)


async def _never_asked(_turn: object) -> None:
    raise AssertionError("the handler does not ask the agent")


async def _run(flags: LoadFlags) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        return await flags.ask(ClientLoad(flags.url, flags.hub_pid, stack), **flags.parameters)


def main() -> None:
    """Ask the question, print one line of JSON."""
    print(json.dumps(trio.run(_run, LoadFlags.read(__doc__))), flush=True)


if __name__ == "__main__":
    main()
