"""Finding envelopes in a log: the right ones, in few reads, past what is damaged."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from trio_hub import Envelope, MemoryKnowledgeStore
from trio_hub.errors import DamagedRecord
from trio_hub.hub import paths
from trio_hub.hub.log_reader import BYTES_AT_ONCE, LogReader
from trio_hub.hub.log_record import write_records
from trio_hub.stores import Append

CHANNEL = "c" * 32
#: Reads after the search: what is left, around two holes.
LAST_READS = 4


class Holes(MemoryKnowledgeStore):
    """Counts reads; some of the records are damaged."""

    def __init__(self, holes: set[int]) -> None:
        super().__init__()
        self._holes = holes
        self.reads = 0

    async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
        self.reads += 1
        records = await super().read_range(path, start, stop)
        for position in range(start, start + len(records)):
            if position in self._holes:
                raise DamagedRecord("hole", path=path, position=position)
        return records


async def found(length: int, first: int, wanted: int, holes: set[int]) -> tuple[int | None, int]:
    """Look for the id of a position, and return where it was found, and the number of reads."""
    envelopes = [
        Envelope(
            channel_id=CHANNEL, sender_id="a", event_type="t", event_data={}, envelope_id=id_of(it)
        )
        for it in range(length)
    ]
    path = paths.channel_log(CHANNEL)
    async with Holes(holes) as store:
        await store.commit([Append(path, it.raw) for it in write_records(envelopes, 0, 10_000)])
        reader = LogReader(store, 128, lambda _channel_id: True)
        return await reader.position_of(CHANNEL, first, length, id_of(wanted)), store.reads


def id_of(position: int) -> str:
    return f"{2 * position + 1:032x}"


class Pages(MemoryKnowledgeStore):
    """Says how large what was read at once has been."""

    largest = 0

    async def read_page(self, path: str, start: int, stop: int, bytes_max: int) -> list[bytes]:
        page = await super().read_page(path, start, stop, bytes_max)
        self.largest = max(self.largest, sum(map(len, page)))
        return page


async def test_of_a_log_of_large_records_little_is_in_memory_at_once() -> None:
    size = BYTES_AT_ONCE // 3
    envelopes = [
        Envelope(
            channel_id=CHANNEL,
            sender_id="a",
            event_type="t",
            event_data={"text": "x" * size},
            envelope_id=id_of(it),
        )
        for it in range(50)
    ]
    path = paths.channel_log(CHANNEL)
    async with Pages() as store:
        records = write_records(envelopes, 0, 2 * size)
        await store.commit([Append(path, it.raw) for it in records])
        reader = LogReader(store, 128, lambda _channel_id: True)
        found = await reader.read(CHANNEL, 0, 50)
        assert [it.raw for it in found] == [it.raw for it in records]
        assert await reader.readable_length(CHANNEL) == 50
        assert await reader.position_of(CHANNEL, 0, 50, id_of(30)) == 30
        # So much, and one more.
        assert BYTES_AT_ONCE <= store.largest < BYTES_AT_ONCE + len(records[0].raw)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 34, 127, 200])
async def test_every_envelope_is_found_and_nothing_else(length: int) -> None:
    for wanted in range(-1, length + 1):
        position, reads = await found(length, 0, wanted, set())
        assert position == (wanted if 0 <= wanted < length else None)
        assert reads <= max(0, math.ceil(math.log2(max(length, 1) / 16))) + 1


@given(data=st.data())
async def test_holes_hide_nothing_but_what_was_in_them(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 120), label="length")
    first = data.draw(st.integers(0, length - 1), label="first")
    wanted = data.draw(st.integers(first, length - 1), label="wanted")
    holes = data.draw(st.sets(st.integers(0, length - 1), max_size=3), label="holes")
    position, _ = await found(length, first, wanted, holes)
    assert position == (None if wanted in holes else wanted)


async def test_what_stands_near_the_beginning_of_the_search_is_found_in_one_read() -> None:
    assert await found(130, 100, 110, set()) == (110, 1)
