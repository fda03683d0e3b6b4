"""Fixed bounds of what a peer may ask for, and of what it is answered."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from trio_hub.errors import Conflict, FrameError, ProtocolError
from trio_hub.hub import audit, measured
from trio_hub.protocol import discovery
from trio_hub.wire import frames, params, validation

from ..hub.peer import Peer, open_house
from .hub_cases import observes
from .registry import case, text


@case(params, "TASK_WAIT_SECONDS_MAX", virtual=True)
async def task_wait() -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        await observes(alice, 0, "running")
        await alice.request("lease_task", task_id="t0", holder="first", seconds=3600)
        most = params.TASK_WAIT_SECONDS_MAX
        began = trio.current_time()
        # Longer than a peer of these tests waits for an answer.
        asked = [
            alice.ask("wait_task", task_id="t0", wait_seconds=most),
            alice.ask("lease_task", task_id="t0", holder="b", seconds=1, wait_seconds=most),
        ]
        await trio.sleep(most)
        assert (await alice.answer(asked[0]))["state"] == "running"
        with pytest.raises(Conflict):
            await alice.answer(asked[1])
        assert trio.current_time() - began == pytest.approx(most)
        for op, more in (("wait_task", {}), ("lease_task", {"holder": "b", "seconds": 1})):
            with pytest.raises(ProtocolError, match="wait_seconds"):
                await alice.request(op, task_id="t0", wait_seconds=most + 0.001, **more)


@case(params, "LEASE_SECONDS_MAX")
async def lease() -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        await observes(alice, 0, "running")
        most = params.LEASE_SECONDS_MAX
        await alice.request("lease_task", task_id="t0", holder="a", seconds=most)
        with pytest.raises(ProtocolError, match="seconds"):
            await alice.request("lease_task", task_id="t0", holder="a", seconds=most + 0.001)


@case(params, "HOLDER_CHARACTERS_MAX")
async def holder() -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        await observes(alice, 0, "running")
        most = params.HOLDER_CHARACTERS_MAX
        await alice.request("lease_task", task_id="t0", holder=text(most), seconds=1)
        with pytest.raises(ProtocolError, match="holder"):
            await alice.request("lease_task", task_id="t0", holder=text(most + 1), seconds=1)


@case(params, "TASK_ID_CHARACTERS_MAX")
async def task_id() -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        most = params.TASK_ID_CHARACTERS_MAX

        async def observe(task_id: str) -> None:
            metadata = {
                "task_id": task_id,
                "owner_id": alice.id,
                "spec": {"title": "long"},
                "state": "running",
            }
            await alice.request("observe_task", metadata=metadata)

        async def count(task_id: str) -> None:
            await alice.request(
                "record_observation",
                owner_id=alice.id,
                capability="law",
                outcome="completed",
                task_id=task_id,
            )

        for tell in (observe, count):
            await tell(text(most))
            with pytest.raises(ProtocolError):
                await tell(text(most + 1))


@case(params, "CAPABILITY_CHARACTERS_MAX")
async def capability() -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        most = params.CAPABILITY_CHARACTERS_MAX
        told: dict[str, Any] = {"owner_id": alice.id, "outcome": "completed"}
        await alice.request("record_observation", capability=text(most), **told)
        with pytest.raises(ProtocolError, match="capability"):
            await alice.request("record_observation", capability=text(most + 1), **told)


async def _operator_of(house: Any) -> Peer:
    operator: Peer = await house.join("operator")
    return operator


@case(params, "AUDIT_RECORDS_MAX")
async def audit_records() -> None:
    most = params.AUDIT_RECORDS_MAX
    async with open_house(operators=["operator"], allow_unauthenticated_operators=True) as house:
        operator = await _operator_of(house)
        for _ in range(most):
            house.hub.audit.record("test")
        page = await operator.request("read_audit", kind="test", limit=most)
        assert len(page["records"]) == most
        with pytest.raises(ProtocolError, match="limit"):
            await operator.request("read_audit", kind="test", limit=most + 1)


@case(audit, "SCANNED_RECORDS_MAX")
async def scanned_records() -> None:
    most = audit.SCANNED_RECORDS_MAX
    async with open_house(operators=["operator"], allow_unauthenticated_operators=True) as house:
        operator = await _operator_of(house)
        last = house.hub.audit.record("wanted")
        for more in (most - 1, 1):
            for _ in range(more):
                last = house.hub.audit.record("other")
            await house.hub.audit.written(last)
            # What is asked is audited as well.
            before = len(house.hub.audit)
            page = await operator.request("read_audit", kind="wanted", before=before)
            assert len(page["records"]) == (more > 1)
        # It is not lost: whoever goes on from there finds it.
        page = await operator.request("read_audit", kind="wanted", before=page["start"])
        assert len(page["records"]) == 1


@case(frames, "CLIENT_CHARACTERS_MAX")
async def client_characters() -> None:
    async with open_house() as house:
        await house.join("alice")
        peer = await house.peer()
        most = frames.CLIENT_CHARACTERS_MAX
        await peer.hello("alice", client=text(most))
        peer.send("hello", name="alice", client=text(most + 1))
        assert "client" in (await peer.expect("error"))["message"]


def _problems(faults: int, padding: int = 0) -> tuple[str, ...]:
    """What is said of a document with so many faults, or of so many more bytes."""
    document = {f"key{number}": number for number in range(faults)}
    data = validation.encode(document)
    assert len(data) + padding >= len(data)
    with pytest.raises(FrameError) as caught:
        validation.decode_strictly(
            data[:-1] + b" " * padding + data[-1:], dict[str, str], "document"
        )
    return caught.value.problems


@case(validation, "NAMED_FAULTS_MAX")
async def named_faults() -> None:
    most = validation.NAMED_FAULTS_MAX
    assert len(_problems(most)) == most
    assert _problems(most + 1)[-1] == "and 1 more"
    assert len(_problems(most + 1)) == most + 1


@case(validation, "EXPLAINED_BYTES_MAX")
async def explained_bytes() -> None:
    room = validation.EXPLAINED_BYTES_MAX - len(validation.encode({"key0": 0, "key1": 1}))
    assert len(_problems(2, room)) == 2
    assert len(_problems(2, room + 1)) == 1


@case(discovery, "PEERS_MAX")
async def peers() -> None:
    most = discovery.PEERS_MAX
    async with open_house() as house:
        alice = await house.join("alice")
        others = await house.peer()
        for number in range(most):
            await others.register(f"peer{number:04}")
        page = await alice.request("find_peers", agent_id=alice.id, limit=most + 1)
        assert (len(page["peers"]), page["after"]) == (most, None)
        await others.register("zoe")
        page = await alice.request("find_peers", agent_id=alice.id, limit=most + 1)
        assert len(page["peers"]) == most
        rest = await alice.request("find_peers", agent_id=alice.id, after=page["after"])
        assert [it["name"] for it in rest["peers"]] == ["zoe"]


async def _shown(**resume: Any) -> dict[str, Any]:
    """How an agent with such a resume is shown to another."""
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.peer()
        await bob.request("register", passport={"name": "bob"}, resume=resume)
        page = await alice.request("find_peers", agent_id=alice.id)
        shown: dict[str, Any] = page["peers"][0]
        return shown


@case(discovery, "SUMMARY_CHARACTERS_MAX")
async def summary() -> None:
    most = discovery.SUMMARY_CHARACTERS_MAX
    assert (await _shown(summary=text(most)))["summary"] == text(most)
    assert (await _shown(summary=text(most + 1)))["summary"] == f"{text(most - 1)}…"


@case(discovery, "WORDS_MAX")
async def words() -> None:
    most = discovery.WORDS_MAX
    for count in (most, most + 1):
        words = [f"word{number}" for number in range(count)]
        shown = await _shown(domains=words, claimed_capabilities=words)
        assert shown["domains"] == shown["capabilities"] == words[:most]


@case(discovery, "WORD_CHARACTERS_MAX")
async def word_characters() -> None:
    most = discovery.WORD_CHARACTERS_MAX
    shown = await _shown(domains=[text(most), text(most + 1)])
    assert shown["domains"] == [text(most), f"{text(most - 1)}…"]


@case(measured, "COUNTED_TASKS_MAX")
async def counted_tasks() -> None:
    for others, counted in ((measured.COUNTED_TASKS_MAX - 1, 1), (measured.COUNTED_TASKS_MAX, 2)):
        async with open_house() as house:
            alice = await house.join("alice")
            told: dict[str, Any] = {"owner_id": alice.id, "capability": "law"}

            async def tell(task_id: str, told: dict[str, Any] = told, alice: Peer = alice) -> None:
                await alice.request(
                    "record_observation", task_id=task_id, outcome="completed", **told
                )

            await tell("first")
            for number in range(others):
                await tell(f"other{number}")
            await tell("first")
            record = await alice.request("get_track_record", agent_id=alice.id)
            assert record["law"]["n"] == others + counted
