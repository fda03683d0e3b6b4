"""
AG2's own hub as a program: the other side of every ratio, and the peer of the interop suite.

It is what AG2's documentation shows (`Hub.open` and `serve_ws`, all defaults), printing the
same first line as ours, so that whoever starts a hub need not know whose it is. It runs in
any environment that holds `ag2` and `websockets` and imports nothing of this project.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from ag2.knowledge import DiskKnowledgeStore, MemoryKnowledgeStore
from ag2.network import ApiKeyAuth, AuthRegistry, Hub, serve_ws


async def serve(data: Path | None, port: int, keys: dict[str, str] | None) -> None:
    """
    Serve until the process is ended.

    Args:
        data: Directory of the disk store; `None` keeps everything in memory.
        port: Where to listen; 0 lets the system choose.
        keys: Agent name to API key. With keys, nobody comes in without one.
    """
    store = MemoryKnowledgeStore() if data is None else DiskKnowledgeStore(data)
    auth = None if keys is None else AuthRegistry([ApiKeyAuth(keys)])
    async with await Hub.open(store, auth=auth) as hub, serve_ws(hub, "127.0.0.1", port) as server:
        bound = next(iter(server.sockets)).getsockname()[1]
        print(f"ag2_hub listening on ws://127.0.0.1:{bound}", flush=True)
        await asyncio.get_running_loop().create_future()


def main() -> None:
    """Read the flags and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="directory of the disk store (default: memory)")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--keys", help="JSON object: agent name to API key")
    arguments = parser.parse_args()
    keys = None if arguments.keys is None else json.loads(arguments.keys)
    asyncio.run(serve(arguments.data, arguments.port, keys))


if __name__ == "__main__":
    main()
