"""
The load: a lean speaker of the plain dialect, in a process of its own, the same for every hub.

It is written on asyncio and `websockets` for the reason that it must not be ours: whatever it
costs, it costs both hubs alike. It does what a real client must (acks invites, sends a receipt
for every notification) and nothing else. It drives `websockets`' sans-I/O protocol straight
from the socket's callbacks, which takes a third of the time of its asyncio connections, and
cuts frames from templates, so that the hub and not the generator is what is measured. It asks
for no compression, which favours whoever would have to compress.

Run by `benchmarks.run`, or by hand against any hub::

    python -m benchmarks.plain_load --url ws://127.0.0.1:8765 --question one_conversation \
        --with posts=2000
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

__all__ = [
    "TEXT",
    "Agent",
    "Generator",
    "LoadFlags",
    "Meter",
    "Refused",
    "median_ms",
    "percentile",
]

#: 100 bytes, as every table says.
TEXT = "x" * 100
# No notification that is due may stay away longer than this.
_DRAIN_SECONDS = 120.0
_OPEN_SECONDS = 30.0
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


class Refused(Exception):
    """The hub answered a request with an error; a benchmark has nothing to measure then."""


class Agent(asyncio.Protocol):
    """One identity on one connection: register, post, and ack whatever comes."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.agent_id = ""
        self.delivered = 0
        self.last_delivery = 0.0
        # When each envelope of the load arrived; bounded by whoever empties it.
        self.arrivals: list[float] = []
        self._socket = ClientProtocol(parse_uri(url), max_size=None)
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._partial: list[bytes] = []
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._numbers = count()
        self._wanted = 0
        self._arrived = asyncio.Event()
        self._welcomed: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()

    async def connect(self, host: str, port: int) -> None:
        """Open the connection."""
        await self._loop.create_connection(lambda: self, host, port)
        async with asyncio.timeout(_OPEN_SECONDS):
            await self._opened

    def close(self) -> None:
        """Close the connection, if it is not closed."""
        if self._transport.is_closing():
            return
        self._socket.send_close(1000)
        self._flush()
        self._transport.close()

    def stop_reading(self) -> None:
        """Leave in the socket whatever comes, and so ack nothing."""
        self._transport.pause_reading()

    def go_on_reading(self) -> None:
        """End `stop_reading`."""
        self._transport.resume_reading()

    async def leave(self) -> None:
        """Close the connection, and wait until it is gone."""
        self.close()
        await self._gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello (a callback of asyncio)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._socket.send_request(self._socket.connect())
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever still waits (a callback of asyncio)."""
        self._socket.receive_eof()
        reason = ConnectionError(f"{self.name} was cut off: {exc or self._socket.close_exc}")
        if not self._gone.done():
            self._gone.set_result(None)
        for waiting in (self._opened, *self._answers.values()):
            if not waiting.done():
                waiting.set_exception(reason)
                waiting.exception()  # it may be that nobody waits any more

    def data_received(self, data: bytes) -> None:
        """Take what the hub says (a callback of asyncio)."""
        self._socket.receive_data(data)
        for event in self._socket.events_received():
            if isinstance(event, Frame):
                if event.opcode in (Opcode.TEXT, Opcode.CONT):
                    self._partial.append(bytes(event.data))
                    if event.fin:
                        message = json.loads(b"".join(self._partial).decode())
                        self._partial.clear()
                        self._take(message)
            elif self._socket.handshake_exc is None:
                self._opened.set_result(None)
            else:
                self._opened.set_exception(self._socket.handshake_exc)
        self._flush()

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["kind"] == "notify":
            self._take_envelope(frame["envelope"], frame["recipient_id"])
        elif frame["kind"] == "response":
            waiting = self._answers.pop(frame["request_id"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(frame)
        elif frame["kind"] == "welcome":
            self._welcomed.set_result(None)
        elif frame["kind"] == "error":
            self._transport.abort()
            raise Refused(f"{frame['code']}: {frame['message']}")

    def _take_envelope(self, envelope: dict[str, Any], recipient_id: str) -> None:
        event_type = envelope["event_type"]
        if event_type == "ag2.channel.invite":
            ack = {
                "channel_id": envelope["channel_id"],
                "sender_id": recipient_id,
                "audience": None,
                "event_type": "ag2.channel.invite.ack",
                "event_data": {"channel_id": envelope["channel_id"]},
                "causation_id": envelope["envelope_id"],
            }
            self._send(
                self._request(next(self._numbers), "post_envelope", json.dumps({"envelope": ack}))
            )
        self._send(
            f'{{"kind":"receipt","envelope_id":"{envelope["envelope_id"]}","status":"ack",'
            f'"recipient_id":"{recipient_id}","channel_id":"{envelope["channel_id"]}"}}'
        )
        if event_type in ("ag2.msg.text", "bench.note"):
            self.delivered += 1
            self.last_delivery = time.perf_counter()
            self.arrivals.append(self.last_delivery)
            if self.delivered >= self._wanted:
                self._arrived.set()

    def _send(self, message: str) -> None:
        self._socket.send_text(message.encode())

    def _flush(self) -> None:
        if waiting := self._socket.data_to_send():
            self._transport.write(b"".join(waiting))

    def _request(self, number: int, op: str, params: str) -> str:
        return f'{{"kind":"request","request_id":"{number}","op":"{op}","params":{params}}}'

    async def call(self, op: str, **params: Any) -> Any:
        """Send one request and return its result. Raises `Refused` where the hub refuses."""
        return await self._ask(op, json.dumps(params))

    async def _ask(self, op: str, params: str) -> Any:
        number = next(self._numbers)
        waiting: asyncio.Future[Any] = self._loop.create_future()
        self._answers[str(number)] = waiting
        self._send(self._request(number, op, params))
        self._flush()
        frame = await waiting
        if not frame["ok"]:
            raise Refused(f"{op}: {frame['error_code']}: {frame['error_message']}")
        return frame["result"]

    async def register(self) -> None:
        """Register under a rule without limits, so that no inbox refuses the load."""
        self.agent_id = await self.register_another(self.name)

    async def register_another(self, name: str) -> str:
        """Register one more agent on this connection, as the first, and return its id."""
        passport = await self.call(
            "register",
            passport={"name": name},
            resume={},
            rule={"limits": {"inbox": {"max_pending": 0}}},
        )
        return str(passport["agent_id"])

    async def attach(self) -> None:
        """Bind the identity of that name, and ask for everything that it has not acked."""
        self._send(f'{{"kind":"hello","name":"{self.name}","since_envelope_id":""}}')
        self._flush()
        await self._welcomed

    async def open(self, manifest_type: str, *others: Agent) -> str:
        """Open a channel and return its id, once everybody has accepted."""
        return await self.open_with(manifest_type, *(other.agent_id for other in others))

    async def open_with(self, manifest_type: str, *agent_ids: str) -> str:
        """Open a channel with agents by their ids, as `open`."""
        metadata = await self.call(
            "create_channel",
            creator_id=self.agent_id,
            manifest_type=manifest_type,
            participants=list(agent_ids),
        )
        return str(metadata["channel_id"])

    async def post(
        self, channel_id: str, event_type: str = "ag2.msg.text", text: str = TEXT
    ) -> None:
        """Post a text and wait for the answer."""
        await self._ask(
            "post_envelope",
            f'{{"envelope":{{"channel_id":"{channel_id}","sender_id":"{self.agent_id}",'
            f'"audience":null,"event_type":"{event_type}","event_data":{{"text":"{text}"}}}}}}',
        )

    async def receive(self, wanted: int) -> None:
        """Wait until that many envelopes of the load have arrived in all."""
        self._wanted = wanted
        if self.delivered < wanted:
            self._arrived.clear()
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._arrived.wait()
        # A receipt has no answer; a request behind it has one, so after this they are all in.
        await self.call("find_agent_id", name=self.name)


class Meter:
    """
    What has passed since it was made: time, the hub's CPU time, and the generator's own.

    Args:
        hub_pid: The hub's process id; without one, or without `/proc`, its CPU time is NaN.
    """

    def __init__(self, hub_pid: int | None) -> None:
        self._hub_pid = hub_pid
        self._hub_cpu = self._read_hub_cpu()
        self._hub_kb = self._read_hub_kb()
        self._load_cpu = time.process_time()
        self.begun = time.perf_counter()

    def seconds(self) -> float:
        """Return the time since the start."""
        return time.perf_counter() - self.begun

    def cpu(self, operations: int) -> dict[str, float]:
        """
        Return the CPU time of both sides, in microseconds for each operation.

        Where `load_cpu_us` is near the time that one operation took, the generator was the
        bottleneck, and only `hub_cpu_us` says anything about the hub.
        """
        return {
            "hub_cpu_us": (self._read_hub_cpu() - self._hub_cpu) / operations * 1e6,
            "load_cpu_us": (time.process_time() - self._load_cpu) / operations * 1e6,
        }

    def hub_grown_kb(self) -> float:
        """Return by how much the hub's resident memory has grown, in kB."""
        return self._read_hub_kb() - self._hub_kb

    def _read_hub_kb(self) -> float:
        try:
            pages = Path(f"/proc/{self._hub_pid}/statm").read_text().split()[1]
        except OSError:
            return float("nan")
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1024

    def _read_hub_cpu(self) -> float:
        """Return the CPU seconds that the hub has used, in all its threads."""
        try:
            text = Path(f"/proc/{self._hub_pid}/stat").read_text()
        except OSError:
            return float("nan")
        # The name in parentheses may hold spaces; user and system time stand 11 fields behind it.
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) * _TICK_SECONDS


