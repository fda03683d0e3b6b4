"""
Models behind OpenAI's chat-completions API: OpenAI's, and those of every server that speaks it.

Needs the extra ``trio_hub[openai]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

try:
    from openai import APIStatusError, AsyncOpenAI, AsyncStream, omit
    from openai.lib.streaming.chat import ChatCompletionStreamState
    from openai.types.chat import ChatCompletionChunk, ChatCompletionFunctionToolParam
except ImportError as missing:
    raise ImportError("OpenAIAgent needs openai: install trio_hub[openai]") from missing

from ..client import Turn
from ._agent import ModelAgent
from ._asking import Answer, Conversation, ProgressTeller, Said, ToolCall, ToolResult
from ._errors import ModelError, model_errors
from ._tools import Tool, ToolBox

__all__ = ["OpenAIAgent"]


@attrs.define(eq=False, kw_only=True)
class OpenAIAgent(ModelAgent):
    """
    An agent whose answers come from a chat-completions API.

    Answers are streamed, so that a long one shows the hub that its turn is alive.

    Args:
        name: What it is called.
        client: An open ``openai.AsyncOpenAI``: base URL, key, timeouts and retries are its.
            The agent does not close it.
        model: Which model.
        instructions: What to tell it before everything else.
        tools: What it may call: async functions, or `Tool`.
        history_max: How many earlier envelopes of the channel it is shown.
        tool_rounds_max: How often it may call for tools before it has to speak.
        workflow_tools: Whether it is offered `hand_off` and `finish` in a workflow.
        options: More arguments of the API, such as ``{"temperature": 0}``.
    """

    client: AsyncOpenAI = attrs.field(repr=False)

    def _converse(self, turn: Turn, said: Sequence[Said], tools: ToolBox) -> Conversation:
        return _Conversation(self, turn, said, tools)


class _Conversation:
    def __init__(
        self, agent: OpenAIAgent, turn: Turn, said: Iterable[Said], tools: Iterable[Tool]
    ) -> None:
        self._agent = agent
        self._turn = turn
        self._messages: list[Any] = []
        if agent.instructions:
            self._messages.append({"role": "system", "content": agent.instructions})
        for one in said:
            role = "assistant" if one.ours else "user"
            self._messages.append({"role": role, "content": one.text})
        self._tools = [_described(tool) for tool in tools]

    async def ask(self, results: Sequence[ToolResult]) -> Answer:
        self._messages += [
            {"role": "tool", "tool_call_id": result.call_id, "content": result.text}
            for result in results
        ]
        with model_errors(self._agent.model, APIStatusError):
            message = await self._stream()
        kept = message.model_dump(exclude_none=True, include=_KEPT)
        self._messages.append({"role": "assistant", **kept})
        calls = [
            ToolCall(call.id, call.function.name, call.function.arguments.encode())
            for call in message.tool_calls or ()
        ]
        return Answer(message.content or message.refusal or "", calls)

    async def _stream(self) -> Any:
        agent = self._agent
        progress = ProgressTeller(self._turn)
        state = ChatCompletionStreamState()
        numbers = _CallNumbers()
        chunks: AsyncStream[ChatCompletionChunk] = await agent.client.chat.completions.create(
            model=agent.model,
            messages=self._messages,
            tools=self._tools or omit,
            stream=True,
            **agent.options,
        )
        async with chunks:
            async for chunk in chunks:
                numbers.put_on(chunk)
                state.handle_chunk(chunk)
                progress.alive()
        try:
            completion = state.get_final_completion()
        except (RuntimeError, AssertionError) as error:
            raise ModelError(agent.model, "its stream ended before it said anything") from error
        if not completion.choices:
            raise ModelError(agent.model, "its answer holds no choice")
        choice = completion.choices[0]
        # Half a call reads like a whole one whose arguments are wrong, or are optional.
        if choice.finish_reason is None:
            raise ModelError(agent.model, "its stream ended before its answer did")
        return choice.message


#: What the API takes back of a message that it gave. Not its role, which some repeat in every chunk,
#: to be strung together by the SDK.
_KEPT = {
    "content": True,
    "refusal": True,
    "tool_calls": {
        "__all__": {
            "id": True,
            "type": True,
            "function": {"name", "arguments"},
            # Gemini signs its calls here, and refuses those that come back without it.
            "extra_content": True,
        }
    },
}


class _CallNumbers:
    """
    Numbers the tool calls of a stream by their ids, for the SDK to put their pieces together.

    Gemini's endpoint sends each call whole and without a number.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, int] = {}
        self._by_index: dict[int | None, int] = {}

    def put_on(self, chunk: ChatCompletionChunk) -> None:
        """Number the calls in a chunk."""
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or ():
                index: int | None = getattr(call, "index", None)
                if call.id:
                    number = self._by_id.setdefault(call.id, len(self._by_id))
                else:
                    number = self._by_index.get(index, index or 0)
                self._by_index[index] = call.index = number


def _described(tool: Tool) -> ChatCompletionFunctionToolParam:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        },
    }
