"""
What the programs of the documentation find around them: a model server on this machine.

Its model has read the documentation: asked for money, it hands off to whoever does refunds, where
it may, and finishes where it is that one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class _Model(BaseHTTPRequestHandler):
    """Speaks just enough of the chat-completions API to give every question one answer."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        call = _call_for(asked)
        answer = {"content": "Thirty days."} if call is None else {"tool_calls": [call]}
        for delta, finish in (
            ({"role": "assistant", **answer}, None),
            ({}, "stop" if call is None else "tool_calls"),
        ):
            chunk = {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "model",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            }
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def _call_for(asked: dict[str, Any]) -> dict[str, Any] | None:
    """Return the tool call that a model answers with, where it is offered those of a workflow."""
    tools = {it["function"]["name"]: it["function"] for it in asked.get("tools", ())}
    if "hand_off" not in tools:
        return None
    targets = tools["hand_off"]["parameters"]["properties"]["target"]["enum"]
    if "refunds" in targets:
        name, arguments = "hand_off", {"target": "refunds", "reason": "Order 7 came broken."}
    else:
        name, arguments = "finish", {"summary": "Order 7 is paid back.", "reason": "paid"}
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"index": 0, "id": "call-1", "type": "function", "function": function}


@pytest.fixture(scope="session", autouse=True)
def model_server() -> Iterator[None]:
    """Serve a model where ``openai.AsyncOpenAI()`` looks for one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        patch.setenv("OPENAI_API_KEY", "a-key")
        yield
    server.shutdown()
    thread.join()
    server.server_close()