class Generator:
    """What a question gets: agents on connections of their own, and the hub's CPU time."""

    def __init__(self, url: str, hub_pid: int | None) -> None:
        self._url = url
        self._hub_pid = hub_pid
        self._agents: list[Agent] = []

    async def run(
        self,
        question: Callable[..., Awaitable[dict[str, float]]],
        parameters: dict[str, int],
    ) -> dict[str, float]:
        """Ask one question of the hub and return its figures."""
        try:
            return await question(self, **parameters)
        finally:
            for agent in self._agents:
                agent.close()

    async def agent(self, name: str) -> Agent:
        """Connect and register one agent."""
        agent = await self._connect(name)
        await agent.register()
        return agent

    async def returning(self, name: str) -> Agent:
        """Connect one agent that the hub knows."""
        agent = await self._connect(name)
        await agent.attach()
        return agent

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the hub."""
        parts = urlsplit(self._url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    async def _connect(self, name: str) -> Agent:
        agent = Agent(name, self._url)
        await agent.connect(*self.address)
        self._agents.append(agent)
        return agent

    def meter(self) -> Meter:
        """Start to measure."""
        return Meter(self._hub_pid)


def percentile(values: list[float], fraction: float) -> float:
    """Return the value below which that fraction of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


async def median_ms(ask: Callable[[], Awaitable[object]], repeats: int) -> float:
    """Return how long asking takes, in milliseconds: the median of so many times."""
    times: list[float] = []
    for _ in range(repeats):
        begun = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e3


@dataclass(frozen=True)
class LoadFlags:
    """What a load is told on its command line: which hub, which question, how much."""

    url: str
    hub_pid: int | None
    ask: Callable[..., Awaitable[dict[str, float]]]
    parameters: dict[str, int]

    @classmethod
    def read(cls, description: str | None) -> LoadFlags:
        """Read the command line."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--url", required=True)
        parser.add_argument("--hub-pid", type=int)
        parser.add_argument("--question", required=True)
        parser.add_argument(
            "--with", dest="parameters", nargs="*", default=[], metavar="NAME=NUMBER"
        )
        words = parser.parse_args()
        pairs = (word.partition("=") for word in words.parameters)
        return cls(
            words.url,
            words.hub_pid,
            importlib.import_module(f"benchmarks.questions.{words.question}").ask,
            {name: int(number) for name, _, number in pairs},
        )


def main() -> None:
    """Ask the question, print one line of JSON."""
    flags = LoadFlags.read(__doc__)
    generator = Generator(flags.url, flags.hub_pid)
    print(json.dumps(asyncio.run(generator.run(flags.ask, flags.parameters))), flush=True)


if __name__ == "__main__":
    main()
