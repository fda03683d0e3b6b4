"""Models in workflows: they hand off and finish by calling tools, and the graph sees which."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from trio_hub import (
    AgentClient,
    AgentTarget,
    Channel,
    Envelope,
    Finish,
    FromSpeaker,
    FunctionAgent,
    Handoff,
    HubListener,
    ToolCalled,
    Transition,
    TransitionGraph,
)
from trio_hub.records import EV_CHANNEL_CLOSED

from .apis import APIS, Api
from .hub_of_models import LEFT_TO_THE_COLLECTOR, Failures, opened_hub, silent
from .model_server import ModelServer, Reply

pytestmark = [pytest.mark.parametrize("api", APIS, ids=str), LEFT_TO_THE_COLLECTOR]


@attrs.frozen
class Stage:
    """Two models, "triage" and "refunds", and a customer who opens workflows with them."""

    server: ModelServer
    customer: AgentClient
    names: dict[str, str]

    async def open(self, *transitions: Transition) -> Channel:
        graph = TransitionGraph(
            initial_speaker="customer",
            transitions=[
                *transitions,
                Transition(FromSpeaker("customer"), AgentTarget("triage")),
            ],
        )
        channel = await self.customer.open(
            type="workflow", target=["triage", "refunds"], knobs={"graph": graph}
        )
        await channel.send("I want my money back")
        return channel

    async def run(self, *transitions: Transition) -> tuple[str, list[tuple[str, Any, str]]]:
        """Let a workflow run; return why it closed, and who said what with which routing."""
        channel = await self.open(*transitions)
        end: Envelope = await self.customer.wait_for_channel_event(
            channel_id=channel.channel_id,
            predicate=lambda it: it.event_type == EV_CHANNEL_CLOSED,
            timeout=20,
        )
        said = [
            (self.names[it.sender_id], self._read(it), it.text) for it in await channel.history()
        ]
        return str(end.event_data["reason"]), said[1:]

    def _read(self, envelope: Envelope) -> dict[str, Any]:
        routing = dict(envelope.routing)
        if "target" in routing:
            routing["target"] = self.names[routing["target"]]
        return routing

    def tool_answers(self, number: int, api: Api) -> list[str]:
        """Return what the model was told of its calls in a request."""
        return [text for role, text in api.told(self.server.bodies[number]) if role == "tool"]


@asynccontextmanager
async def opened(
    api: Api, *script: Reply, listener: HubListener | None = None, **options: Any
) -> AsyncIterator[Stage]:
    async with opened_hub(api, *script, listener=listener) as it:
        names: dict[str, str] = {}
        for name in ("triage", "refunds"):
            agent = api.agent(name=name, client=it.sdk, model="model-1", **options)
            names[(await it.client.register(agent)).agent_id] = name
        customer = await it.client.register(FunctionAgent("customer", silent))
        names[customer.agent_id] = "customer"
        yield Stage(it.server, customer, names)


def hands_off(api: Api, target: str, text: str = "") -> Reply:
    arguments = {"target": target, "reason": "order 7 is a refund"}
    return api.says(text, (("call-1", "hand_off", arguments),))


def finishes(api: Api) -> Reply:
    return api.says("", (("call-2", "finish", {"summary": "Paid.", "reason": "paid"}),))


_PAID = {"kind": "finish", "tool": "finish", "reason": "paid", "summary": "Paid."}


def _handed(tool: str = "hand_off", target: str | None = "refunds") -> dict[str, Any]:
    routing = {"kind": "handoff", "tool": tool, "reason": "order 7 is a refund"}
    return routing if target is None else {**routing, "target": target}


async def test_one_model_hands_off_to_another_which_finishes(api: Api) -> None:
    script = [hands_off(api, "refunds", "One moment, please."), finishes(api)]
    async with opened(api, *script) as stage:
        reason, said = await stage.run()
        assert reason == "paid"
        assert said == [
            ("triage", _handed(), "One moment, please."),
            ("refunds", _PAID, "Paid."),
        ]
        first, second = stage.server.bodies
        assert api.tool_names(first) == ["hand_off", "finish"]
        # It is told who there is, and cannot hand off to itself.
        target = api.schema_of(first["tools"][0])["properties"]["target"]
        assert sorted(target["enum"]) == ["customer", "refunds"]
        # The one who goes on knows what it is to do.
        assert "order 7 is a refund" in api.told(second)[-1][1]


@pytest.mark.parametrize("wrong", ["boss", "triage"], ids=["stranger", "itself"])
async def test_a_model_that_hands_off_to_nobody_here_is_told_so_and_corrects_it(
    api: Api, wrong: str
) -> None:
    script = [hands_off(api, wrong), hands_off(api, "refunds"), finishes(api)]
    async with opened(api, *script) as stage:
        reason, said = await stage.run()
        assert reason == "paid"
        assert [routing for _, routing, _ in said] == [_handed(), _PAID]
        [told] = stage.tool_answers(1, api)
        assert told.startswith(f"'{wrong}' takes no part here, or is you; you can hand off to: ")
        assert "refunds" in told


async def test_a_model_that_does_not_learn_is_a_failed_turn(api: Api) -> None:
    failures = Failures()
    script = [hands_off(api, "boss") for _ in range(6)]
    async with opened(api, *script, listener=failures, tool_rounds_max=2) as stage:
        channel = await stage.open()
        with trio.fail_after(20):
            await failures.failed.wait()
        assert "still called for tools after 2 rounds" in failures.reasons[0]
        # Nothing was said in its name.
        assert [it.text for it in await channel.history()] == ["I want my money back"]


async def escalate(reason: str) -> str:
    """Ask for somebody who may pay."""
    return "somebody will"


async def test_graph_sees_the_tool_that_was_called(api: Api) -> None:
    call = ("call-1", "escalate", {"reason": "order 7 is a refund"})
    script = [api.says("", (call,)), api.says("Somebody will pay."), finishes(api)]
    async with opened(api, *script, tools=[escalate]) as stage:
        reason, said = await stage.run(Transition(ToolCalled("escalate"), AgentTarget("refunds")))
        assert reason == "paid"
        # As AG2 writes it: the graph knows the target.
        assert said[0] == ("triage", _handed("escalate", None), "Somebody will pay.")
        assert stage.tool_answers(1, api) == ["somebody will"]


async def test_tool_that_no_transition_waits_for_is_only_a_tool(api: Api) -> None:
    call = ("call-1", "escalate", {"reason": "order 7 is a refund"})
    script = [api.says("", (call,)), api.says("Never mind.")]
    async with opened(api, *script, tools=[escalate]) as stage:
        reason, said = await stage.run(Transition(ToolCalled("other"), AgentTarget("refunds")))
        assert (reason, said) == ("after_work", [("triage", {"kind": "text"}, "Never mind.")])


async def test_of_several_calls_the_first_one_decides(api: Api) -> None:
    calls = (
        ("call-1", "nonsense", {}),
        ("call-2", "escalate", {"reason": "order 7 is a refund"}),
        ("call-3", "finish", {"summary": "Paid."}),
    )
    async with opened(api, api.says("Well.", calls), finishes(api), tools=[escalate]) as stage:
        reason, said = await stage.run(Transition(ToolCalled("escalate"), AgentTarget("refunds")))
        assert reason == "paid"
        # But one that ends a turn ends it: the model was not asked again.
        assert said[0] == ("triage", _handed("escalate", None), "Well.")
        assert len(stage.server.bodies) == 2


async def test_tool_of_ones_own_may_hand_off_and_take_the_place_of_ours(api: Api) -> None:
    async def route(topic: str) -> Handoff:
        """Find out who knows."""
        return Handoff("refunds", "order 7 is a refund")

    async def finish() -> Finish:
        """Say that it is over."""
        return Finish("Paid.", "paid")

    script = [
        api.says("", (("call-1", "route", {"topic": "money"}),)),
        api.says("", (("call-2", "finish", {}),)),
    ]
    async with opened(api, *script, tools=[route, finish], workflow_tools=False) as stage:
        reason, said = await stage.run()
        assert reason == "paid"
        assert [routing for _, routing, _ in said] == [_handed("route"), _PAID]
        assert api.tool_names(stage.server.bodies[0]) == ["route", "finish"]


async def test_own_tool_of_the_same_name_is_the_one_that_is_offered(api: Api) -> None:
    async def finish() -> Finish:
        """Say that it is over."""
        return Finish("Paid.", "paid")

    async with opened(api, api.says("", (("c", "finish", {}),)), tools=[finish]) as stage:
        assert (await stage.run())[0] == "paid"
        [body] = stage.server.bodies
        assert api.tool_names(body) == ["finish", "hand_off"]


async def test_outside_of_workflows_nothing_is_handed_off(api: Api) -> None:
    async def finish() -> Finish:
        """Say that it is over."""
        return Finish()

    script = [api.says("", (("call-1", "finish", {}),)), api.says("thirty days")]
    async with opened(api, *script, tools=[finish]) as stage:
        assert await stage.customer.consult("triage", "What about refunds?") == "thirty days"
        assert api.tool_names(stage.server.bodies[0]) == ["finish"]
        assert stage.tool_answers(1, api) == [
            "finish has no effect: this conversation is no workflow"
        ]


def _cut(api: Api) -> Reply:
    """Break a stream off in the middle of a call's arguments."""
    cut = hands_off(api, "refunds")
    [place] = [number for number, piece in enumerate(cut.pieces) if b"hand_off" in piece]
    cut.pieces = cut.pieces[: place + 1]
    return cut


def _refused(_api: Api) -> Reply:
    return Reply.error(400, {"error": {"message": "no"}})


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [(_cut, "its stream ended before its answer did"), (_refused, "the service refused")],
    ids=["cut", "refused"],
)
async def test_turn_that_breaks_is_tried_again_and_hands_off_once(
    api: Api, broken: Callable[[Api], Reply], complaint: str
) -> None:
    failures = Failures()
    script = [broken(api), hands_off(api, "refunds"), finishes(api)]
    async with opened(api, *script, listener=failures) as stage:
        reason, said = await stage.run()
        assert reason == "paid"
        assert [routing for _, routing, _ in said] == [_handed(), _PAID]
        # It was begun anew: no half call was ever answered.
        assert [complaint in failure for failure in failures.reasons] == [True]
        assert stage.tool_answers(1, api) == []
