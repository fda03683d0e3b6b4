"""A model that looks around, and asks whom it finds: over real HTTP, through a real hub."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from trio_hub import FunctionAgent, Passport, Resume
from trio_hub.client import Turn
from trio_hub.providers import peer_tools

from .apis import ANTHROPIC, OPENAI, Api
from .hub_of_models import LEFT_TO_THE_COLLECTOR
from .test_agents import opened

pytestmark = [
    pytest.mark.parametrize("api", [OPENAI, ANTHROPIC], ids=str),
    LEFT_TO_THE_COLLECTOR,
]


async def _answer(turn: Turn) -> str:
    return f"{turn.sender_name} asks {turn.text!r}, at depth {turn.envelope.depth}"


def _told(api: Api, body: Any) -> list[str]:
    return [text for role, text in api.told(body) if role == "tool"]


async def test_a_model_finds_reads_and_asks_another(api: Api) -> None:
    script = [
        api.says("", (("1", "find_peers", {"capability": "law", "limit": 5}),)),
        api.says("", (("2", "describe_peer", {"name": "lawyer"}),)),
        api.says("", (("3", "delegate", {"name": "lawyer", "question": "rent?"}),)),
        api.says("Done."),
    ]
    async with opened(api, *script, tools=peer_tools()) as stage:
        await stage.client.register(
            FunctionAgent("lawyer", _answer),
            Passport(name="lawyer"),
            Resume(claimed_capabilities=("law",), summary="Knows the law.", domains=("Berlin",)),
            skill_md="---\nname: law\n---\nAsk.",
        )
        assert await stage.ask("May he?") == "Done."
        asked, found, described, answered = stage.server.bodies
    assert api.tool_names(asked) == ["find_peers", "describe_peer", "delegate"]
    limit = api.schema_of(asked["tools"][0])["properties"]["limit"]
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 20, 10)
    none = {"tasks": 0, "success_rate": None, "median_ms": None, "p95_ms": None}
    card = {
        "name": "lawyer",
        "kind": "agent",
        "summary": "Knows the law.",
        "capabilities": ["law"],
        "domains": ["Berlin"],
        "track_record": none,
        "cost": None,
    }
    assert json.loads(_told(api, found)[-1]) == {"peers": [card], "after": None}
    profile = {**card, "track_record": {}, "skill": "---\nname: law\n---\nAsk."}
    del profile["cost"]
    assert json.loads(_told(api, described)[-1]) == profile
    assert _told(api, answered)[-1] == "bob asks 'rent?', at depth 1"


async def test_a_model_is_told_what_it_cannot_do(api: Api) -> None:
    async def sleep(_turn: Turn) -> None:
        await trio.sleep_forever()

    calls = (
        ("1", "describe_peer", {"name": "nobody"}),
        ("2", "find_peers", {"limit": 1_000}),
        ("3", "find_peers", {"after": "nowhere"}),
        ("4", "delegate", {"name": "sleeper", "question": "?"}),
    )
    async with opened(
        api, api.says("", calls), api.says("Oh."), tools=peer_tools(timeout_seconds=0.5)
    ) as stage:
        await stage.client.register(FunctionAgent("sleeper", sleep))
        assert await stage.ask("Go on") == "Oh."
        nobody, too_many, nowhere, late = _told(api, stage.server.bodies[1])
    assert "NotFoundError: no agent 'nobody' is registered" in nobody
    assert "do not fit" in too_many
    assert "the `after` of an earlier page" in nowhere
    assert "'sleeper' did not answer 'bob' within 0.5 s" in late
