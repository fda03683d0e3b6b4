"""
A hub under load is killed with SIGKILL and started again, over and over, on one directory.

The promises: what was acknowledged is in the log, once; what was posted again under its key is
there once; nobody is passed over, and everybody hears a channel in the order of its log; what
was registered and opened is there; and the hub has nothing to complain of. The parties are both
independent speakers of the plain dialect and our own client, which comes back by itself.

``pytest tests/crash --kills 300`` for more than the few kills of every run.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
import trio

from trio_hub import (
    ChannelState,
    ConnectionLost,
    DiskKnowledgeStore,
    Envelope,
    Hub,
    InboxBlock,
    LimitsBlock,
    Passport,
    ProtocolError,
    Rule,
    WsLink,
)
from trio_hub.client import AgentClient, HubClient, Reconnect, accept_invite
from trio_hub.protocol.backoff import Backoff
from trio_hub.records import is_addressed_to

from .hub_process import HubProcess
from .speaker import NOTE, Post, Speaker, Told

# Our own client has several tasks that each await their post before they make the next one.
_WRITERS = 4
_SOON = Reconnect(backoff=Backoff(base=0.01, cap=0.1), wait_for_hub=True)
_CATCHES_UP_WITHIN_SECONDS = 60.0
_ANSWER_WITHIN_SECONDS = 120.0


class OurParty:
    """
    An agent of our own client, which does nothing itself about hubs that die.

    Args:
        hub: Whom it talks with.
        rng: Makes its choices.
    """

    name = "ours"

    def __init__(self, hub: HubProcess, rng: random.Random) -> None:
        self.agent_id = ""
        self.told = Told()
        self.posts: list[Post] = []
        self.guests: dict[str, str] = {}
        self.opened: list[str] = []
        self.ready = trio.Event()
        self.ends = False
        self._hub = hub
        self._rng = rng
        self._channel_ids: list[str] = []
        self._writing = 0
        self._client: HubClient | None = None

    def __repr__(self) -> str:
        return f"<OurParty over {self._client!r}, {self._writing} writers>"

    @property
    def has_all_answers(self) -> bool:
        """Whether every post was acknowledged."""
        return self._writing == 0

    async def run(self, partners: Sequence[str]) -> None:
        """Open channels with `partners`, write in them and bring guests, until `ends`."""
        async with self._connect() as client:
            self._client = client
            me = await client.register(
                self._ask,
                Passport(name="ours"),
                rule=Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=0))),
                handler=self._handle,
            )
            self.agent_id = me.agent_id
            for partner in partners:
                channel = await me.open(type="conversation", target=partner, ttl=0)
                self._channel_ids.append(channel.channel_id)
            self.ready.set()
            async with trio.open_nursery() as nursery:
                for number in range(_WRITERS):
                    self._writing += 1
                    nursery.start_soon(self._write, me, number)
                nursery.start_soon(self._bring_guests, partners)
            self.told.change()
            await trio.sleep_forever()

    def _connect(self) -> HubClient:
        # An answer can take several lives of the hub.
        return HubClient(
            WsLink(self._hub.url),
            reconnect=_SOON,
            request_timeout=_ANSWER_WITHIN_SECONDS,
            open_timeout=_ANSWER_WITHIN_SECONDS,
        )

    async def _ask(self, _turn: object) -> None:
        """Never speak in turn."""

    async def _handle(self, envelope: Envelope, client: AgentClient, _attempt: int) -> None:
        self.told.hear(envelope.channel_id, envelope.envelope_id)
        if envelope.event_type == "ag2.channel.invite":
            await accept_invite(envelope, client)
        if self._rng.random() < 0.02:
            raise RuntimeError("some handlers fail")

    async def _write(self, me: AgentClient, number: int) -> None:
        while not self.ends:
            key = f"ours-{number}-{len(self.posts):07}"
            post = Post(self._rng.choice(self._channel_ids), key, key)
            self.posts.append(post)
            envelope_id = await me.send_envelope(
                Envelope(
                    channel_id=post.channel_id,
                    sender_id=me.agent_id,
                    event_type=NOTE,
                    event_data={"text": post.text},
                    idempotency_key=key,
                )
            )
            self.told.answer(post, envelope_id)
        self._writing -= 1

    async def _bring_guests(self, partners: Sequence[str]) -> None:
        """Register agents and open channels while the hub dies."""
        while not self.ends:
            life = self._hub.life
            name = f"guest-{len(self.guests)}"
            # They leave again: a hub that lives for a moment has no time for hundreds of them.
            async with self._connect() as client:
                guest = await client.register(
                    self._ask, Passport(name=name), handler=self._be_guest
                )
                self.guests[name] = guest.agent_id
                try:
                    channel = await guest.open(
                        type="conversation", target=self._rng.choice(partners), ttl=0
                    )
                    self.opened.append(channel.channel_id)
                except (ConnectionLost, ProtocolError):
                    # Its outcome is unknown; or the hub died between the invite and its answer,
                    # and later closed what nobody had opened.
                    pass
            await self._hub.listening_after(life)

    async def _be_guest(self, envelope: Envelope, client: AgentClient, _attempt: int) -> None:
        if envelope.event_type == "ag2.channel.invite":
            await accept_invite(envelope, client)


@pytest.mark.slow
async def test_what_was_acknowledged_survives_kills_of_a_hub_under_load(
    tmp_path: Path, kills: int, rng: random.Random
) -> None:
    hub = HubProcess(tmp_path, rng)
    speakers = [Speaker(name, hub, rng) for name in ("ann", "ben", "cat", "dan")]
    ours = OurParty(hub, rng)
    try:
        await hub.start()
        async with trio.open_nursery() as nursery:
            for speaker in speakers:
                nursery.start_soon(speaker.run)
            await _open_channels(speakers, ours, nursery)
            for speaker in speakers:
                speaker.reliable = False
            for _ in range(kills):
                await _kill_sometime(hub, speakers, ours, rng)
                await hub.start()
            await _finish(hub, speakers, ours)
            await hub.kill()
            logs = await _read_logs(hub.data, ours)
            await hub.start()
            for party in (ours, *speakers):
                await _until_heard(logs, party)
            await hub.kill()
            nursery.cancel_scope.cancel()
    finally:
        await hub.end()
    for channel_id, log in (await _read_logs(hub.data, ours)).items():
        # Channels that nobody opened in time are closed meanwhile; nothing else has changed.
        before = logs[channel_id].envelopes
        assert log.envelopes[: len(before)] == before
        for party in (ours, *speakers):
            heard = list(party.told.heard.get(channel_id, {}))
            owed = [one.envelope_id for one in log.envelopes if _is_owed(one, log, party)]
            assert heard == owed[: len(heard)], "something was heard that is not in the log"
    print(  # noqa: T201  the figures of a long run (-s)
        f"{kills} kills: {_answer_count(speakers, ours)} posts answered, "
        f"{sum(len(log.envelopes) for log in logs.values())} records in {len(logs)} channels, "
        f"{sum(party.told.deliveries for party in (ours, *speakers))} deliveries"
    )
    for log in logs.values():
        ids = [envelope.envelope_id for envelope in log.envelopes]
        assert ids == sorted(set(ids))
    for party in (ours, *speakers):
        _check_posts(logs, party)


async def _open_channels(
    speakers: Sequence[Speaker], ours: OurParty, nursery: trio.Nursery
) -> None:
    """Let everybody talk in a conversation with the next, in a discussion of all, and with ours."""
    for speaker in speakers:
        while not speaker.agent_id:
            await speaker.told.changes()
    channel_ids: dict[Speaker, list[str]] = {speaker: [] for speaker in speakers}
    for one, other in zip(speakers, [*speakers[1:], speakers[0]], strict=True):
        conversation = await one.open("conversation", other.agent_id)
        channel_ids[one].append(conversation)
        channel_ids[other].append(conversation)
    discussion = await speakers[0].open("discussion", *(one.agent_id for one in speakers[1:]))
    nursery.start_soon(ours.run, ["ann", "cat"])
    await ours.ready.wait()
    for speaker in speakers:
        speaker.speak_in([*channel_ids[speaker], discussion])


async def _kill_sometime(
    hub: HubProcess, speakers: Sequence[Speaker], ours: OurParty, rng: random.Random
) -> None:
    """Kill the hub after a few more answers; sometimes once more while it opens again."""
    enough = _answer_count(speakers, ours) + rng.randrange(80)
    while _answer_count(speakers, ours) < enough:
        async with trio.open_nursery() as nursery:
            for told in (ours.told, *(speaker.told for speaker in speakers)):
                nursery.start_soon(_then_cancel, told.changes, nursery.cancel_scope)
    # Not always in the same moment of an answer's life.
    await trio.sleep(rng.random() * 0.01)
    await hub.kill()
    if rng.random() < 0.2:
        await hub.begin()
        await trio.sleep(rng.random() * 0.8)
        await hub.kill()


async def _then_cancel(wait: object, scope: trio.CancelScope) -> None:
    assert callable(wait)
    await wait()
    scope.cancel()


def _answer_count(speakers: Sequence[Speaker], ours: OurParty) -> int:
    return len(ours.told.answered) + sum(len(speaker.told.answered) for speaker in speakers)


async def _finish(hub: HubProcess, speakers: Sequence[Speaker], ours: OurParty) -> None:
    """Post no more, and wait until all is answered."""
    ours.ends = True
    for speaker in speakers:
        speaker.speak_in(())
        speaker.reliable = True
    with trio.move_on_after(_CATCHES_UP_WITHIN_SECONDS):
        for party in (ours, *speakers):
            while not party.has_all_answers:
                await party.told.changes()
    for party in (ours, *speakers):
        waiting = set(party.posts) - party.told.answered.keys()
        assert party.has_all_answers, f"{party!r} waits for answers to {waiting}"


@attrs.frozen
class _Log:
    """A channel's log and who takes part in it."""

    members: tuple[str, ...]
    envelopes: list[Envelope]


