"""
The face that both kinds of party share, and the AG2 kind: an agent in a process of its own.

A test says who plays which part and then reads the same for every cast. What a party says is
a plain dict in the wire's own words; what it refuses is a `Refused` that names the class of
the error *as that side's user would catch it*.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

import pytest
import trio

from .seedlings import Seedbed, Seedling

__all__ = ["TEXT", "AG2Party", "Behaviour", "Envelope", "Party", "Refused"]

#: An envelope in the wire's words.
Envelope = dict[str, Any]
#: "answers": replies as scripted; "listens": takes everything, says nothing by itself;
#: "stuck": never finishes a turn, and so never acks what asked for it.
Behaviour = str

_AG2_AGENT = Path(__file__).parent / "peers" / "ag2_agent.py"
_ANSWER_SECONDS = 60.0
TEXT = "ag2.msg.text"


class Refused(Exception):
    """
    A call that failed.

    Args:
        class_name: The exception that the caller of that library gets.
        message: Its text.
    """

    def __init__(self, class_name: str, message: str) -> None:
        super().__init__(f"{class_name}: {message}")
        self.class_name = class_name
        self.message = message


class Party:
    """What a test may ask of either kind; each kind says how a thing is done by name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.agent_id = ""

    async def call(self, do: str, **parameters: Any) -> Any:
        """Do one thing by name. Raises `Refused`."""
        raise NotImplementedError

    async def kill(self) -> None:
        """End it at once, without a word to the hub."""
        raise NotImplementedError

    async def refusal(self, do: str, **parameters: Any) -> str:
        """Return the class of the error that a call ends in. One that succeeds is a failure."""
        with pytest.raises(Refused) as caught:
            await self.call(do, **parameters)
        assert caught.value.message, "an error says what was wrong"
        return caught.value.class_name

    async def open(self, type: str, *others: Party, knobs: dict[str, Any] | None = None) -> str:
        """Open a channel with others and return its id."""
        target = [other.name for other in others]
        metadata = await self.call("open", type=type, target=target, knobs=knobs or {})
        return str(metadata["channel_id"])

    async def send(self, channel_id: str, text: str) -> str:
        """Say something and return the envelope's id."""
        return str(await self.call("send", channel_id=channel_id, text=text))

    async def wait_for(
        self, channel_id: str, event_type: str = TEXT, sender: Party | None = None
    ) -> Envelope:
        """Return the next envelope of that type (and sender) that reaches this party."""
        sender_id = None if sender is None else sender.agent_id
        envelope: Envelope = await self.call(
            "wait_for",
            channel_id=channel_id,
            event_type=event_type,
            sender_id=sender_id,
            timeout=20.0,
        )
        return envelope

    async def until_heard(self, words: str) -> None:
        """Wait until this party's agent was asked something with these words in it."""
        await self.call("until_heard", words=words)

    async def texts(self, channel_id: str) -> list[tuple[str, str]]:
        """Return what was said in a channel: (agent id, text), in the order of the log."""
        log: list[Envelope] = await self.call("read_wal", channel_id=channel_id)
        return [(e["sender_id"], e["event_data"]["text"]) for e in log if e["event_type"] == TEXT]


class AG2Party(Party):
    """AG2's client in a process of its own. Killed for real: SIGKILL."""

    def __init__(self, name: str, process: Seedling) -> None:
        super().__init__(name)
        self._process = process
        self._ended = trio.Event()
        self._next = 0
        self._answers: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}

    @classmethod
    async def start(
        cls, name: str, seedbed: Seedbed, nursery: trio.Nursery, errors: TextIO
    ) -> AG2Party:
        """Start the process; `nursery` reads what it says."""
        process = await seedbed.start(str(_AG2_AGENT), errors=errors)
        party = cls(name, process)
        nursery.start_soon(party._listen)
        return party

    async def _listen(self) -> None:
        buffer = b""
        try:
            async for chunk in self._process.stdout:
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    answer = json.loads(line)
                    self._answers.pop(answer["id"]).send_nowait(answer)
        finally:
            self._ended.set()
            for waiting in self._answers.values():
                waiting.close()

    async def call(self, do: str, **parameters: Any) -> Any:
        self._next += 1
        number = self._next
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        self._answers[number] = send
        line = json.dumps({"id": number, "do": do, **parameters}) + "\n"
        await self._process.stdin.send_all(line.encode())
        with trio.fail_after(_ANSWER_SECONDS):
            answer = await receive.receive()
        if "error" in answer:
            raise Refused(answer["error"]["class"], answer["error"]["message"])
        return answer["result"]

    async def kill(self) -> None:
        if not self._ended.is_set():
            self._process.kill()
            await self._ended.wait()
        await self._process.wait()
