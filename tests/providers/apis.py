"""The APIs that the scripted server speaks: what their streams look like on the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from trio_hub.providers.anthropic import AnthropicAgent
from trio_hub.providers.openai import OpenAIAgent

from .model_server import Reply

__all__ = ["ANTHROPIC", "APIS", "GEMINI", "OPENAI", "Api"]

Call = tuple[str, str, Any]


@attrs.frozen
class Api:
    """
    One API, for tests that run over both.

    Attributes:
        says: The stream of an answer: its words, and its calls (id, name, arguments).
        client: An open SDK client, given the server's URL.
        agent: The agent class.
        roles: The roles and contents of a request's messages, told alike for both.
    """

    name: str
    says: Callable[..., Reply]
    client: Callable[[str], AbstractAsyncContextManager[Any]]
    agent: Callable[..., Any]
    told: Callable[[Any], list[tuple[str, str]]]
    tool_names: Callable[[Any], list[str]]
    schema_of: Callable[[Any], Any]

    def __str__(self) -> str:
        return self.name


def _openai_says(text: str = "", calls: tuple[Call, ...] = ()) -> Reply:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in text]
    for index, (call_id, name, arguments) in enumerate(calls):
        head = {"index": index, "id": call_id, "type": "function"}
        deltas.append({"tool_calls": [{**head, "function": {"name": name, "arguments": ""}}]})
        # As real servers do: the JSON of the arguments comes in pieces.
        raw = json.dumps(arguments)
        for piece in (raw[:3], raw[3:]):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    chunks = [_chunk(delta, None) for delta in deltas]
    chunks.append(_chunk({}, "tool_calls" if calls else "stop"))
    return Reply.events([(None, json.dumps(chunk)) for chunk in chunks] + [(None, "[DONE]")])


def _chunk(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "model-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def _gemini_says(text: str = "", calls: tuple[Call, ...] = ()) -> Reply:
    """Speak OpenAI's API as Gemini does: with the role in every chunk, calls whole, unnumbered."""
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in text]
    for number, (call_id, name, arguments) in enumerate(calls):
        call = {
            "id": call_id,
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        if number == 0:
            call["extra_content"] = {"google": {"thought_signature": "signed"}}
        deltas.append({"tool_calls": [call]})
    chunks = [_chunk({"role": "assistant", **delta}, None) for delta in deltas]
    chunks.append(_chunk({"role": "assistant"}, "tool_calls" if calls else "stop"))
    return Reply.events([(None, json.dumps(chunk)) for chunk in chunks] + [(None, "[DONE]")])


def _openai_told(body: Any) -> list[tuple[str, str]]:
    return [
        (one["role"], one.get("content") or json.dumps(one.get("tool_calls")))
        for one in body["messages"]
    ]


def _anthropic_says(text: str = "", calls: tuple[Call, ...] = ()) -> Reply:
    message = {
        "id": "msg-1",
        "type": "message",
        "role": "assistant",
        "model": "model-1",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if text:
        deltas = [{"type": "text_delta", "text": piece} for piece in text]
        blocks.append(({"type": "text", "text": ""}, deltas))
    for call_id, name, arguments in calls:
        raw = json.dumps(arguments)
        deltas = [
            {"type": "input_json_delta", "partial_json": piece} for piece in (raw[:3], raw[3:])
        ]
        blocks.append(({"type": "tool_use", "id": call_id, "name": name, "input": {}}, deltas))
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        events.append({"type": "content_block_stop", "index": index})
    events.append(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 2},
        }
    )
    events.append({"type": "message_stop"})
    return Reply.events([(event["type"], json.dumps(event)) for event in events])


def _anthropic_told(body: Any) -> list[tuple[str, str]]:
    told = [("system", body["system"])] if "system" in body else []
    for one in body["messages"]:
        content = one["content"]
        if isinstance(content, str):
            told.append((one["role"], content))
            continue
        for block in content:
            if block["type"] == "tool_result":
                told.append(("tool", block["content"]))
            else:
                told.append((one["role"], block.get("text") or json.dumps(block)))
    return told


OPENAI = Api(
    name="openai",
    says=_openai_says,
    client=lambda url: AsyncOpenAI(api_key="secret-key", base_url=f"{url}/v1", max_retries=1),
    agent=OpenAIAgent,
    told=_openai_told,
    tool_names=lambda body: [tool["function"]["name"] for tool in body["tools"]],
    schema_of=lambda tool: tool["function"]["parameters"],
)
GEMINI = attrs.evolve(
    OPENAI,
    name="gemini",
    says=_gemini_says,
    client=lambda url: AsyncOpenAI(
        api_key="secret-key", base_url=f"{url}/v1beta/openai/", max_retries=1
    ),
)
ANTHROPIC = Api(
    name="anthropic",
    says=_anthropic_says,
    client=lambda url: AsyncAnthropic(api_key="secret-key", base_url=url, max_retries=1),
    agent=AnthropicAgent,
    told=_anthropic_told,
    tool_names=lambda body: [tool["name"] for tool in body["tools"]],
    schema_of=lambda tool: tool["input_schema"],
)

APIS = [OPENAI, GEMINI, ANTHROPIC]
