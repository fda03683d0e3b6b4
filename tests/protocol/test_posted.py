"""What was posted under which key, however long ago: against a dictionary, over many pages."""

from __future__ import annotations

import random
from unittest import mock

import attrs
import pytest

from trio_hub.errors import ProtocolError
from trio_hub.protocol import posted, posted_pages
from trio_hub.protocol.posted import PostedIndex

from .channels import ALICE, BOB, text
from .held import bytes_held_after


def test_every_key_and_cause_is_found_and_nothing_else() -> None:
    rng = random.Random(7)
    index = PostedIndex()
    ids: dict[tuple[str, str], str] = {}
    causes: dict[tuple[str, str], int] = {}
    with (
        mock.patch.object(posted, "PAGE_ENTRIES", 64),
        mock.patch.object(posted_pages, "_SMALLEST_ROW", 128),
    ):
        for position in range(3000):
            sender = rng.choice((ALICE, BOB))
            key = rng.choice((None, str(rng.randrange(2000))))
            cause = rng.choice((None, str(rng.randrange(2000))))
            one = text(
                sender, envelope_id=f"{position:032x}", idempotency_key=key, causation_id=cause
            )
            index.add(one)
            if key is not None:
                ids.setdefault((sender, key), one.envelope_id)
            if cause is not None:
                causes.setdefault((sender, cause), position)
    assert len(index.pages) > 20
    assert sum(map(len, index.pages)) + len(index.rest()) == len(ids) + len(causes)
    for number in range(3000):
        for sender in (ALICE, BOB):
            name = str(number)
            assert index.id_by_key([sender], name) == ids.get((sender, name))
            assert index.position_by_cause(sender, name) == causes.get((sender, name))


def test_other_content_is_refused_from_a_page_as_well() -> None:
    index = PostedIndex()
    with mock.patch.object(posted, "PAGE_ENTRIES", 1):
        first = text(ALICE, "this", envelope_id=f"{1:032x}", idempotency_key="k")
        index.add(first)
    assert len(index.pages) == 1
    assert index.duplicate_of(first) == first.envelope_id
    assert index.duplicate_of(attrs.evolve(first, sender_id=BOB)) is None
    with pytest.raises(ProtocolError, match="used for other content"):
        index.duplicate_of(text(ALICE, "that", idempotency_key="k"))


def test_an_index_that_was_kept_finds_what_it_found_before() -> None:
    index = PostedIndex()
    posts = [text(ALICE, envelope_id=f"{n:032x}", idempotency_key=str(n)) for n in range(1, 6)]
    with mock.patch.object(posted, "PAGE_ENTRIES", 2):
        for one in posts:
            index.add(one)
    assert len(index.pages) == 2
    again = PostedIndex()
    for page in index.pages:
        again.restore(page)
    again.restore_rest(index.rest())
    assert again.length == index.length
    assert [again.duplicate_of(one) for one in posts] == [one.envelope_id for one in posts]
    for out_of_turn in (again.restore, again.restore_rest):
        with pytest.raises(ValueError, match="do not follow 5"):
            out_of_turn(index.pages[0])


def test_sender_and_key_do_not_run_into_each_other() -> None:
    index = PostedIndex()
    index.add(text("a", envelope_id=f"{1:032x}", idempotency_key="bc"))
    assert not index.knows_key_of(text("ab", idempotency_key="c"))
    assert not index.knows_key_of(text("", idempotency_key="abc"))
    # Not even where JSON lets through what is no text.
    assert not index.knows_key_of(text("a", idempotency_key="\ud800"))


def test_a_key_of_any_length_is_found_and_is_not_kept_in_memory() -> None:
    index = PostedIndex()
    index.add(text(ALICE, envelope_id=f"{1:032x}", idempotency_key="k" * 10_000, causation_id="c"))
    assert index.id_by_key([ALICE], "k" * 10_000) == f"{1:032x}"
    assert index.id_by_key([ALICE], "k" * 10_001) is None

    def look() -> None:
        for number in range(100):
            long = f"{number}" * 50_000
            assert index.id_by_key([ALICE], long) is None
            assert index.position_by_cause(long, "c") is None

    # Together the names have 20 million characters.
    assert bytes_held_after(look) < 100_000
