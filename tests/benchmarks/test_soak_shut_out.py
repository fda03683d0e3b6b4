"""What an agent said while it was shut out is found in the log of its channel."""

from __future__ import annotations

from benchmarks.soak.shut_out import said_between
from trio_hub import Envelope


def _log(*notes: tuple[str, int | None]) -> list[Envelope]:
    return [
        Envelope(
            channel_id="c",
            sender_id=sender,
            event_type="soak.note" if number is not None else "ag2.channel.opened",
            event_data={} if number is None else {"number": number},
            envelope_id=f"{place}",
        )
        for place, (sender, number) in enumerate(notes)
    ]


def test_only_what_stands_between_the_notes_counts() -> None:
    log = _log(
        ("hub", None),
        ("host", 0),
        ("agent", 1000),
        ("host", 5),
        ("host", 6),
        ("host", 9),
        ("agent", 1001),
    )
    assert said_between(log, "agent", 5, 9) == []


def test_it_is_named_by_its_id() -> None:
    log = _log(("host", 5), ("agent", 1000), ("hub", None), ("agent", 1001), ("host", 9))
    assert said_between(log, "agent", 5, 9) == ["1", "3"]
