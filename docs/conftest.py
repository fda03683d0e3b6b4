"""What the programs of the documentation find around them: a model server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class _Model(BaseHTTPRequestHandler):
    """Speaks just enough of the chat-completions API to give every question one answer."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for delta, finish in (
            ({"role": "assistant", "content": "Thirty days."}, None),
            ({}, "stop"),
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
