"""What agents of all providers have in common: what they are made of, and how they take a turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ..client import Turn
from ..protocol.workflow import Reply
from ._asking import Conversation, Said, ask_until_said, said_before
from ._routing import Routing
from ._tools import ToolBox

__all__ = ["ModelAgent"]


@attrs.define(eq=False, kw_only=True)
class ModelAgent(ABC):
    """
    An agent whose answers come from a model; a provider adds its client, and how it converses.

    Answers are streamed, so that a long one shows the hub that its turn is alive. In a workflow the
    model may also call `hand_off` and `finish`, and what it calls for decides where the graph goes.

    Args:
        name: What it is called.
        model: Which model.
        instructions: What to tell it before everything else.
        tools: What it may call: async functions, or `Tool`.
        history_max: How many earlier envelopes of the channel it is shown, where the handler has no
            view of its own (`handler_with`).
        tool_rounds_max: How often it may call for tools before it has to speak.
        workflow_tools: Whether it is offered `hand_off` and `finish` in a workflow. A tool of its own
            may return `Handoff` or `Finish` either way.
        options: More arguments of the API, such as ``{"temperature": 0}``.
    """

    name: str
    model: str
    instructions: str = attrs.field(default="", repr=False)
    tools: ToolBox = attrs.field(factory=ToolBox, converter=ToolBox, repr=False)
    history_max: int = 50
    tool_rounds_max: int = 8
    workflow_tools: bool = True
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    async def ask(self, turn: Turn) -> Reply:
        """
        Answer a turn. See `Agent.ask`.

        Raises:
            ModelError: The service did not answer.

        Cancellation: ends the HTTP request.
        """
        said = await said_before(turn, self.history_max)
        routing = await Routing.of(turn, self.tools, offered=self.workflow_tools)
        return await ask_until_said(
            self._converse(turn, said, routing.tools),
            turn,
            routing,
            model=self.model,
            tool_rounds_max=self.tool_rounds_max,
        )

    @abstractmethod
    def _converse(self, turn: Turn, said: Sequence[Said], tools: ToolBox) -> Conversation:
        """
        Begin a conversation about a turn, in the words of the provider's API.

        Args:
            tools: What the model may call in it.
        """
