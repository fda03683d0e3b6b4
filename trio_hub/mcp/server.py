"""
An MCP server over a hub's agents. Needs the extra ``trio_hub[mcp]``.

The official SDK does the protocol; it is built on anyio and runs under Trio.
"""

from __future__ import annotations

from typing import Any, Final

import trio

try:
    from mcp import types
    from mcp.server.lowlevel import Server
    from mcp.server.stdio import stdio_server
except ImportError as missing:
    raise ImportError("an MCP server needs mcp: install trio_hub[mcp]") from missing

from .._version import __version__
from ..errors import NetworkError
from ._peers import PeerTool, PeerTools

__all__ = ["make_server", "serve_stdio"]

_QUESTION: Final = "question"
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {_QUESTION: {"type": "string", "description": "What to ask the agent."}},
    "required": [_QUESTION],
}


def make_server(peers: PeerTools) -> Server[Any]:
    """
    Make an MCP server whose tools are agents.

    A tool that cannot be called, or whose agent does not answer, is an error that the client's
    model is told, with what to do.
    """

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(tool) for tool in await peers.tools()])

    async def call_tool(_context: Any, call: types.CallToolRequestParams) -> types.CallToolResult:
        question = (call.arguments or {}).get(_QUESTION)
        if not isinstance(question, str) or not question:
            return _result(f"{call.name} takes {_QUESTION!r}, a text", is_error=True)
        try:
            return _result(await peers.ask(call.name, question))
        except (NetworkError, trio.TooSlowError) as error:
            return _result(str(error), is_error=True)

    return Server(
        "trio_hub",
        version=__version__,
        instructions="Each tool puts a question to an agent and returns its answer.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def serve_stdio(peers: PeerTools) -> None:
    """
    Serve one client over stdin and stdout, until it closes stdin.

    Nothing else may write to stdout meanwhile.

    Cancellation: ends it; a thread that reads stdin stays until the next line or its end.
    """
    server = make_server(peers)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def _described(tool: PeerTool) -> types.Tool:
    return types.Tool(name=tool.name, description=tool.description, input_schema=_SCHEMA)


def _result(text: str, *, is_error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], is_error=is_error
    )
