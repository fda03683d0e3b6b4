"""Fixed bounds of what stands around a hub: credentials, other hubs, clients, models, programs."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import jwt
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from trio.testing import wait_all_tasks_blocked
from websockets.protocol import State
from websockets.server import ServerProtocol

from trio_hub import (
    AuthBlock,
    Envelope,
    FunctionAgent,
    Hub,
    HubClient,
    HubLimits,
    LimitsBlock,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    RateBlock,
    Resume,
    Rule,
    WsLink,
    serve_ws,
)
from trio_hub.auth import JwtAuth, json_web_token
from trio_hub.cli.chat import lines, terminal, typed_history
from trio_hub.cli.command import CommandError
from trio_hub.client import Turn, calls, event_memory, peer_operations
from trio_hub.errors import AccessDeniedError, AuthError
from trio_hub.federation import mirrors
from trio_hub.links import _sansio_stream
from trio_hub.mcp import PeerTools, _peers
from trio_hub.protocol.federation import HUB_SCHEME
from trio_hub.providers import _peer_tools, peer_tools
from trio_hub.providers._tools import ToolBox
from trio_hub.records import EV_TEXT
from trio_hub.wire.frames import Dialect

from ..cli.program import command
from ..cli.terminal import at_terminal
from .registry import case, text


async def silence(_turn: Turn) -> None:
    """Say nothing."""


@case(json_web_token, "TOKEN_CHARACTERS_MAX")
async def token_characters() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    keys = json.dumps({"keys": [ECAlgorithm.to_jwk(key.public_key(), as_dict=True)]})
    auth = JwtAuth(keys, issuer="us", audience="hub")

    def made(padding: int, more: int) -> str:
        claims = {"iss": "us", "aud": "hub", "sub": "alice", "exp": 2**32, "pad": text(padding)}
        return jwt.encode(claims, key, algorithm="ES256", headers={"more": text(more)})

    def token_of(length: int) -> str:
        # Three bytes are four characters, in each of two parts.
        about = (length - len(made(0, 0))) * 3 // 4
        sizes = ((about - back, more) for back in range(8) for more in range(4))
        return next(it for it in (made(*size) for size in sizes) if len(it) == length)

    most = json_web_token.TOKEN_CHARACTERS_MAX
    passport = Passport(name="alice")
    assert await auth.validate(passport, {"token": token_of(most)}) is not None
    with pytest.raises(AuthError):
        await auth.validate(passport, {"token": token_of(most + 1)})


@case(mirrors, "AGENTS_MAX")
async def mirrored_agents() -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub:
        there = mirrors.Mirrors(hub, "there")
        await there.open()
        async with trio.open_nursery() as nursery:
            for number in range(mirrors.AGENTS_MAX - 1):
                mirror = Passport(
                    name=f"hub://there/a{number}",
                    kind="remote_agent",
                    hub_id="there",
                    auth=AuthBlock(scheme=HUB_SCHEME),
                )
                nursery.start_soon(hub.register, mirror)
        await there.ensure("hub://there/last")
        with pytest.raises(AccessDeniedError, match=str(mirrors.AGENTS_MAX)):
            await there.ensure("hub://there/one more")
        # Another hub's are not counted with them.
        await mirrors.Mirrors(hub, "elsewhere").ensure("hub://elsewhere/bob")


def _event(number: int, channel_id: str) -> Envelope:
    return Envelope(
        channel_id=channel_id,
        sender_id="a",
        event_type=EV_TEXT,
        event_data={},
        envelope_id=f"{number:032x}",
    )


async def _is_remembered(memory: event_memory.EventMemory, event: Envelope) -> bool:
    found: list[Envelope] = []

    async def look() -> None:
        found.append(await memory.wait(event.channel_id, lambda it: it is event))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return bool(found)


@case(event_memory, "CHANNEL_EVENTS_MAX")
async def channel_events() -> None:
    for more in (0, 1):
        memory = event_memory.EventMemory()
        events = [_event(it, "c") for it in range(event_memory.CHANNEL_EVENTS_MAX + more)]
        for event in events:
            memory.remember(event)
        assert len(memory) == event_memory.CHANNEL_EVENTS_MAX
        assert await _is_remembered(memory, events[0]) == (not more)


@case(event_memory, "EVENTS_MAX")
async def events() -> None:
    for more in (0, 1):
        memory = event_memory.EventMemory()
        told = [_event(it, f"c{it}") for it in range(event_memory.EVENTS_MAX + more)]
        for event in told:
            memory.remember(event)
        assert len(memory) == event_memory.EVENTS_MAX
        assert await _is_remembered(memory, told[0]) == (not more)


@case(calls, "PATIENT_REQUESTS_MAX")
async def patient_requests() -> None:
    most = calls.PATIENT_REQUESTS_MAX
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        alice = await client.register(FunctionAgent("alice", silence))
        at_the_hub: list[str] = []
        end_of = hub.tasks.end_of

        async def counted(task_id: str) -> Any:
            at_the_hub.append(task_id)
            return await end_of(task_id)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hub.tasks, "end_of", counted)
            async with alice.task("long") as task, trio.open_nursery() as nursery:
                for number in range(1, most + 2):
                    nursery.start_soon(client.wait_task, task.task_id)
                    await wait_all_tasks_blocked()
                    assert len(at_the_hub) == min(number, most)
                # What waits for nobody has room.
                assert (await client.get_task(task.task_id)).state == "running"
                await task.complete()


@case(peer_operations, "LISTED_AGENTS_MAX")
async def listed_agents() -> None:
    most = peer_operations.LISTED_AGENTS_MAX
    limits = HubLimits(agents_per_answer_max=most + 100)
    async with (
        Hub.open(MemoryKnowledgeStore(), limits=limits) as hub,
        HubClient(LocalLink(hub, dialect=Dialect.PLAIN)) as client,
    ):
        alice = await client.register(FunctionAgent("alice", silence))
        async with trio.open_nursery() as nursery:
            for number in range(most - 2):
                nursery.start_soon(hub.register, Passport(name=f"other{number}"))
        for name, is_found in (("last", True), ("one more", False)):
            await hub.register(Passport(name=name), Resume(domains=("rare",)))
            found = await alice.peers.find(domain="rare", text=name)
            assert [it.name for it in found] == [name] * is_found


async def _told(tool: str, arguments: dict[str, Any], **fields: Any) -> str:
    """What a model is told by one of its tools, of others of which one has such fields."""
    said: list[str] = []
    box = ToolBox(peer_tools())

    async def look(turn: Turn) -> str:
        outcome = await box.run(turn, tool, json.dumps(arguments).encode())
        said.append(outcome.text)
        return "seen"

    skill_md = fields.pop("skill_md", None)
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        await client.register(FunctionAgent("model", look))
        asker = await client.register(FunctionAgent("asker", silence))
        await hub.register(Passport(name="bob"), Resume(**fields), skill_md=skill_md)
        await asker.consult("model", "look")
    return said[0]


@case(_peer_tools, "FOUND_PEERS_MAX")
async def found_peers() -> None:
    most = _peer_tools.FOUND_PEERS_MAX
    assert "bob" in await _told("find_peers", {"limit": most})
    assert "do not fit" in await _told("find_peers", {"limit": most + 1})


@case(_peer_tools, "SHOWN_CHARACTERS_MAX")
async def shown_characters() -> None:
    most = _peer_tools.SHOWN_CHARACTERS_MAX
    for size in (most, most + 1):
        told = await _told(
            "describe_peer", {"name": "bob"}, summary=text(size), skill_md=text(size)
        )
        shown = json.loads(told)
        assert shown["summary"] == shown["skill"] == text(most)


@case(_peer_tools, "SHOWN_WORDS_MAX")
async def shown_words() -> None:
    most = _peer_tools.SHOWN_WORDS_MAX
    for count in (most, most + 1):
        words = tuple(f"word{number}" for number in range(count))
        told = await _told(
            "describe_peer", {"name": "bob"}, domains=words, claimed_capabilities=words
        )
        shown = json.loads(told)
        assert shown["domains"] == shown["capabilities"] == list(words[:most])


@case(_peers, "TOOL_STEM_CHARACTERS_MAX")
async def tool_stem() -> None:
    most = _peers.TOOL_STEM_CHARACTERS_MAX
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        me = await client.register(FunctionAgent("me", silence))
        tools = PeerTools(me)
        for size in (most, most + 1):
            (agent_id,) = [(await hub.register(Passport(name=text(size)))).agent_id]
            assert [it.name for it in await tools.tools()] == [f"ask_{text(most)}"]
            await hub.unregister(str(agent_id))


@case(lines, "LINE_CHARACTERS_MAX")
async def line_characters() -> None:
    most = lines.LINE_CHARACTERS_MAX

    async def read(typed: bytes) -> list[str]:
        with TemporaryFile() as file:
            file.write(typed)
            file.seek(0)
            return [line async for line in lines.typed_lines(file.fileno())]

    assert await read(b"x" * most) == [text(most)]
    with pytest.raises(CommandError, match="characters"):
        await read(b"x" * (most + 1))


def _kept_of(whole: bytes, path: Path) -> bytes:
    path.write_bytes(whole)
    typed_history.open_history(path)
    return path.read_bytes()


@case(typed_history, "HISTORY_BYTES_MAX")
async def history_bytes() -> None:
    entry = b"\n# a date\n+a line that was typed\n"
    most = typed_history.HISTORY_BYTES_MAX
    with TemporaryDirectory() as folder:
        path = Path(folder, "history")
        for size in (most, most + 1):
            whole = (entry * (most // len(entry) + 2))[-size:]
            kept = _kept_of(whole, path)
            if size == most:
                assert kept == whole
            else:
                assert whole.endswith(kept)
                assert most // 2 - len(entry) <= len(kept) <= most // 2
                assert kept.startswith(entry)


@case(terminal, "WAITING_LINES_MAX")
async def waiting_lines() -> None:
    most = terminal.WAITING_LINES_MAX
    slowly = Rule(limits=LimitsBlock(rate=RateBlock(per_minute=1, burst=1)))
    with TemporaryDirectory() as folder:
        async with (
            Hub.open(MemoryKnowledgeStore()) as hub,
            serve_ws(hub, "127.0.0.1", 0) as server,
            HubClient(WsLink(server.url)) as client,
        ):
            await client.register(FunctionAgent("bob", silence))
            async with HubClient(WsLink(server.url)) as first:
                await first.register_human(Passport(name="hanna"), rule=slowly)
            words = command("chat", "--url", server.url, "--name", "hanna", "--to", "bob")
            async with at_terminal(words, XDG_STATE_HOME=folder) as screen:
                await screen.see("Ctrl-D leaves", " live")
                # The first is posted, and the second taken, and waits for a minute.
                await screen.write("one\r")
                await screen.write("two\r")
                await screen.see("too much at once")
                for number in range(most):
                    await screen.write(f"{number}\r")
                # Each of them was taken from the line, and this one is not.
                await screen.write("last\r")
                await screen.see(f"{most} lines wait", "hanna: last")
                await screen.write("\x15\x04")


class Deaf(trio.abc.Stream):
    """What a peer sends arrives piece by piece, and nothing that is sent to it is taken."""

    def __init__(self) -> None:
        self.send, self._pieces = trio.open_memory_channel[bytes](1000)
        self.reads = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next piece."""
        piece = await self._pieces.receive()
        self.reads += 1
        return piece

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Wait for ever."""
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for ever."""
        await trio.sleep_forever()

    async def aclose(self) -> None:
        """Nothing is to be closed."""


@case(_sansio_stream, "WAITING_ANSWERS_MAX")
async def waiting_answers() -> None:
    ping = bytes([0x89, 0x80, 0, 0, 0, 0])
    most = _sansio_stream.WAITING_ANSWERS_MAX
    raw = Deaf()
    async with trio.open_nursery() as nursery:
        stream = _sansio_stream.SansIoStream(
            ServerProtocol(state=State.OPEN), raw, nursery, dialect=Dialect.PLAIN, peer="deaf"
        )
        nursery.start_soon(partial(stream.receive_message))
        # The first answer is on its way, and so many wait behind it; then one that is over it.
        for number in range(1 + most + 3):
            raw.send.send_nowait(ping)
            await wait_all_tasks_blocked()
            assert raw.reads == min(number + 1, 1 + most + 1)
        nursery.cancel_scope.cancel()
