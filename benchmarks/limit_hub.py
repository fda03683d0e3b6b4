"""
The floor under a hub's costs: what a hub on Trio and SQLite cannot do without, and nothing else.

It takes a post, writes it with a sync, in one group with those that wait beside it, answers, and
notifies the others of the channel. It checks nothing, remembers no receipts, redelivers nothing,
survives no slow reader, and answers what the questions about posts and fan-out ask, no more. How
far the real hub is from it is the price of everything that a hub is for.

It prints the same first line as the hubs do, so that whoever starts one need not know whose it is.
"""

from __future__ import annotations

import argparse
import queue
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

_RECEIVE_BYTES = 65536
_encode = msgspec.json.Encoder().encode

Waiting = list[tuple[bytes, Callable[[], None]]]


class Said(msgspec.Struct):
    """What is read of a post; the data is passed on as it came."""

    channel_id: str
    sender_id: str
    event_type: str
    event_data: msgspec.Raw


class Params(msgspec.Struct):
    """The parameters of whatever is asked."""

    envelope: Said | None = None
    passport: dict[str, str] | None = None
    creator_id: str = ""
    participants: tuple[str, ...] = ()


class Heard(msgspec.Struct):
    """Any frame of a client."""

    kind: str
    request_id: str = ""
    op: str = ""
    params: Params | None = None


_decode = msgspec.json.Decoder(Heard).decode


class Log:
    """One table of records, and the thread that writes whatever waits with one sync."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: Waiting = []
        self._groups: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        self._busy = False
        self._trio = trio.lowlevel.current_trio_token()
        threading.Thread(target=self._write, daemon=True).start()

    def append(self, record: bytes, durable: Callable[[], None]) -> None:
        """Write a record; `durable` is called when it is on disk."""
        self._waiting.append((record, durable))
        if not self._busy:
            self._busy = True
            # Later, so that what else this turn of the loop brings is in the same group.
            self._trio.run_sync_soon(self._flush)

    def _flush(self) -> None:
        self._groups.put(self._waiting)
        self._waiting = []

    def _settle(self, group: Waiting) -> None:
        for _, durable in group:
            durable()
        if self._waiting:
            self._flush()
        else:
            self._busy = False

    def _write(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE log (position INTEGER PRIMARY KEY, record BLOB)")
        insert = "INSERT INTO log (record) VALUES (?)"
        while True:
            group = self._groups.get()
            rows = [(record,) for record, _ in group]
            if len(rows) == 1:
                connection.execute(insert, rows[0])
            else:
                connection.execute("BEGIN")
                connection.executemany(insert, rows)
                connection.execute("COMMIT")
            self._trio.run_sync_soon(self._settle, group)


class Peer:
    """One connection, for one agent."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._protocol = ServerProtocol(max_size=None)

    async def run(self, take: Callable[[Peer, Heard], None]) -> None:
        """Take what comes until it ends, or breaks."""
        protocol = self._protocol
        with self._socket:
            while True:
                await trio.lowlevel.wait_readable(self._socket)
                try:
                    data = self._socket.recv(_RECEIVE_BYTES)
                except ConnectionError:
                    return
                if not data:
                    return
                protocol.receive_data(data)
                for event in protocol.events_received():
                    if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                        take(self, _decode(event.data))
                    elif isinstance(event, Request):
                        protocol.send_response(protocol.accept(event))
                self._flush()

    def send(self, frame: bytes) -> None:
        """Send a message. Whoever asks these questions reads on, so the kernel has room."""
        self._protocol.send_text(frame)
        self._flush()

    def _flush(self) -> None:
        if out := b"".join(self._protocol.data_to_send()):
            assert self._socket.send(out) == len(out), "the load does not read what it asked for"


class LimitHub:
    """All agents and channels; each is a number."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._peers: dict[str, Peer] = {}
        self._members: dict[str, tuple[str, ...]] = {}
        self._posted = 0

    def take(self, peer: Peer, frame: Heard) -> None:
        """Act on a frame."""
        if frame.kind != "request":
            return
        params = frame.params
        assert params is not None
        match frame.op:
            case "post_envelope":
                assert params.envelope is not None
                self._post(peer, frame.request_id, params.envelope)
            case "register":
                agent_id = f"agent-{len(self._peers)}"
                self._peers[agent_id] = peer
                peer.send(_answer(frame.request_id, {"agent_id": agent_id}))
            case "create_channel":
                channel_id = f"channel-{len(self._members)}"
                self._members[channel_id] = (params.creator_id, *params.participants)
                peer.send(_answer(frame.request_id, {"channel_id": channel_id}))
            case _:
                peer.send(_answer(frame.request_id, None))

    def _post(self, peer: Peer, request_id: str, said: Said) -> None:
        self._posted += 1
        envelope_id = f"{self._posted:032x}"
        envelope = _encode(
            {
                "envelope_id": envelope_id,
                "channel_id": said.channel_id,
                "sender_id": said.sender_id,
                "event_type": said.event_type,
                "event_data": said.event_data,
            }
        )

        def durable() -> None:
            peer.send(_answer(request_id, envelope_id))
            for agent_id in self._members[said.channel_id]:
                if agent_id != said.sender_id:
                    head = b'{"kind":"notify","recipient_id":"%b","envelope":' % agent_id.encode()
                    self._peers[agent_id].send(head + envelope + b"}")

        self._log.append(envelope, durable)


def _answer(request_id: str, result: object) -> bytes:
    return _encode({"kind": "response", "request_id": request_id, "ok": True, "result": result})


async def serve(data: Path) -> None:
    """Serve until the process is ended."""
    hub = LimitHub(Log(data / "limit.sqlite3"))
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(f"limit_hub listening on ws://127.0.0.1:{listener.socket.getsockname()[1]}", flush=True)
    async with trio.open_nursery() as nursery:
        while True:
            stream = await listener.accept()
            connected = socket.socket(fileno=stream.socket.detach())
            connected.setblocking(False)
            nursery.start_soon(Peer(connected).run, hub.take)


def main() -> None:
    """Read the flags and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="an empty directory")
    data = parser.parse_args().data
    data.mkdir(parents=True, exist_ok=True)
    trio.run(serve, data)


if __name__ == "__main__":
    main()
