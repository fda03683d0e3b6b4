"""
Models behind Anthropic's messages API.

Needs the extra ``trio_hub[anthropic]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import msgspec

try:
    from anthropic import APIStatusError, AsyncAnthropic, omit
    from anthropic.types import ToolUnionParam
except ImportError as missing:
    raise ImportError("AnthropicAgent needs anthropic: install trio_hub[anthropic]") from missing

from ..client import Turn
from ._agent import ModelAgent
from ._asking import Answer, Conversation, ProgressTeller, Said, ToolCall, ToolResult
from ._errors import ModelError, model_errors
from ._tools import Tool, ToolBox

__all__ = ["AnthropicAgent"]


@attrs.define(eq=False, kw_only=True)
class AnthropicAgent(ModelAgent):
    """
    An agent whose answers come from Anthropic's messages API.

    Answers are streamed, so that a long one shows the hub that its turn is alive.

    Args:
        name: What it is called.
        client: An open ``anthropic.AsyncAnthropic``: base URL, key, timeouts and retries are its.
            The agent does not close it.
        model: Which model.
        max_tokens: How long one answer may be, in tokens.
        instructions: What to tell it before everything else.
        tools: What it may call: async functions, or `Tool`.
        history_max: How many earlier envelopes of the channel it is shown.
        tool_rounds_max: How often it may call for tools before it has to speak.
        workflow_tools: Whether it is offered `hand_off` and `finish` in a workflow.
        options: More arguments of the API, such as ``{"temperature": 0}``.
    """

    client: AsyncAnthropic = attrs.field(repr=False)
    max_tokens: int = 4096

    def _converse(self, turn: Turn, said: Sequence[Said], tools: ToolBox) -> Conversation:
        return _Conversation(self, turn, said, tools)


class _Conversation:
    def __init__(
        self, agent: AnthropicAgent, turn: Turn, said: Iterable[Said], tools: Iterable[Tool]
    ) -> None:
        self._agent = agent
        self._turn = turn
        self._messages: list[Any] = [
            {"role": "assistant" if one.ours else "user", "content": one.text} for one in said
        ]
        # The API wants the user to begin; where the agent did, the page before is cut off.
        if self._messages and self._messages[0]["role"] == "assistant":
            self._messages.insert(0, {"role": "user", "content": "(the conversation goes on)"})
        self._tools: list[ToolUnionParam] = [_described(tool) for tool in tools]

    async def ask(self, results: Sequence[ToolResult]) -> Answer:
        if results:
            self._messages.append({"role": "user", "content": [_told(one) for one in results]})
        with model_errors(self._agent.model, APIStatusError):
            message = await self._stream()
        self._messages.append({"role": "assistant", "content": message.content})
        calls = [
            ToolCall(block.id, block.name, msgspec.json.encode(block.input))
            for block in message.content
            if block.type == "tool_use"
        ]
        texts = [block.text for block in message.content if block.type == "text"]
        return Answer("".join(texts), calls)

    async def _stream(self) -> Any:
        agent = self._agent
        progress = ProgressTeller(self._turn)
        async with agent.client.messages.stream(
            model=agent.model,
            max_tokens=agent.max_tokens,
            messages=self._messages,
            system=agent.instructions or omit,
            tools=self._tools or omit,
            **agent.options,
        ) as events:
            async for _ in events:
                progress.alive()
            try:
                message = await events.get_final_message()
            except AssertionError as error:
                raise ModelError(agent.model, "its stream ended before it said anything") from error
        # Half a call reads like a whole one whose arguments are wrong, or are optional.
        if message.stop_reason is None:
            raise ModelError(agent.model, "its stream ended before its answer did")
        return message


def _told(result: ToolResult) -> dict[str, Any]:
    return {
        "type": "tool_result",
        "tool_use_id": result.call_id,
        "content": result.text,
        "is_error": not result.ok,
    }


def _described(tool: Tool) -> ToolUnionParam:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": dict(tool.parameters),
    }
