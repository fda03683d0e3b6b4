"""
Parse it or answer one typed error, never another exception: the decoder, many times.

The mass is here, because it is quick: 100,000 messages in every run, as many as you like with
``python -m tests.fuzz.run``. What a fuzzer has found stands in the tests of the module that was
mended.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings, strategies as st

from trio_hub.wire import codec
from trio_hub.wire.codec import decode_message
from trio_hub.wire.frames import Dialect

from ..strategies import frames, messages
from .invariant import check
from .mutator import mutated
from .run import fuzz
from .seeds import SEEDS

PARTS = 10
INPUTS = 100_000


@pytest.mark.parametrize("part", range(PARTS))
def test_a_hundred_thousand_spoilt_messages(part: int) -> None:
    report = fuzz(INPUTS // PARTS, seed=1_000 + part)
    assert report["findings"] == {}


@given(messages)
@settings(max_examples=300)
def test_any_message(message: str | bytes) -> None:
    check(message)


@given(frames, st.data())
@settings(max_examples=200)
def test_any_frame_with_a_piece_cut_out(frame: codec.Frame, data: st.DataObject) -> None:
    text = codec.encode_frame(frame, Dialect.BATCHED).decode()
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, len(text)))
    check(text[:start] + text[stop:])


@given(st.lists(messages.filter(lambda it: isinstance(it, str)), max_size=4))
@settings(max_examples=200)
def test_a_neighbour_in_the_same_message_is_not_harmed(parts: list[str]) -> None:
    alone = [frame for part in parts for frame in decode_message(part, Dialect.BATCHED)]
    together = decode_message("\n".join(parts), Dialect.BATCHED)
    assert list(map(repr, together)) == list(map(repr, alone))


def test_the_seeds_are_good_and_their_messages_many() -> None:
    for seed in SEEDS:
        assert check(seed) > 0
    rng = random.Random(1)
    spoilt = {mutated(rng) for _ in range(5_000)}
    assert len(spoilt) > 4_500
    # Some get through, most do not: both sides of the border are visited.
    good = sum(1 for message in spoilt if check(message))
    assert len(spoilt) // 20 < good < len(spoilt) // 2


def test_the_same_seed_is_the_same_run() -> None:
    one, other = random.Random(7), random.Random(7)
    assert [mutated(one) for _ in range(200)] == [mutated(other) for _ in range(200)]


def test_a_decoder_that_raises_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(text: str) -> codec.Frame:
        return codec.ErrorFrame(code="c", message=text[text.index("kind") :])

    monkeypatch.setattr(codec, "_decode_frame", careless)
    report = fuzz(1_000, seed=1)
    assert any(name.startswith("ValueError") for name in dict(report["findings"]))  # type: ignore[call-overload]
