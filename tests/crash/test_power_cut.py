"""
The power fails while a hub commits, and another hub opens what the disk then holds.

The promises: every post that was acknowledged before is in its log, once; every post that was
not can be made again under its key, and is there once; whoever was registered is there; a
recipient hears everything that it had not settled; and the hub has nothing to complain of.

``pytest tests/crash --power-cuts 500`` for more than the few cuts of every run.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio

from trio_hub import (
    DiskKnowledgeStore,
    Envelope,
    Hub,
    HubLimits,
    InboxBlock,
    LimitsBlock,
    LocalLink,
    Passport,
    Rule,
)
from trio_hub.client import AgentClient, HubClient
from trio_hub.records import is_addressed_to

from .power import Cut, PowerMeter, files_after_cut
from .speaker import NOTE

_WRITERS = 6
_CHANNELS = 3
_CUTS_OF_ONE_HUB = 40
_HEARD_WITHIN_SECONDS = 60.0
_NO_LIMIT = Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=0)))
# Cursors are written all the time, so that they are in many of the commits.
_LIMITS = HubLimits(cursor_flush_seconds=0.01, snapshot_records=10)


@attrs.frozen
class Known:
    """
    What the world knew when the power failed.

    Attributes:
        posts: What had been acknowledged: by key, the channel and the envelope id.
        tried: What had been posted, acknowledged or not.
        registered: By name, the agent id.
        heard: What the listener had been handed.
    """

    posts: dict[str, tuple[str, str]]
    tried: dict[str, Envelope]
    registered: dict[str, str]
    heard: set[str]


class Load:
    """
    A hub under load, which can be stopped while somebody looks.

    Args:
        hub: Where to post.
    """

    def __init__(self, hub: Hub, rng: random.Random) -> None:
        self.known = Known({}, {}, {}, set())
        self._hub = hub
        self._rng = rng
        self._channel_ids: list[str] = []
        self._goes_on = trio.Event()

    async def prepare(self) -> None:
        """Register a speaker and a listener, and open channels between them."""
        for name in ("speaker", "listener"):
            passport = await self._hub.register(Passport(name=name), rule=_NO_LIMIT)
            self.known.registered[name] = passport.agent_id or ""
        for _ in range(_CHANNELS):
            metadata = await self._hub.create_channel(
                creator_id=self.known.registered["speaker"],
                manifest_type="conversation",
                participants=[self.known.registered["listener"]],
                required_acks=0,
                ttl=0,
            )
            self._channel_ids.append(metadata.channel_id)

    def go_on(self) -> None:
        """Post until `stop`."""
        self._goes_on.set()

    def stop(self) -> None:
        """Begin nothing new."""
        self._goes_on = trio.Event()

    async def write(self, number: int) -> None:
        """Post one after another, and register somebody now and then."""
        turn = 0
        while True:
            await self._goes_on.wait()
            turn += 1
            key = f"{number}-{turn}"
            if self._rng.random() < 0.03:
                passport = await self._hub.register(Passport(name=f"guest-{key}"))
                self.known.registered[passport.name] = passport.agent_id or ""
            envelope = Envelope(
                channel_id=self._rng.choice(self._channel_ids),
                sender_id=self.known.registered["speaker"],
                event_type=NOTE,
                event_data={"text": key + "x" * self._rng.choice((0, 100, 3000, 20_000))},
                idempotency_key=key,
            )
            self.known.tried[key] = envelope
            envelope_id = await self._hub.post_envelope(envelope)
            self.known.posts[key] = (envelope.channel_id, envelope_id)

    async def listen(self) -> None:
        """Settle whatever comes."""
        async with HubClient(LocalLink(self._hub)) as client:
            await client.attach(_ask, "listener", handler=self._hear)
            await trio.sleep_forever()

    async def _hear(self, envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
        self.known.heard.add(envelope.envelope_id)


async def _ask(_turn: object) -> None:
    """Never speak."""


@pytest.mark.slow
async def test_what_was_acknowledged_survives_power_cuts_at_any_moment_of_a_commit(
    tmp_path: Path, power_cuts: int, rng: random.Random
) -> None:
    seen = Counter[str]()
    for first in range(0, power_cuts, _CUTS_OF_ONE_HUB):
        directory = tmp_path / f"from-{first}"
        seen += await _cut(directory, min(_CUTS_OF_ONE_HUB, power_cuts - first), rng)
        await trio.to_thread.run_sync(shutil.rmtree, directory)
    print(f"{power_cuts} power cuts: {dict(seen)}")  # noqa: T201  the figures of a long run (-s)


async def _cut(directory: Path, cuts: int, rng: random.Random) -> Counter[str]:
    """Run one hub, cut its power again and again, and look at what is left each time."""
    seen = Counter[str]()
    send_cut, receive_cut = trio.open_memory_channel[Cut](1)
    token = trio.lowlevel.current_trio_token()
    loads: list[Load] = []

    def ask() -> Known:
        # In the writer's thread: a copy of each in one step, before the commit begins.
        known = loads[0].known
        return Known(
            known.posts.copy(), known.tried.copy(), known.registered.copy(), known.heard.copy()
        )

    def tell(cut: Cut) -> None:
        trio.from_thread.run_sync(send_cut.send_nowait, cut, trio_token=token)

    meter = PowerMeter(ask, tell)
    store = DiskKnowledgeStore(directory / "live", _connect=meter.connect)
    async with Hub.open(store, limits=_LIMITS) as hub, trio.open_nursery() as nursery:
        loads.append(load := Load(hub, rng))
        await load.prepare()
        nursery.start_soon(load.listen)
        for number in range(_WRITERS):
            nursery.start_soon(load.write, number)
        for number in range(cuts):
            meter.arm(rng.randrange(6))
            load.go_on()
            cut = await receive_cut.receive()
            load.stop()
            files_after_cut(cut, directory / f"cut-{number}", rng)
            assert isinstance(cut.known, Known)
            seen += await _open_and_check(directory / f"cut-{number}", cut.known, rng)
        nursery.cancel_scope.cancel()
    return seen


async def _open_and_check(directory: Path, known: Known, rng: random.Random) -> Counter[str]:
    async with Hub.open(DiskKnowledgeStore(directory)) as hub:
        health = hub.health()
        assert health.problems == health.store.problems == ()
        for name, agent_id in known.registered.items():
            assert hub.find_agent_id(name) == agent_id
        logs = await _read_logs(hub)
        found = {one.idempotency_key: one for log in logs.values() for one in log}
        for key, (channel_id, envelope_id) in known.posts.items():
            assert key in found, f"{key} was acknowledged and is lost"
            assert (found[key].channel_id, found[key].envelope_id) == (channel_id, envelope_id)
        unknown = known.tried.keys() - known.posts.keys()
        for key in [*unknown, *rng.sample(list(known.posts), min(10, len(known.posts)))]:
            envelope_id = await hub.post_envelope(known.tried[key])
            assert key not in found or found[key].envelope_id == envelope_id
        logs = await _read_logs(hub)
        keys = Counter(one.idempotency_key for log in logs.values() for one in log)
        assert all(keys[key] == 1 for key in known.tried)
        await _hear_the_rest(hub, logs, known)
    return Counter(
        {
            "acknowledged and found": len(known.posts),
            "not acknowledged, kept": len(unknown & found.keys()),
            "not acknowledged, not kept": len(unknown - found.keys()),
        }
    )


async def _read_logs(hub: Hub) -> dict[str, Sequence[Envelope]]:
    logs = {one.channel_id: await hub.read_wal(one.channel_id) for one in hub.list_channels()}
    for log in logs.values():
        ids = [one.envelope_id for one in log]
        assert ids == sorted(set(ids))
    return logs


async def _hear_the_rest(hub: Hub, logs: dict[str, Sequence[Envelope]], known: Known) -> None:
    """See that the listener is sent all that it had not been handed before the cut."""
    listener = known.registered["listener"]
    missing = {
        one.envelope_id for log in logs.values() for one in log if is_addressed_to(one, listener)
    }
    missing -= known.heard
    heard_all = trio.Event()

    async def hear(envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
        missing.discard(envelope.envelope_id)
        if not missing:
            heard_all.set()

    async with HubClient(LocalLink(hub)) as client:
        await client.attach(_ask, "listener", handler=hear)
        if missing:
            with trio.move_on_after(_HEARD_WITHIN_SECONDS):
                await heard_all.wait()
    assert not missing, f"{len(missing)} envelopes are owed and never come"
