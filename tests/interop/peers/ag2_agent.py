"""
An AG2 agent in a process of its own, driven over stdin and stdout in lines of JSON.

Nothing in here knows of this project: it is AG2's `HubClient(WsLink(url))` with AG2's default
handler, and a scripted model in place of a network one. Each line in is
`{"id": 1, "do": "send", ...}`; each line out `{"id": 1, "result": ...}` or
`{"id": 1, "error": {"class": "ProtocolError", "message": "..."}}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from ag2 import Agent
from ag2.config import LLMClient, ModelConfig
from ag2.context import ConversationContext
from ag2.events import ModelResponse, ToolCallEvent
from ag2.network import (
    AgentClient,
    AuthBlock,
    Channel,
    Envelope,
    Finish,
    Handoff,
    HubBackedCheckpointStore,
    HubClient,
    InboxBlock,
    LimitsBlock,
    Passport,
    Resume,
    Rule,
    TaskMirror,
    WsLink,
)
from ag2.stream import MemoryStream
from ag2.task import Task, TaskState
from ag2.testing import TestConfig, TrackingConfig


class StuckClient(LLMClient):
    """A model that never answers, so that what it was asked is never acked."""

    async def __call__(self, messages: Any, context: Any, **kwargs: Any) -> ModelResponse:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")


class StuckConfig(ModelConfig):
    """Makes `StuckClient`s."""

    provider = None
    model = None

    def copy(self) -> StuckConfig:
        return self

    def create(self) -> StuckClient:
        return StuckClient()

    def create_files_client(self) -> Any:
        raise NotImplementedError


def spoken(envelope: Envelope) -> dict[str, Any]:
    """Write an envelope as the tests read it."""
    return envelope.to_dict()


class Driver:
    """One connection, one agent, and the commands that the tests may give."""

    def __init__(self) -> None:
        self.hub: HubClient | None = None
        self.client: AgentClient | None = None
        self.model: TrackingConfig | None = None
        self._tasks: dict[str, tuple[asyncio.Future[list[Any]], asyncio.Task[None]]] = {}

    @property
    def me(self) -> AgentClient:
        assert self.client is not None, "register or attach first"
        return self.client

    @property
    def wire(self) -> HubClient:
        assert self.hub is not None, "connect first"
        return self.hub

    def _agent(self, name: str, behaviour: str, script: list[Any]) -> Agent:
        if behaviour == "stuck":
            self.model = TrackingConfig(StuckConfig())
        else:
            self.model = TrackingConfig(
                TestConfig(
                    *(
                        turn
                        if isinstance(turn, str)
                        else ToolCallEvent(turn["tool"], arguments=json.dumps(turn["arguments"]))
                        for turn in script
                    )
                )
            )
        agent = Agent(name, config=self.model)

        @agent.tool
        def hand_off(target: str, reason: str) -> Handoff:
            """Let another one go on."""
            return Handoff(target=target, reason=reason)

        @agent.tool
        def finish(summary: str, reason: str) -> Finish:
            """Say that it is done."""
            return Finish(summary=summary, reason=reason)

        @agent.tool
        def escalate(reason: str) -> str:
            """Ask for somebody who may decide."""
            return "somebody will"

        return agent

    @staticmethod
    def _passport(name: str, scheme: str, claim: dict[str, Any]) -> Passport:
        return Passport(name=name, auth=AuthBlock(scheme=scheme, claim=claim))

    def _behave(self, behaviour: str) -> None:
        if behaviour == "listens":

            async def listen(envelope: Envelope) -> None:
                """Leave it in the inbox, where the tests look."""

            self.me.on_envelope(listen)

    async def connect(self, url: str) -> None:
        self.hub = HubClient(WsLink(url))
        await self.hub.open()

    async def register(
        self,
        name: str,
        behaviour: str,
        script: list[Any],
        scheme: str = "none",
        claim: dict[str, Any] | None = None,
        max_pending: int | None = None,
    ) -> str:
        rule = None
        if max_pending is not None:
            rule = Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=max_pending)))
        self.client = await self.wire.register(
            self._agent(name, behaviour, script),
            self._passport(name, scheme, claim or {}),
            Resume(claimed_capabilities=["interop"], summary=f"{name} of AG2"),
            rule=rule,
            skill_md=f"# {name}",
        )
        self._behave(behaviour)
        return self.client.agent_id

    async def attach(
        self,
        name: str,
        behaviour: str,
        script: list[Any],
        scheme: str = "none",
        claim: dict[str, Any] | None = None,
        since: str | None = "",
    ) -> str:
        self.client = await self.wire.attach(
            self._agent(name, behaviour, script),
            name,
            passport=self._passport(name, scheme, claim or {}),
            since_envelope_id=since,
        )
        self._behave(behaviour)
        return self.client.agent_id

    async def second(self, name: str, script: list[Any]) -> str:
        """Register another agent on the same connection."""
        first = self.client, self.model
        try:
            return await self.register(name, "answers", script)
        finally:
            self.client, self.model = first

    async def open(
        self, type: str, target: list[str], knobs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        channel = await self.me.open(
            type=type, target=target, intent="interop", labels={"from": "ag2"}, knobs=knobs
        )
        return channel.metadata.to_dict()

    async def send(self, channel_id: str, text: str) -> str:
        return await self._channel(await self.wire.get_channel(channel_id)).send(text)

    async def post(self, channel_id: str, event_type: str, event_data: dict[str, Any]) -> str:
        channel = self._channel(await self.wire.get_channel(channel_id))
        return await channel.send("", event_type=event_type, event_data=event_data)

    def _channel(self, metadata: Any) -> Channel:
        return Channel(metadata=metadata, client=self.me)

    async def wait_for(
        self, channel_id: str, event_type: str, sender_id: str | None, timeout: float
    ) -> dict[str, Any]:
        def wanted(envelope: Envelope) -> bool:
            return envelope.event_type == event_type and sender_id in (None, envelope.sender_id)

        return spoken(
            await self.me.wait_for_channel_event(
                channel_id=channel_id, predicate=wanted, timeout=timeout
            )
        )

    async def read_wal(
        self, channel_id: str, since: int = 0, until: int | None = None
    ) -> list[dict[str, Any]]:
        return [spoken(e) for e in await self.wire.read_wal(channel_id, since=since, until=until)]

    async def info(self, channel_id: str) -> dict[str, Any]:
        return (await self.wire.get_channel(channel_id)).to_dict()

    async def close_channel(self, channel_id: str, reason: str) -> dict[str, Any]:
        return (await self.wire.close_channel(channel_id, reason=reason)).to_dict()

    async def list_channels(self) -> list[str]:
        channels = await self.wire.list_channels(agent_id=self.me.agent_id)
        return [channel.channel_id for channel in channels]

    async def can_send(self, channel_id: str) -> bool:
        return await self.wire.can_send(channel_id, self.me.agent_id)

    async def pending_turns(self) -> list[dict[str, Any]]:
        turns = await self.wire.pending_turns_for(self.me.agent_id)
        return [
            {
                "channel_id": turn.channel_id,
                "triggering_envelope_id": turn.triggering_envelope_id,
                "expected_at": turn.expected_at,
            }
            for turn in turns
        ]

    async def resume_pending_turns(self) -> int:
        return await self.me.resume_pending_turns()

    async def look_up(self, name: str) -> dict[str, Any]:
        """Read everything that the hub says of an agent, through AG2's own records."""
        passport = await self.wire.get_agent(name)
        assert passport.agent_id is not None
        return {
            "passport": passport.to_dict(),
            "resume": (await self.wire.get_resume(passport.agent_id)).to_dict(),
            "rule": (await self.wire.get_rule(passport.agent_id)).to_dict(),
            "skill": await self.wire.get_skill(passport.agent_id),
        }

    async def list_agents(self, **filters: Any) -> list[str]:
        return [passport.name for passport in await self.wire.list_agents(**filters)]

    async def update_myself(self, summary: str, skill_md: str) -> dict[str, Any]:
        """Change resume and skill, and read them back."""
        await self.me.set_resume(Resume(claimed_capabilities=["changed"], summary=summary))
        await self.me.set_skill(skill_md)
        return await self.look_up(self.me.passport.name)

    async def unregister(self) -> None:
        await self.me.unregister()

    async def heard(self) -> list[str]:
        """Return what the model was asked, one text for each call."""
        assert self.model is not None
        return [repr(call.args[0]) for call in self.model.mock.call_args_list]

    async def until_heard(self, words: str) -> None:
        """Return once the model was asked something with these words in it."""
        assert self.model is not None
        heard = asyncio.Event()

        def listen(message: Any) -> None:
            if words in repr(message):
                heard.set()

        self.model.mock.side_effect = listen
        if not any(words in told for told in await self.heard()):
            await heard.wait()

    async def begin_task(
        self,
        title: str,
        steps: list[Any],
        capability: str | None = None,
        channel_id: str | None = None,
        resume_from: str | None = None,
    ) -> dict[str, Any]:
        """Begin a task as AG2's programs do, and take these steps in it; `end_task` goes on."""
        context = ConversationContext(stream=MemoryStream())
        mirror = TaskMirror(hub_client=self.wire, owner_id=self.me.agent_id, channel_id=channel_id)
        mirror.attach(context.stream)
        loop = asyncio.get_running_loop()
        begun: asyncio.Future[Task] = loop.create_future()
        going_on: asyncio.Future[list[Any]] = loop.create_future()

        async def work() -> None:
            async with self.me.agent.task(
                title,
                payload={"from": "ag2"},
                capability=capability,
                context=context,
                checkpoint_store=HubBackedCheckpointStore(self.wire),
                resume_from=resume_from,
            ) as task:
                await self._step(task, steps)
                begun.set_result(task)
                await self._step(task, await going_on)

        worker = loop.create_task(work())
        await asyncio.wait([worker, begun], return_when=asyncio.FIRST_COMPLETED)
        if worker.done():
            await worker
        task = begun.result()
        self._tasks[task.task_id] = going_on, worker
        return {"task_id": task.task_id, "resumed_state": task.resumed_state}

    async def end_task(self, task_id: str, steps: list[Any]) -> None:
        """Take these steps, and leave the task's block."""
        going_on, worker = self._tasks.pop(task_id)
        going_on.set_result(steps)
        # What a step raises has failed the task, and is what the test asked for.
        with contextlib.suppress(ZeroDivisionError):
            await worker

    @staticmethod
    async def _step(task: Task, steps: list[Any]) -> None:
        for do, what in steps:
            if do == "raise":
                raise ZeroDivisionError(what)
            await getattr(task, do)(what)

    async def get_task(self, task_id: str) -> dict[str, Any]:
        return (await self.wire.get_task(task_id)).to_dict()

    async def list_tasks(self, state: str | None = None, **filters: Any) -> list[str]:
        tasks = await self.wire.list_tasks(
            state=None if state is None else TaskState(state), **filters
        )
        return [task.task_id for task in tasks]

    async def keep(self, task_id: str, state: dict[str, Any]) -> None:
        """Keep a checkpoint through AG2's store."""
        await HubBackedCheckpointStore(self.wire).write(task_id, state)

    async def kept(self, task_id: str) -> dict[str, Any] | None:
        """Read a checkpoint through AG2's store."""
        return await HubBackedCheckpointStore(self.wire).read(task_id)

    async def ask(self, prompt: str) -> str:
        """Let the agent take a turn of its own, outside any channel; its tools are the hub's."""
        reply = await self.me.agent.ask(prompt)
        return str(reply.body)


async def main() -> None:
    """Obey one line after another; commands run side by side, as a program's tasks would."""
    driver = Driver()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def obey(command: dict[str, Any]) -> None:
        number = command.pop("id")
        method: Callable[..., Awaitable[Any]] = getattr(driver, command.pop("do"))
        try:
            answer = {"id": number, "result": await method(**command)}
        except Exception as error:  # every error is an answer here
            answer = {
                "id": number,
                "error": {"class": type(error).__name__, "message": str(error)},
            }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()

    async with asyncio.TaskGroup() as commands:
        while line := await reader.readline():
            commands.create_task(obey(json.loads(line)))


if __name__ == "__main__":
    asyncio.run(main())