async def _read_logs(data: Path, ours: OurParty) -> dict[str, _Log]:
    """Open the hub here, see that it has nothing to complain of, and return every log."""
    async with Hub.open(DiskKnowledgeStore(data)) as hub:
        logs = {
            metadata.channel_id: _Log(
                metadata.participant_ids, await hub.read_wal(metadata.channel_id)
            )
            for metadata in hub.list_channels(limit=None)
        }
        for name, agent_id in ours.guests.items():
            assert hub.find_agent_id(name) == agent_id
        for channel_id in ours.opened:
            assert hub.get_channel(channel_id).state == ChannelState.ACTIVE
        health = hub.health()
        assert health.problems == health.store.problems == ()
        assert health.ok
    return logs


def _is_owed(envelope: Envelope, log: _Log, party: Speaker | OurParty) -> bool:
    return party.agent_id in log.members and is_addressed_to(envelope, party.agent_id)


async def _until_heard(logs: dict[str, _Log], party: Speaker | OurParty) -> None:
    """Wait until a party has heard all that is addressed to it; then see that the order is right."""
    for channel_id, log in logs.items():
        owed = [one.envelope_id for one in log.envelopes if _is_owed(one, log, party)]
        with trio.move_on_after(_CATCHES_UP_WITHIN_SECONDS):
            while not party.told.heard.get(channel_id, {}).keys() >= set(owed):
                await party.told.changes()
        heard = list(party.told.heard.get(channel_id, {}))
        missing = [one for one in log.envelopes if one.envelope_id in set(owed) - set(heard)]
        assert not missing, (
            f"{party.name} has not heard {len(missing)} of {len(owed)}: {missing[:3]}"
        )
        # A channel that nobody opened in time may have been closed since the logs were read.
        assert heard[: len(owed)] == owed


def _check_posts(logs: dict[str, _Log], party: Speaker | OurParty) -> None:
    """See that each post of a party is in its log once, as it was made, in the order it was made."""
    found = {
        channel_id: [
            one for one in log.envelopes if one.sender_id == party.agent_id and one.idempotency_key
        ]
        for channel_id, log in logs.items()
    }
    assert len(party.told.answered) == len(party.posts)
    for channel_id, envelopes in found.items():
        posts = [post for post in party.posts if post.channel_id == channel_id]
        assert sorted(post.key for post in posts) == sorted(
            one.idempotency_key or "" for one in envelopes
        )
        by_key = {one.idempotency_key: one for one in envelopes}
        for post in posts:
            assert by_key[post.key].envelope_id == party.told.answered[post]
            assert by_key[post.key].text == post.text
        for writer in {_writer(post.key) for post in posts}:
            keys = [one.idempotency_key or "" for one in envelopes]
            own = [key for key in keys if _writer(key) == writer]
            assert own == sorted(own), "posts of one writer changed places"


def _writer(key: str) -> str:
    return key.rpartition("-")[0]
