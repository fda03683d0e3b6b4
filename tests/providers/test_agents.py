"""Models as agents: over real HTTP, through a real hub, with every provider's own SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import attrs
import msgspec
import pytest
import trio

from trio_hub import (
    AgentClient,
    FunctionAgent,
    Hub,
    HubClient,
    HubListener,
    LocalLink,
    MemoryKnowledgeStore,
    WindowedSummary,
    handler_with,
)
from trio_hub.client import Turn
from trio_hub.providers import Tool, _asking as asking

from .apis import APIS, Api
from .hub_of_models import LEFT_TO_THE_COLLECTOR, Failures, opened_hub, silent
from .model_server import ModelServer, Reply, model_server

pytestmark = [pytest.mark.parametrize("api", APIS, ids=str), LEFT_TO_THE_COLLECTOR]


@attrs.frozen
class Stage:
    """A model behind an agent "bob", and an agent "alice" to ask it."""

    hub: Hub
    server: ModelServer
    alice: AgentClient
    bob: AgentClient
    client: HubClient

    async def ask(self, text: str, type: str = "consulting") -> str:
        channel = await self.alice.open(type=type, target="bob")
        await channel.send(text)
        return (await self.answer_in(channel.channel_id)).text

    async def answer_in(self, channel_id: str) -> Any:
        return await self.alice.wait_for_channel_event(
            channel_id=channel_id,
            predicate=lambda it: bool(it.text) and it.sender_id == self.bob.agent_id,
            timeout=20,
        )


Open = Callable[..., Any]


@asynccontextmanager
async def opened(
    api: Api, *script: Reply, listener: HubListener | None = None, **options: Any
) -> AsyncIterator[Stage]:
    async with opened_hub(api, *script, listener=listener) as it:
        agent = api.agent(name="bob", client=it.sdk, model="model-1", **options)
        bob = await it.client.register(agent)
        alice = await it.client.register(FunctionAgent("alice", silent))
        yield Stage(it.hub, it.server, alice, bob, it.client)


async def test_model_answers_a_consult(api: Api) -> None:
    async with opened(api, api.says("thirty days"), instructions="Be short.") as stage:
        assert await stage.ask("What about refunds?") == "thirty days"
        [body] = stage.server.bodies
        assert api.told(body) == [("system", "Be short."), ("user", "What about refunds?")]
        assert body["model"] == "model-1"
        assert body["stream"] is True


async def test_model_sees_what_was_said_before_with_its_own_words_as_its_own(api: Api) -> None:
    async with opened(api, api.says("one"), api.says("two"), history_max=2) as stage:
        channel = await stage.alice.open(type="conversation", target="bob")
        await channel.send("first")
        await stage.answer_in(channel.channel_id)
        await channel.send("second")
        await stage.answer_in(channel.channel_id)
        first, second = stage.server.bodies
        assert api.told(first) == [("user", "first")]
        assert api.told(second) == [("user", "first"), ("assistant", "one"), ("user", "second")]


async def test_view_of_the_turn_decides_what_the_model_sees(api: Api) -> None:
    async with opened(api, api.says("one"), api.says("two"), history_max=0) as stage:
        stage.bob.handle_with(handler_with(WindowedSummary(window=1, named=True)))
        channel = await stage.alice.open(type="conversation", target="bob")
        await channel.send("first")
        await stage.answer_in(channel.channel_id)
        await channel.send("second")
        await stage.answer_in(channel.channel_id)
        first, second = stage.server.bodies
        assert api.told(first) == [("user", "alice: first")]
        assert api.told(second) == [
            ("user", "(What was said before this is not shown.)"),
            ("assistant", "one"),
            ("user", "alice: second"),
        ]


async def test_where_several_talk_the_model_is_told_who_says_what(api: Api) -> None:
    async with opened(api, api.says("I agree")) as stage:
        await stage.client.register(FunctionAgent("carol", silent))
        channel = await stage.alice.open(type="discussion", target=["bob", "carol"])
        await channel.send("Shall we?")
        await stage.answer_in(channel.channel_id)
        assert api.told(stage.server.bodies[0]) == [("user", "alice: Shall we?")]


async def test_tools_run_and_their_results_go_back_to_the_model(api: Api) -> None:
    seen: list[tuple[str, int, int]] = []

    async def weather(
        city: Annotated[str, msgspec.Meta(description="Where")], turn: Turn, days: int = 1
    ) -> dict[str, Any]:
        """Say how the weather will be."""
        seen.append((city, days, turn.attempt))
        return {"city": city, "sun": True}

    calls = (
        ("call-1", "weather", {"city": "Rome"}),
        ("call-2", "weather", {"city": "Oslo", "days": 3}),
    )
    script = [api.says("", calls), api.says("Sunny.")]
    async with opened(api, *script, tools=[weather]) as stage:
        assert await stage.ask("How will it be?") == "Sunny."
        first, second = stage.server.bodies
    assert api.tool_names(first) == ["weather"]
    schema = api.schema_of(first["tools"][0])
    assert schema["type"] == "object"
    assert schema["required"] == ["city"]
    assert schema["properties"]["city"] == {"description": "Where", "type": "string"}
    assert "turn" not in schema["properties"]
    assert sorted(seen) == [("Oslo", 3, 1), ("Rome", 1, 1)]
    assert [text for role, text in api.told(second) if role == "tool"] == [
        '{"city":"Rome","sun":true}',
        '{"city":"Oslo","sun":true}',
    ]


async def test_what_a_service_signs_comes_back_to_it(api: Api) -> None:
    async def again() -> str:
        return "again"

    calls = (("call-1", "again", {}), ("call-2", "again", {}))
    async with opened(api, api.says("", calls), api.says("Oh."), tools=[again]) as stage:
        assert await stage.ask("Go on") == "Oh."
        messages = stage.server.bodies[1]["messages"]
    assert [one["role"] for one in messages][:2] == ["user", "assistant"]
    signed = [call.get("extra_content") for call in messages[1].get("tool_calls", ())]
    signature = {"google": {"thought_signature": "signed"}}
    told = {"openai": [None, None], "gemini": [signature, None], "anthropic": []}
    assert signed == told[api.name]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("c", "explode", {}), "explode failed: RuntimeError: boom"),
        (("c", "explode", {"surprise": 1, "count": "x"}), "the arguments of explode do not fit"),
        (("c", "nonsense", {}), "there is no tool called 'nonsense'; known: explode"),
    ],
)
async def test_what_a_tool_does_wrong_is_told_to_the_model(api: Api, call: Any, told: str) -> None:
    async def explode(count: int = 0) -> None:
        raise RuntimeError("boom")

    async with opened(api, api.says("", (call,)), api.says("Oh."), tools=[explode]) as stage:
        assert await stage.ask("Go on") == "Oh."
        answers = [text for role, text in api.told(stage.server.bodies[1]) if role == "tool"]
        assert answers[0].startswith(told)


async def test_a_model_that_never_stops_calling_is_a_failed_turn(api: Api) -> None:
    async def again() -> str:
        return "again"

    failures = Failures()
    calls = (("c", "again", {}),)
    script = [api.says("", calls) for _ in range(6)]
    async with opened(
        api, *script, tools=[Tool.of(again)], tool_rounds_max=2, listener=failures
    ) as stage:
        channel = await stage.alice.open(type="consulting", target="bob")
        await channel.send("Go on")
        with trio.fail_after(20):
            await failures.failed.wait()
    assert "still called for tools after 2 rounds" in failures.reasons[0]


async def test_sdk_retries_what_a_service_asks_to_try_again(api: Api) -> None:
    busy = Reply.error(503, {"error": {"message": "busy"}}, **{"retry-after-ms": "1"})
    async with opened(api, busy, api.says("now")) as stage:
        assert await stage.ask("Are you there?") == "now"
        assert len(stage.server.requests) == 2


async def test_refusal_of_the_service_is_a_nack_without_its_words(api: Api) -> None:
    failures = Failures()
    words = {"type": "error", "error": {"type": "x", "message": "key secret-key is wrong"}}
    refusals = [Reply.error(401, words) for _ in range(2)]
    async with opened(api, *refusals, listener=failures) as stage:
        channel = await stage.alice.open(type="consulting", target="bob")
        await channel.send("What?")
        with trio.fail_after(20):
            await failures.failed.wait()
    assert "HTTP 401" in failures.reasons[0]
    assert "secret-key" not in failures.reasons[0]


async def test_stream_that_breaks_is_a_failed_turn_and_the_next_attempt_answers(api: Api) -> None:
    cut = api.says("never heard")
    cut.pieces = []
    async with opened(api, cut, api.says("better")) as stage:
        assert await stage.ask("Can you hear me?") == "better"


async def test_cancelled_turn_ends_the_http_request(api: Api) -> None:
    endless = api.says("and so on and on")
    streaming = trio.Event()

    async def stall(number: int) -> None:
        if number == 3:
            streaming.set()
            await trio.sleep_forever()

    endless.before_piece = stall
    async with (
        model_server(endless) as server,
        Hub.open(MemoryKnowledgeStore()) as hub,
        api.client(server.url) as sdk,
    ):
        async with HubClient(LocalLink(hub)) as client:
            await client.register(api.agent(name="bob", client=sdk, model="model-1"))
            alice = await client.register(FunctionAgent("alice", silent))
            channel = await alice.open(type="consulting", target="bob")
            await channel.send("Tell me everything")
            with trio.fail_after(20):
                await streaming.wait()
        # The client's block was left in the middle of the stream.
        with trio.fail_after(20):
            await server.hung_up.wait()


async def test_stream_keeps_its_turn_alive(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PROGRESS_SECONDS", 0.0)
    async with opened(api, api.says("a long answer")) as stage:
        told: list[str] = []
        before = stage.bob.identity.send_receipt

        def listen(envelope: Any, status: Any, reason: str = "") -> None:
            told.append(status)
            before(envelope, status, reason)

        monkeypatch.setattr(
            type(stage.bob.identity), "send_receipt", lambda _, *a, **k: listen(*a, **k)
        )
        await stage.ask("Tell me")
    assert told.count("progress") >= len("a long answer")
