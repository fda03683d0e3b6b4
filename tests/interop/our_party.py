"""Our kind of party: our `HubClient`, in a task of its own."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs
import msgspec
import trio

from trio_hub import (
    AuthBlock,
    Finish,
    Handoff,
    HubBackedCheckpointStore,
    InboxBlock,
    LimitsBlock,
    NetworkError,
    Passport,
    Reply,
    Resume,
    Rule,
    Task,
    TaskState,
    WsLink,
    records,
)
from trio_hub.client import AgentClient, Channel, FunctionAgent, HubClient, Turn

from .parties import TEXT, Behaviour, Envelope, Party, Refused

__all__ = ["OurParty"]


@attrs.define(eq=False)
class _Work:
    """
    A task that is under way.

    Attributes:
        scope: What it runs in.
        steps: What is still to be done, once that is known.
    """

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    steps: list[Any] = attrs.field(factory=list)
    goes_on: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)


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
        self._prompts: list[str] = []
        self._channels: dict[str, Channel] = {}
        self._asked = trio.Event()
        self._work: dict[str, _Work] = {}

    async def call(self, do: str, **parameters: Any) -> Any:
        try:
            return await getattr(self, f"_{do}")(**parameters)
        except NetworkError as error:
            raise Refused(type(error).__name__, str(error)) from error

    async def kill(self) -> None:
        self._scope.cancel()
        await self._ended.wait()
        # What they would say to the hub now is not heard, as after a real death.
        for work in self._work.values():
            work.scope.cancel()

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
        async def answer(turn: Turn) -> Reply:
            self._prompts.append(turn.text)
            self._asked.set()
            if behaviour == "stuck":
                await trio.sleep_forever()
            if isinstance(script[0], str):
                return script[0]
            # What the other side's agent says by calling a tool.
            tool, arguments = script[0]["tool"], script[0]["arguments"]
            if tool == "finish":
                return Finish(**arguments)
            if tool == "hand_off":
                return Handoff(**arguments)
            return Handoff("", text=script[1], tool=tool, **arguments)

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

    async def _open(
        self,
        type: str,
        target: list[str],
        knobs: dict[str, Any] | None = None,
        expectations: list[records.Expectation] | None = None,
    ) -> dict[str, Any]:
        channel = await self._client.open(
            type=type,
            target=target,
            intent="interop",
            labels={"from": "ours"},
            knobs=knobs,
            expectations=expectations,
        )
        self._channels[channel.channel_id] = channel
        return as_wire(channel.metadata)

    async def _send(self, channel_id: str, text: str) -> str:
        if channel_id in self._channels:
            return await self._channels[channel_id].send(text)
        return await self._post(channel_id, TEXT, {"text": text})

    async def _post(self, channel_id: str, event_type: str, event_data: dict[str, Any]) -> str:
        return await self._client.send_envelope(
            records.Envelope(
                channel_id=channel_id,
                sender_id=self._client.agent_id,
                event_type=event_type,
                event_data=event_data,
            )
        )

    async def _wait_for(
        self, channel_id: str, event_type: str, sender_id: str | None, timeout: float
    ) -> Envelope:
        def wanted(envelope: records.Envelope) -> bool:
            return envelope.event_type == event_type and sender_id in (None, envelope.sender_id)

        return as_wire(
            await self._client.wait_for_channel_event(
                channel_id=channel_id, predicate=wanted, timeout=timeout
            )
        )

    async def _read_wal(
        self, channel_id: str, since: int = 0, until: int | None = None
    ) -> list[Envelope]:
        log = await self._hub.read_wal(channel_id, since=since, until=until)
        return [as_wire(envelope) for envelope in log]

    async def _info(self, channel_id: str) -> dict[str, Any]:
        return as_wire(await self._hub.get_channel(channel_id))

    async def _close_channel(self, channel_id: str, reason: str) -> dict[str, Any]:
        return as_wire(await self._hub.close_channel(channel_id, reason=reason))

    async def _can_send(self, channel_id: str) -> bool:
        return await self._hub.can_send(channel_id, self._client.agent_id)

    async def _pending_turns(self) -> list[dict[str, Any]]:
        turns = await self._hub.pending_turns_for(self._client.agent_id)
        return [as_wire(turn) for turn in turns]

    async def _resume_pending_turns(self) -> int:
        return await self._client.resume_pending_turns()

    async def _look_up(self, name: str) -> dict[str, Any]:
        passport = await self._hub.get_agent(name)
        assert passport.agent_id is not None
        return {
            "passport": as_wire(passport),
            "resume": as_wire(await self._hub.get_resume(passport.agent_id)),
            "rule": as_wire(await self._hub.get_rule(passport.agent_id)),
            "skill": await self._hub.get_skill(passport.agent_id),
        }

    async def _list_agents(self, **filters: Any) -> list[str]:
        return [passport.name for passport in await self._hub.list_agents(**filters)]

    async def _find_peers(self, **query: Any) -> list[dict[str, Any]]:
        return [as_wire(peer) for peer in await self._client.peers.find(**query)]

    async def _describe_peer(self, name: str) -> dict[str, Any]:
        return as_wire(await self._client.peers.describe(name))

    async def _update_myself(self, summary: str, skill_md: str) -> dict[str, Any]:
        await self._client.set_resume(Resume(claimed_capabilities=("changed",), summary=summary))
        await self._client.set_skill(skill_md)
        return await self._look_up(self._client.passport.name)

    async def _unregister(self) -> None:
        await self._client.unregister()

    async def _begin_task(
        self,
        title: str,
        steps: list[Any],
        capability: str | None = None,
        channel_id: str | None = None,
        resume_from: str | None = None,
    ) -> dict[str, Any]:
        begun: dict[str, Any] = await self._nursery.start(
            self._do_task, title, steps, capability, channel_id, resume_from
        )
        return begun

    async def _do_task(
        self,
        title: str,
        steps: list[Any],
        capability: str | None,
        channel_id: str | None,
        resume_from: str | None,
        *,
        task_status: trio.TaskStatus[dict[str, Any]],
    ) -> None:
        work = _Work()
        with work.scope, suppress(ZeroDivisionError):
            async with self._client.task(
                title,
                payload={"from": "ours"},
                capability=capability,
                channel_id=channel_id,
                checkpoint_store=HubBackedCheckpointStore(self._hub),
                resume_from=resume_from,
            ) as task:
                await _step(task, steps)
                self._work[task.task_id] = work
                task_status.started({"task_id": task.task_id, "resumed_state": task.resumed_state})
                await work.goes_on.wait()
                await _step(task, work.steps)
        work.ended.set()

    async def _end_task(self, task_id: str, steps: list[Any]) -> None:
        work = self._work.pop(task_id)
        work.steps = steps
        work.goes_on.set()
        await work.ended.wait()

    async def _get_task(self, task_id: str) -> dict[str, Any]:
        return as_wire(await self._hub.get_task(task_id))

    async def _list_tasks(self, state: str | None = None, **filters: Any) -> list[str]:
        wanted = None if state is None else TaskState(state)
        return [it.task_id for it in await self._hub.list_tasks(state=wanted, **filters)]

    async def _keep(self, task_id: str, state: dict[str, Any]) -> None:
        await HubBackedCheckpointStore(self._hub).write(task_id, state)

    async def _kept(self, task_id: str) -> dict[str, Any] | None:
        return await HubBackedCheckpointStore(self._hub).read(task_id)

    async def _heard(self) -> list[str]:
        return self._prompts

    async def _until_heard(self, words: str) -> None:
        while not any(words in prompt for prompt in self._prompts):
            self._asked = trio.Event()
            await self._asked.wait()


async def _step(task: Task, steps: list[Any]) -> None:
    for do, what in steps:
        if do == "raise":
            raise ZeroDivisionError(what)
        await getattr(task, do)(what)


def as_wire(record: object) -> dict[str, Any]:
    """Write a record in the wire's words."""
    written: dict[str, Any] = msgspec.to_builtins(record)
    return written
