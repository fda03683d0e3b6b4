"""Views: who is shown what, under which role, and how much of the log that takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from trio_hub.protocol.views import (
    FullTranscript,
    Line,
    View,
    WindowedSummary,
    default_view,
    words_of,
)
from trio_hub.records import EV_CHANNEL_OPENED, EV_PACKET, EV_TEXT, Envelope

NAMES = {"a": "alice", "b": "bob"}


def said(sender_id: str, text: str, **fields: Any) -> Envelope:
    fields = {"event_type": EV_TEXT, "event_data": {"text": text}} | fields
    return Envelope(channel_id="c", sender_id=sender_id, **fields)


def show(view: View, *envelopes: Envelope) -> list[tuple[str, str]]:
    lines = view.project(envelopes, reader_id="b", names=NAMES)
    return [(line.role, line.text) for line in lines]


def test_a_transcript_shows_both_sides() -> None:
    assert show(FullTranscript(), said("a", "hello"), said("b", "hi")) == [
        ("user", "hello"),
        ("assistant", "hi"),
    ]


def test_names_stand_before_what_others_said() -> None:
    talk = [said("a", "hello"), said("b", "hi"), said("x", "me too")]
    expected = [("user", "alice: hello"), ("assistant", "hi"), ("user", "x: me too")]
    assert show(FullTranscript(named=True), *talk) == expected
    assert show(WindowedSummary(named=True), *talk) == expected


def test_nothing_is_shown_of_bookkeeping_silence_and_secrets() -> None:
    assert (
        show(
            FullTranscript(),
            said("a", "", event_type=EV_CHANNEL_OPENED, event_data={"text": "opened"}),
            said("a", ""),
            said("a", "psst", audience=("x",)),
        )
        == []
    )
    assert show(FullTranscript(), said("a", "for you", audience=("b",))) == [("user", "for you")]


def test_a_window_says_that_there_was_more() -> None:
    view = WindowedSummary(2)
    talk = [said("a", "1"), said("b", "2"), said("a", "3")]
    assert show(view, *talk[:2]) == [("user", "1"), ("assistant", "2")]
    (remark, *lines) = show(view, *talk)
    assert remark[0] == "system"
    assert lines == [("assistant", "2"), ("user", "3")]


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="'window' must be >= 1"):
        WindowedSummary(0)


@pytest.mark.parametrize(
    ("event_type", "event_data", "words"),
    [
        (EV_TEXT, {"text": "so"}, "so"),
        (EV_PACKET, {"body": "so"}, "so"),
        (EV_PACKET, {"routing": {"kind": "handoff", "reason": "too hard"}}, "too hard"),
        (EV_PACKET, {"routing": {"kind": "handoff", "reason": 3}}, ""),
        (EV_PACKET, {"body": "so", "routing": {"kind": "handoff", "reason": ""}}, "so"),
        (EV_PACKET, {"body": "so", "routing": {"kind": "handoff", "reason": "do"}}, "so\n\ndo"),
        (EV_PACKET, {"body": "so", "routing": {"kind": "finish", "reason": "done"}}, "so"),
        (EV_PACKET, {"routing": {"kind": "finish", "reason": "done"}}, "done"),
        (EV_TEXT, {"routing": {"reason": "no packet"}}, ""),
    ],
)
def test_the_words_of_an_envelope(event_type: str, event_data: dict[str, Any], words: str) -> None:
    assert words_of(said("a", "", event_type=event_type, event_data=event_data)) == words


def test_by_default_a_window_with_names_for_more_than_two() -> None:
    assert default_view(2) == WindowedSummary(50)
    assert default_view(3) == WindowedSummary(50, named=True)


@given(st.lists(st.sampled_from("abx"), max_size=30), st.integers(1, 10), st.booleans())
def test_a_window_of_what_it_wants_is_a_window_of_everything(
    senders: list[str], window: int, named: bool
) -> None:
    """Whoever reads only the last `wanted` sees the same, which is the end of the transcript."""
    talk = [said(sender, str(number)) for number, sender in enumerate(senders)]
    view = WindowedSummary(window, named=named)
    assert view.wanted is not None
    assert FullTranscript().wanted is None
    shown = view.project(talk, reader_id="b", names=NAMES)
    assert shown == view.project(talk[-view.wanted :], reader_id="b", names=NAMES)
    everything = FullTranscript(named=named).project(talk, reader_id="b", names=NAMES)
    remark = [line for line in shown if line.role == "system"]
    assert [line for line in shown if line not in remark] == everything[-window:]
    assert len(remark) == (len(talk) > window)
    assert all(isinstance(line, Line) for line in shown)
