"""Our kind of party: our `HubClient`, in a task of its own."""

from __future__ import annotations

from typing import Any

import trio

from trio_hub import (
    AgentClient,
    AuthBlock,
    FunctionAgent,
    HubClient,
    InboxBlock,
    LimitsBlock,
    NetworkError,
    Passport,
    Resume,
    Rule,
    Turn,
    WsLink,
)

from .parties import Behaviour, Party, Refused

__all__ = ["OurParty"]


class OurParty(Party):
    """
    Our client in a task of its own. Killed by cancelling it, which cuts its connection.

    Args:
        name: The agent's name.
        nursery: Where its task lives.
    """

    def __init__(self, name: str, nursery: trio.Nursery) -> None:
        super().__init__(name)
        self._nursery = nursery
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._hub: HubClient
        self._client: AgentClient
        self._heard: list[str] = []
        self._asked = trio.Event()

    async def call(self, do: str, **parameters: Any) -> Any:
        try:
            return await getattr(self, f"_{do}")(**parameters)
        except NetworkError as error:
            raise Refused(type(error).__name__, str(error)) from error

    async def kill(self) -> None:
        self._scope.cancel()
        await self._ended.wait()

    async def _connect(self, url: str) -> None:
        await self._nursery.start(self._live, url)

    async def _live(self, url: str, task_status: trio.TaskStatus[None]) -> None:
        try:
            with self._scope:
                async with HubClient(WsLink(url)) as self._hub:
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self._ended.set()

    def _agent(self, name: str, behaviour: Behaviour, script: list[Any]) -> FunctionAgent:
        async def answer(turn: Turn) -> str:
            self._heard.append(turn.text)
            self._asked.set()
            if behaviour == "stuck":
                await trio.sleep_forever()
            return str(script[0])

        return FunctionAgent(name, answer)

    @staticmethod
    def _passport(name: str, scheme: str, claim: dict[str, Any] | None) -> Passport:
        return Passport(name=name, auth=AuthBlock(scheme=scheme, claim=claim or {}))

    def _behave(self, behaviour: Behaviour) -> str:
        if behaviour == "listens":

            async def listen(_: object) -> None:
                """Leave it where the tests look."""

            self._client.on_envelope(listen)
        return self._client.agent_id

    async def _register(
        self,
        name: str,
        behaviour: Behaviour,
        script: list[Any],
        scheme: str = "none",
        claim: dict[str, Any] | None = None,
        max_pending: int | None = None,
    ) -> str:
        rule = None
        if max_pending is not None:
            rule = Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=max_pending)))
        self._client = await self._hub.register(
            self._agent(name, behaviour, script),
            self._passport(name, scheme, claim),
            Resume(claimed_capabilities=("interop",), summary=f"{name} of trio_hub"),
            rule=rule,
            skill_md=f"# {name}",
        )
        return self._behave(behaviour)

    async def _attach(
        self,
        name: str,
        behaviour: Behaviour,
        script: list[Any],
        scheme: str = "none",
        claim: dict[str, Any] | None = None,
        since: str | None = "",
    ) -> str:
        self._client = await self._hub.attach(
            self._agent(name, behaviour, script),
            name=name,
            passport=self._passport(name, scheme, claim),
            since_envelope_id=since,
        )
        return self._behave(behaviour)

    async def _open(self, type: str, target: list[str]) -> dict[str, Any]:
        channel = await self._client.open(
            type=type, target=target, intent="interop", labels={"from": "ours"}
        )
        return as_wire(channel.metadata)
