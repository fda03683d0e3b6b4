"""
A hub's agents as tools for any client of the Model Context Protocol.

`PeerTools` says which tools there are and asks the agents; `server` speaks MCP over it, and needs
the extra ``trio_hub[mcp]`` (the official SDK, which runs under Trio).
"""

from ._peers import PeerTool as PeerTool, PeerTools as PeerTools
