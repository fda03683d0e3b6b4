"""What is taken past the library is what the library would have taken, however it was cut."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from trio_hub.links._whole_texts import WholeTexts

CONT, TEXT, BINARY, PING, CLOSE = 0, 1, 2, 9, 8


def frame(opcode: int, payload: bytes, *, final: bool = True, masked: bool = True) -> bytes:
    return Frame(Opcode(opcode), payload, final).serialize(mask=masked)


def by_library(data: bytes, side: Side) -> list[Frame]:
    protocol = Protocol(side)
    protocol.receive_data(data)
    return [event for event in protocol.events_received() if isinstance(event, Frame)]


def split(pieces: list[bytes], side: Side) -> tuple[list[Frame], int]:
    """Return what comes of it in order, as frames, and how many went past the library."""
    protocol = Protocol(side)
    texts = WholeTexts(masked=side is Side.SERVER)
    frames: list[Frame] = []
    past = 0
    for data in pieces:
        for piece in texts.split(data):
            if isinstance(piece, str):
                if protocol.close_rcvd is None and protocol.parser_exc is None:
                    past += 1
                    frames.append(Frame(Opcode.TEXT, piece.encode()))
            else:
                protocol.receive_data(piece)
                frames += [it for it in protocol.events_received() if isinstance(it, Frame)]
    return frames, past


def told(frames: list[Frame]) -> list[tuple[Opcode, bytes, bool]]:
    return [(it.opcode, bytes(it.data), it.fin) for it in frames]


SIZES = st.sampled_from([0, 1, 5, 125, 126, 300, 65535, 65536])
FRAMES = st.builds(
    lambda opcode, size, final, masked: frame(
        opcode,
        b"x" * (min(size, 125) if opcode >= CLOSE else size),
        final=final or opcode >= CLOSE,
        masked=masked,
    ),
    st.sampled_from([TEXT, TEXT, TEXT, TEXT, BINARY, CONT, PING]),
    SIZES,
    st.sampled_from([True, True, True, False]),
    st.sampled_from([True] * 9 + [False]),
)


@given(st.lists(FRAMES, max_size=8), st.data())
def test_the_library_and_we_read_the_same(frames: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    taken, _ = split(pieces, Side.SERVER)
    assert told(taken) == told(by_library(whole, Side.SERVER))


@pytest.mark.parametrize("side", [Side.SERVER, Side.CLIENT])
@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 125, 126, 65535, 65536])
def test_a_whole_text_goes_past_the_library(side: Side, size: int) -> None:
    texts = [letter * size for letter in (b"a", b"b", b"c")]
    whole = b"".join(frame(TEXT, text, masked=side is Side.SERVER) for text in texts)
    taken, past = split([whole], side)
    assert past == len(texts)
    assert [it.data for it in taken] == texts


def test_what_comes_a_byte_at_a_time_is_read() -> None:
    whole = frame(TEXT, b"one") + frame(PING, b"?") + frame(TEXT, b"x" * 200)
    taken, _ = split([bytes([byte]) for byte in whole], Side.SERVER)
    assert told(taken) == told(by_library(whole, Side.SERVER))


@pytest.mark.parametrize(
    "spoilt",
    [
        frame(TEXT, b"in clear", masked=False),
        frame(TEXT, b"\xff"),
        bytes([frame(TEXT, b"x")[0] | 0x40]) + frame(TEXT, b"x")[1:],
        frame(CONT, b"of nothing"),
    ],
    ids=["not-masked", "not-utf8", "reserved-bit", "no-beginning"],
)
def test_what_is_wrong_is_for_the_library_to_judge(spoilt: bytes) -> None:
    pieces = list(WholeTexts(masked=True).split(frame(TEXT, b"one") + spoilt))
    assert pieces == ["one", spoilt]


def test_a_text_in_the_middle_of_a_message_is_for_the_library_to_judge() -> None:
    begun = frame(BINARY, b"a", final=False)
    pieces = list(WholeTexts(masked=True).split(begun + frame(PING, b"") + frame(TEXT, b"b")))
    assert all(isinstance(piece, bytes) for piece in pieces)
