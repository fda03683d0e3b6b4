"""What is parked while a binding wants no replay."""

from __future__ import annotations

from trio_hub.protocol.inbox import CursorSnapshot, Victim

from .inboxes import Logs, parked


def test_a_binding_that_wants_no_replay_hears_only_of_what_is_posted_from_now_on() -> None:
    logs = Logs(attached=False)
    logs.grow("A", "xx")
    logs.grow("B", "x")
    logs.inbox.attach(replays=False)
    assert logs.sent() == []
    logs.grow("A", "x")
    assert logs.sent() == ["A2"]
    assert logs.inbox.owed == 4
    assert logs.inbox.owed_in("A") == 3


def test_what_a_binding_did_not_want_to_hear_of_is_delivered_in_the_next() -> None:
    logs = Logs(attached=False)
    logs.grow("A", "x.x")
    logs.inbox.attach(replays=False)
    logs.grow("A", "xx")
    assert logs.sent() == ["A3", "A4"]
    logs.ack("A3")
    assert logs.inbox.snapshot("A") == CursorSnapshot("A", 0, ((3, 4),))
    logs.inbox.attach()
    assert logs.inbox.owed == 3
    assert logs.sent() == ["A0", "A2", "A4"]
    logs.ack("A0", "A2", "A4")
    assert logs.inbox.snapshot("A") == CursorSnapshot("A", 5, ())
    assert logs.inbox.owed == 0


def test_a_cursor_written_behind_never_passes_what_a_binding_did_not_hear_of() -> None:
    logs = Logs(attached=False)
    logs.grow("A", "x")
    logs.inbox.attach(replays=False)
    logs.inbox.dirty()
    logs.grow("A", "x")
    logs.sent()
    logs.ack("A1")
    assert logs.inbox.dirty() == [CursorSnapshot("A", 0, ((1, 2),))]
    logs.inbox.forget("A")
    assert logs.inbox.owed == 0


def test_a_channel_that_is_restored_to_a_binding_without_replay_begins_at_its_end() -> None:
    logs = Logs(attached=False)
    logs.inbox.attach(replays=False)
    logs.records["a"] = "xx"
    logs.inbox.restore("a", length=2)
    logs.grow("a", "x")
    assert logs.sent() == ["a2"]
    assert logs.inbox.owed == 3


def test_owing_names_the_oldest_of_each_channel_that_owes_any() -> None:
    logs = parked()
    logs.grow("b", ".x")
    logs.grow("c", "x")
    logs.grow("d", ".")
    assert logs.sent() == ["b1", "c0"]
    # Of what a binding without replay did not want to hear of, nobody has read the ids.
    assert logs.inbox.owing() == [Victim("a", 0, None), Victim("b", 1, "b1"), Victim("c", 0, "c0")]
    logs.ack("a0", "a1", "a2", "c0")
    assert logs.inbox.owing() == [Victim("a", 3, "a3"), Victim("b", 1, "b1")]


def test_channel_with_something_parked_is_not_settled() -> None:
    logs = parked()
    logs.ack("a3")
    assert not logs.inbox.is_settled("a")
    logs.ack("a0", "a1", "a2")
    assert logs.inbox.is_settled("a")
