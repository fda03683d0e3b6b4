"""Whoever reads logs gets along with those that do not begin at 0."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from trio_hub import Envelope, Hub, HubLimits, MemoryKnowledgeStore, Passport, RecordsTrimmed
from trio_hub.client import AgentClient, HubClient
from trio_hub.errors import ProtocolError
from trio_hub.hub import paths
from trio_hub.hub.log_reader import LogReader
from trio_hub.links import LocalLink
from trio_hub.records import EV_TEXT
from trio_hub.stores import Delete, Trim

_LIMITS = HubLimits(snapshot_records=20, page_records_max=16, cursor_flush_seconds=0.1)
_POSTS = 100
_FIRST = 80
# The invite and its answer come first, wherever bob is when it comes.
_LEAD = 2


class Talk:
    """A conversation of two, whose log a test trims while no hub is open."""

    def __init__(self, store: MemoryKnowledgeStore) -> None:
        self.store = store
        self.ids: list[str] = []
        self.envelope_ids: list[str] = []
        self.channel_id = ""

    async def begin(self, hub: Hub) -> None:
        self.ids = [
            (await hub.register(Passport(name=name))).agent_id or "" for name in ("alice", "bob")
        ]
        metadata = await hub.create_channel(
            creator_id=self.ids[0],
            manifest_type="conversation",
            participants=[self.ids[1]],
            required_acks=0,
            ttl=0,
        )
        self.channel_id = metadata.channel_id

    def post(self, number: int, *, cause: str | None = None) -> Envelope:
        return Envelope(
            channel_id=self.channel_id,
            sender_id=self.ids[0],
            event_type=EV_TEXT,
            event_data={"text": str(number)},
            idempotency_key=str(number),
            causation_id=cause,
        )

    async def trim(self, first: int) -> None:
        async with self.store:
            await self.store.commit([Trim(paths.channel_log(self.channel_id), first)])


async def _never(_turn: object) -> None:
    """Never speak."""


async def _heard(hub: Hub, talk: Talk, until: int) -> list[str | None]:
    """Let bob hear what he is owed, up to a number."""
    keys: list[str | None] = []
    done = trio.Event()

    async def hear(envelope: Envelope, _client: AgentClient, _attempt: int) -> None:
        keys.append(envelope.idempotency_key)
        if envelope.idempotency_key == str(until):
            done.set()

    async with HubClient(LocalLink(hub)) as client:
        await client.attach(_never, "bob", handler=hear)
        await done.wait()
        await trio.sleep(1)
    return keys


async def _talk_of_long_ago(*, settled: bool = True) -> Talk:
    talk = Talk(MemoryKnowledgeStore())
    async with Hub.open(talk.store, limits=_LIMITS) as hub:
        await talk.begin(hub)
        for number in range(_POSTS):
            talk.envelope_ids.append(
                await hub.post_envelope(talk.post(number, cause=f"{number:032x}"))
            )
        if settled:
            await _heard(hub, talk, _POSTS - 1)
    await talk.trim(_FIRST)
    return talk


async def test_reading_begins_where_the_log_does(autojump_clock: MockClock) -> None:
    talk = await _talk_of_long_ago()
    async with Hub.open(talk.store, limits=_LIMITS) as hub:
        whole = await hub.read_records(talk.channel_id, 0, None)
        assert [record.position for record in whole] == list(range(_FIRST, _POSTS + _LEAD))
        assert await hub.read_records(talk.channel_id, 3, _FIRST) == []
        some = await hub.read_records(talk.channel_id, _FIRST - 5, _FIRST + 2)
        assert [record.position for record in some] == [_FIRST, _FIRST + 1]
        assert await hub.find_record(talk.channel_id, talk.envelope_ids[_FIRST - _LEAD - 1]) is None
        kept = await hub.find_record(talk.channel_id, talk.envelope_ids[_FIRST - _LEAD])
        assert kept is not None
        assert kept.position == _FIRST
        assert hub.health().problems == ()


@pytest.mark.parametrize("reader", [None, "bob"])
async def test_pages_from_the_end_end_where_the_log_begins(
    autojump_clock: MockClock, reader: str | None
) -> None:
    talk = await _talk_of_long_ago()
    async with Hub.open(talk.store, limits=_LIMITS) as hub:
        for _ in range(2):
            found, before = [], None
            while before != 0:
                before, page = await hub.read_tail_records(
                    talk.channel_id,
                    3,
                    before=before,
                    wanted=lambda record: record.position % 2 == 0,
                    reader=reader,
                )
                found[:0] = [record.position for record in page]
            assert found == list(range(_FIRST, _POSTS + _LEAD, 2))
        assert await hub.read_tail_records(talk.channel_id, 3, before=_FIRST - 1) == (0, [])


async def test_channel_goes_on_and_knows_its_keys(autojump_clock: MockClock) -> None:
    talk = await _talk_of_long_ago()
    for life in range(2):
        async with Hub.open(talk.store, limits=_LIMITS) as hub:
            for number in (0, _FIRST, _POSTS - 1):
                again = talk.post(number, cause=f"{number:032x}")
                assert await hub.post_envelope(again) == talk.envelope_ids[number]
            with pytest.raises(ProtocolError, match="other content"):
                await hub.post_envelope(talk.post(7))
            await hub.post_envelope(talk.post(_POSTS + life))
            assert await _heard(hub, talk, _POSTS + life) == [str(_POSTS + life)]


async def test_what_was_posted_because_of_something_and_trimmed_is_named(
    autojump_clock: MockClock,
) -> None:
    talk = await _talk_of_long_ago()
    async with Hub.open(talk.store, limits=_LIMITS) as hub:

        async def find(number: int) -> Envelope | None:
            return await hub.find_envelope_by_causation(
                talk.channel_id, sender_id=talk.ids[0], causation_id=f"{number:032x}"
            )

        found = await find(_POSTS - 1)
        assert found is not None
        assert found.envelope_id == talk.envelope_ids[-1]
        assert await find(_POSTS) is None
        with pytest.raises(RecordsTrimmed, match="begins at 80") as caught:
            await find(3)
        assert caught.value.first == _FIRST


async def test_what_was_trimmed_is_owed_to_nobody(autojump_clock: MockClock) -> None:
    """Cursors are written behind, so one that was lost may be behind the beginning."""
    talk = await _talk_of_long_ago(settled=False)
    async with Hub.open(talk.store, limits=_LIMITS) as hub:
        assert await _heard(hub, talk, _POSTS - 1) == [
            str(number) for number in range(_FIRST - _LEAD, _POSTS)
        ]
        assert hub.owed_to(talk.ids[1]) == 0


@pytest.mark.parametrize("spoil", ["gone", "damaged"])
async def test_without_its_snapshot_a_trimmed_channel_is_set_aside_and_says_why(
    autojump_clock: MockClock, spoil: str
) -> None:
    talk = await _talk_of_long_ago(settled=False)
    path = paths.snapshot(talk.channel_id)
    async with talk.store:
        if spoil == "gone":
            await talk.store.commit([Delete(path)])
        else:
            await talk.store.write(path, b"no snapshot")
    async with Hub.open(talk.store, limits=_LIMITS) as hub:
        with pytest.raises(ProtocolError, match="begins at 80, and no snapshot"):
            await hub.post_envelope(talk.post(_POSTS))
        (problem,) = hub.health().problems
        assert talk.channel_id in problem
        assert "begins at 80" in problem
        # What is there is read and delivered all the same, in its place.
        whole = await hub.read_records(talk.channel_id, 0, None)
        assert [record.position for record in whole] == list(range(_FIRST, _POSTS + _LEAD))
        assert len(await _heard(hub, talk, _POSTS - 1)) == _POSTS - _FIRST + _LEAD


async def test_log_reader_gets_along_with_a_trim_that_it_has_not_heard_of(
    autojump_clock: MockClock,
) -> None:
    talk = await _talk_of_long_ago()
    async with talk.store as store:
        reader = LogReader(store, 16, lambda _channel_id: True)
        channel_id, end = talk.channel_id, _POSTS + _LEAD
        assert await reader.first(channel_id) == _FIRST
        records = await reader.read(channel_id, 0, end)
        assert [record.position for record in records] == list(range(_FIRST, end))
        assert await reader.read(channel_id, 0, _FIRST) == []
        assert await reader.position_of(channel_id, 0, end, talk.envelope_ids[-1]) == end - 1
        assert await reader.position_of(channel_id, 0, end, talk.envelope_ids[5]) is None
        assert await reader.readable_length(channel_id) == end
