"""Every record has its line in the archive, also one that cannot be read."""

from __future__ import annotations

import json

from trio_hub.hub.archive_lines import retired_line, trimmed_line
from trio_hub.hub.log_record import LogRecord, write_records
from trio_hub.records import EV_TEXT, Envelope

SAID = Envelope(
    channel_id="c",
    sender_id="a",
    audience=None,
    event_type=EV_TEXT,
    event_data={"text": "hello"},
    envelope_id="e7",
)


def test_an_envelope_is_archived_as_it_stood_in_the_log() -> None:
    [record] = write_records([SAID], 7, 10_000)
    assert retired_line(record) == record.raw
    envelope_id, line = trimmed_line(record)
    assert envelope_id == "e7"
    assert json.loads(line) == {"position": 7, "envelope": json.loads(record.raw)}
    assert record.raw in line


def test_what_cannot_be_read_is_said_to_have_been_there() -> None:
    record = LogRecord(7, None, b"")
    expected = {"position": 7, "unreadable": True}
    assert json.loads(retired_line(record)) == expected
    envelope_id, line = trimmed_line(record)
    assert (envelope_id, json.loads(line)) == ("", expected)
