"""
Constants that are named as bounds and that nobody outside meets, each with why that is so.

Whoever adds one writes it down here, or makes it a row of the reference: a public name with a unit
and a comment (``#:``) above it, in a module that `docs/reference/limits.md` lists, and a case.
"""

from __future__ import annotations

__all__ = ["INTERNAL", "KITS"]

#: What is for tests only: bounds of what a test run shows and waits for.
KITS = ("testing.",)

INTERNAL = {
    # How much is done before others get their turn, or in one go: it changes nothing but the pace.
    "client.deliveries._IN_A_ROW_MAX": "others get their turn",
    "hub.committer._BATCH_CHANGES_MAX": "what is more is committed next",
    "hub.dispatcher._FETCHES_MAX": "a record that no disk gives is a dead letter",
    "hub.dispatcher._MAILBOXES_IN_A_ROW_MAX": "others get their turn",
    "hub.expectations._UNDER_WAY_MAX": "what is more is written next",
    "hub.snapshots._IN_A_ROW_MAX": "others get their turn",
    "links._sansio_stream._IN_A_ROW_MAX": "others get their turn",
    "links._tls._RECORD_BYTES_MAX": "what is more is read next",
    "links._tcp._WRITE_IN_A_ROW_BYTES_MAX": "others get their turn",
    "links.endpoint._SEND_BYTES_MAX": "what is more is sent next",
    "links.local._MESSAGES_MAX": "stands for a socket's buffer; whoever sends waits",
    "stores._group_commit.GROUP_CHANGES_MAX": "what is more is committed next",
    "cli.chat.talk._CHANGES_MAX": "remarks about the connection; whoever tells waits",
    # What is remembered to save work: what was forgotten is worked out or asked for again.
    "client.deliveries._CHANNELS_MAX": "idle channels; at worst an envelope is delivered again",
    "client.name_cache._ENTRIES_MAX": "names are asked for again",
    "hub.shared_rules._DURATION_CHARACTERS_MAX": "longer ones are not shared among agents",
    "hub.tails._SPANS_MAX": "logs are read again",
    "protocol.globs._LISTS_BYTES_MAX": "patterns are compiled again",
    "protocol.globs._NAMES_MAX": "names are matched again",
    "protocol.globs._NAME_CHARACTERS_MAX": "longer names are matched again",
    "protocol.posted._REMEMBERED_BYTES_MAX": "digests of longer keys are worked out again",
    "protocol.posted._REMEMBERED_MAX": "digests are worked out again",
    "protocol.tail_span.POSITIONS_MAX": "logs are read again",
    "stores._plan.PATHS_REMEMBERED_MAX": "paths are looked up again",
    # How long the program itself pauses, or waits at its end.
    "cli.chat.terminal._LEAVE_SECONDS_MAX": "how long a hung terminal delays the end",
    "client.hub_client._CLOSE_SECONDS_MAX": "how long a hub that does not answer delays the end",
    "client.keeper._FAREWELL_SECONDS_MAX": "how long a hub that does not answer delays the end",
    "hub.retirement._OWING_SECONDS_MAX": "when what could not be retired is looked at again",
    "hub.retirement._OWING_SECONDS_MIN": "when what could not be retired is looked at again",
    "hub.trimming._LATE_SECONDS_MAX": "how late a log may be trimmed",
    "hub.trimming._LATE_SECONDS_MIN": "how late a log may be trimmed",
    # How exactly a figure is known, and how much of an error is quoted.
    "hub.backlog._READS_MAX": "the oldest envelope is found in a later survey",
    "hub.backlog._READ_SECONDS_MAX": "the oldest envelope is found in a later survey",
    "_logging._FIELD_CHARACTERS_MAX": "of a field in a log line",
    "hub.connection._LOGGED_MAX": "of an id in a log line",
    "links._sansio_stream._REASON_BYTES_MAX": "of a reason in a close frame: RFC 6455's",
    "links._websockets._BODY_CHARACTERS_MAX": "of an HTTP answer in an error",
    "protocol.skill._PROBLEM_CHARACTERS_MAX": "of an error of the YAML library",
    # What can be reached by no number that means anything.
    "client.deliveries._TTL_SECONDS_MAX": "thirty million years",
    "protocol.expiry._TTL_SECONDS_MAX": "thirty million years",
    "protocol.backoff._DOUBLINGS_MAX": "a power of two beyond any wait",
    # Parts of another bound, or of how it is reckoned.
    "links.endpoint._UTF8_BYTES_PER_CHARACTER_MAX": "of UTF-8",
    "hub.timers._CANCELLED_MAX": "cancelled timers that are not swept yet",
    "protocol.alarms._STALE_MAX": "beside as many as there are alarms",
    "protocol.latency_sketch._BUCKET_MAX": "the number of the last bucket; see BUCKETS_MAX",
    "cli.demo.lines._LINE_BYTES_MAX": "between the demo and its own processes",
}
