"""Each checker passes a run that kept its promise, and names the ids of one that did not."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import trio

from trio_hub import Envelope, Hub, LocalLink, MemoryKnowledgeStore, Passport
from trio_hub.client import HubClient, ScriptedAgent, accept_invite
from trio_hub.records import EV_TEXT
from trio_hub.testing import checkers as c
from trio_hub.testing.trace import (
    CursorWritten,
    DeadLettered,
    Delivered,
    Expired,
    Handled,
    Logged,
    Nacked,
    PositionLost,
    PostAcked,
    Posted,
    PostFailed,
    Recorder,
    StoreCopied,
    StoreRestored,
    Trace,
    TraceEvent,
    content_of,
)

FIRST, SECOND = "e1", "e2"
KEYS = {FIRST: "k1", SECOND: "k2"}
CONTENTS = {FIRST: "text hello", SECOND: "text goodbye"}


def posted(what: str) -> Posted:
    return Posted(
        at=0.0,
        key=KEYS[what],
        channel_id="ch",
        sender_id="alice",
        recipients=("bob",),
        content=CONTENTS[what],
    )


def acked(what: str) -> PostAcked:
    return PostAcked(at=1.0, key=KEYS[what], channel_id="ch", envelope_id=what)


def delivered(what: str, attempt: int = 1, life: int = 0) -> Delivered:
    return Delivered(
        at=2.0,
        agent_id="bob",
        channel_id="ch",
        envelope_id=what,
        attempt=attempt,
        sender_id="alice",
        content=CONTENTS[what],
        life=life,
    )


def handled(what: str, life: int = 0) -> Handled:
    return Handled(at=3.0, agent_id="bob", channel_id="ch", envelope_id=what, life=life)


def nacked(what: str) -> Nacked:
    return Nacked(at=3.0, agent_id="bob", channel_id="ch", envelope_id=what)


def cursor(position: int, *settled: tuple[int, int]) -> CursorWritten:
    return CursorWritten(at=4.0, agent_id="bob", channel_id="ch", cursor=position, settled=settled)


def expired(what: str) -> Expired:
    return Expired(at=3.0, agent_id="bob", channel_id="ch", envelope_id=what)


def logged(what: str, position: int, cause: str | None = None) -> Logged:
    return Logged(
        at=9.0,
        channel_id="ch",
        position=position,
        envelope_id=what,
        sender_id="alice",
        recipients=("bob",),
        content=CONTENTS[what],
        key=KEYS[what],
        causation_id=cause,
    )


def good_run() -> list[TraceEvent]:
    """A run in which the first envelope needed two attempts, and all went well in the end."""
    return [
        posted(FIRST),
        acked(FIRST),
        posted(SECOND),
        delivered(FIRST),
        nacked(FIRST),
        acked(SECOND),
        delivered(FIRST, 2),
        handled(FIRST),
        cursor(1),
        delivered(SECOND),
        handled(SECOND),
        cursor(2),
        delivered(SECOND, 1, life=1),
        handled(SECOND, life=1),
        logged(FIRST, 0),
        logged(SECOND, 1),
    ]


def without(events: list[TraceEvent], *gone: TraceEvent) -> list[TraceEvent]:
    assert all(event in events for event in gone)
    return [event for event in events if event not in gone]


@pytest.mark.parametrize("checker", c.CHECKERS, ids=lambda checker: checker.__name__)
def test_run_that_kept_its_promises_passes(checker: c.Checker) -> None:
    assert checker(Trace(good_run())) == []
    assert checker(Trace()) == []


def lost(events: list[TraceEvent]) -> list[TraceEvent]:
    return without(events, logged(SECOND, 1))


def altered(events: list[TraceEvent]) -> list[TraceEvent]:
    other = attrs.evolve(logged(SECOND, 1), content="text goodbye?")
    return [*without(events, logged(SECOND, 1)), other]


def posted_twice(events: list[TraceEvent]) -> list[TraceEvent]:
    return [*events, attrs.evolve(logged(FIRST, 2), envelope_id="e3")]


def acked_as_two(events: list[TraceEvent]) -> list[TraceEvent]:
    return [*events, attrs.evolve(acked(FIRST), envelope_id=SECOND)]


def one_id_twice(events: list[TraceEvent]) -> list[TraceEvent]:
    return [*events, attrs.evolve(logged(FIRST, 2), key=None)]


def not_in_the_log(events: list[TraceEvent]) -> list[TraceEvent]:
    return [*events, attrs.evolve(delivered(FIRST), envelope_id="e9")]


def other_words(events: list[TraceEvent]) -> list[TraceEvent]:
    return [*events, attrs.evolve(delivered(FIRST, life=2), content="text other")]


def not_for_her(events: list[TraceEvent]) -> list[TraceEvent]:
    return [*events, attrs.evolve(delivered(FIRST), agent_id="carol")]


def never_said(events: list[TraceEvent]) -> list[TraceEvent]:
    no_logs: list[TraceEvent] = [event for event in events if not isinstance(event, Logged)]
    return [*no_logs, attrs.evolve(delivered(FIRST), content="text other")]


def overtaken(events: list[TraceEvent]) -> list[TraceEvent]:
    return [delivered(SECOND), *events]


def again_after_success(events: list[TraceEvent]) -> list[TraceEvent]:
    return [*events, delivered(FIRST, 3)]


def again_without_failure(events: list[TraceEvent]) -> list[TraceEvent]:
    return without(events, nacked(FIRST))


def backwards(events: list[TraceEvent]) -> list[TraceEvent]:
    return [*events, cursor(1)]


def too_early(events: list[TraceEvent]) -> list[TraceEvent]:
    place = events.index(cursor(1))
    return [*events[:place], cursor(2), *events[place + 1 :]]


def run_too_early(events: list[TraceEvent]) -> list[TraceEvent]:
    place = events.index(cursor(1))
    return [*events[:place], cursor(0, (1, 2)), *events[place:]]


def much_too_late(events: list[TraceEvent]) -> list[TraceEvent]:
    late = attrs.evolve(delivered(FIRST, life=2), ttl_seconds=5, late_seconds=16.0)
    in_time = [attrs.evolve(late, life=3, late_seconds=it) for it in (-1.0, 14.9)]
    return [*events, late, *in_time]


def expired_without_a_ttl(events: list[TraceEvent]) -> list[TraceEvent]:
    return [*events, expired(FIRST)]


def two_answers(events: list[TraceEvent]) -> list[TraceEvent]:
    both = (logged(FIRST, 0), logged(SECOND, 1))
    return [*without(events, *both), logged(FIRST, 0, "e0"), logged(SECOND, 1, "e0")]


def still_owed(events: list[TraceEvent]) -> list[TraceEvent]:
    return without(events, handled(SECOND), handled(SECOND, life=1))


def owed_and_no_logs(events: list[TraceEvent]) -> list[TraceEvent]:
    return [event for event in still_owed(events) if not isinstance(event, Logged)]


@pytest.mark.parametrize(
    ("checker", "spoil", "named"),
    [
        (c.no_acknowledged_post_lost, lost, SECOND),
        (c.no_acknowledged_post_lost, altered, "goodbye?"),
        (c.posts_happen_once, posted_twice, "k1"),
        (c.posts_happen_once, acked_as_two, "k1"),
        (c.posts_happen_once, one_id_twice, FIRST),
        (c.no_phantoms, not_in_the_log, "e9"),
        (c.no_phantoms, other_words, "text other"),
        (c.no_phantoms, not_for_her, "carol"),
        (c.no_phantoms, never_said, "text other"),
        (c.first_deliveries_in_order, overtaken, FIRST),
        (c.duplicates_bounded, again_after_success, FIRST),
        (c.duplicates_bounded, again_without_failure, FIRST),
        (c.cursors_advance_over_settled_only, backwards, "from 2 to 1"),
        (c.cursors_advance_over_settled_only, too_early, SECOND),
        (c.cursors_advance_over_settled_only, run_too_early, SECOND),
        (c.nothing_late, much_too_late, "16.000 s after"),
        (c.nothing_late, expired_without_a_ttl, FIRST),
        (c.no_double_reply, two_answers, "e0"),
        (c.everything_owed_is_settled, still_owed, SECOND),
        (c.everything_owed_is_settled, owed_and_no_logs, SECOND),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_broken_promise_is_found_once_and_named(
    checker: c.Checker,
    spoil: Callable[[list[TraceEvent]], list[TraceEvent]],
    named: str,
) -> None:
    (sentence,) = checker(Trace(spoil(good_run())))
    assert named in sentence


def test_what_may_have_expired_is_in_order_only_by_a_clock_that_never_steps() -> None:
    with_ttl = attrs.evolve(delivered(FIRST), ttl_seconds=5)
    assert c.first_deliveries_in_order(Trace([delivered(SECOND), with_ttl])) == []
    by_a_clock = attrs.evolve(with_ttl, late_seconds=-1.0)
    (sentence,) = c.first_deliveries_in_order(Trace([delivered(SECOND), by_a_clock]))
    assert FIRST in sentence


def test_dead_letter_settles() -> None:
    letter = DeadLettered(at=3.0, agent_id="bob", channel_id="ch", envelope_id=SECOND)
    events = still_owed(good_run())
    events.insert(events.index(cursor(2)), letter)
    assert c.violations(Trace(events)) == []


def test_what_expires_is_settled() -> None:
    events = still_owed(good_run())
    events.insert(events.index(cursor(2)), expired(SECOND))
    events[-1] = attrs.evolve(logged(SECOND, 1), ttl_seconds=5)
    assert c.violations(Trace(events)) == []


def test_what_a_restored_backup_undid_is_not_held_against_anybody() -> None:
    # The second envelope came after the backup, and so did the cursors that cover both.
    kept = [event for event in good_run() if not isinstance(event, Logged | CursorWritten)]
    logged = next(event for event in good_run() if isinstance(event, Logged))
    story = [
        *kept,
        cursor(2),
        StoreRestored(at=5.0, lost=(SECOND,)),
        PositionLost(at=6.0, agent_id="bob"),
        delivered(FIRST),
        handled(FIRST),
        cursor(1),
        logged,
    ]
    assert c.violations(Trace([StoreCopied(at=0.0), *story])) == []
    # Without a backup it would have been three broken promises.
    told = [it for it in story if not isinstance(it, StoreRestored | PositionLost)]
    checkers = {sentence.partition(":")[0] for sentence in c.violations(Trace(told))}
    assert checkers >= {
        "no_acknowledged_post_lost",
        "duplicates_bounded",
        "cursors_advance_over_settled_only",
    }


def test_what_is_owed_after_a_restored_backup_is_owed() -> None:
    letter = DeadLettered(at=3.0, agent_id="bob", channel_id="ch", envelope_id=SECOND)
    restored = [StoreCopied(at=0.0), letter, StoreRestored(at=4.0, lost=())]
    (sentence,) = c.violations(
        Trace([*restored, *still_owed(good_run())]), checkers=(c.everything_owed_is_settled,)
    )
    assert SECOND in sentence


def test_assert_holds_tells_the_first_of_many() -> None:
    c.assert_holds(Trace(good_run()))
    many = [attrs.evolve(acked(FIRST), envelope_id=f"lost {number}") for number in range(50)]
    with pytest.raises(AssertionError, match=r"no_acknowledged_post_lost: .*lost 0") as caught:
        c.assert_holds(Trace([*good_run(), *many]))
    assert "more" in str(caught.value).splitlines()[-1]


def test_digest_tells_runs_apart() -> None:
    assert Trace(good_run()).digest() == Trace(good_run()).digest()
    assert Trace(good_run()).digest() != Trace(good_run()[::-1]).digest()


def test_about_finds_the_story_of_an_envelope() -> None:
    story = Trace(good_run()).about(FIRST, "bob")
    assert [type(event) for event in story] == [Delivered, Nacked, Delivered, Handled, Logged]


async def test_recorder_writes_down_a_real_run(autojump_clock: trio.abc.Clock) -> None:
    recorder = Recorder()
    failures = iter([True, False])

    async def at_first_it_fails(envelope: Envelope, client: object, attempt: int) -> None:
        if envelope.event_type != EV_TEXT:
            await accept_invite(envelope, client) if "invite" in envelope.event_type else None  # type: ignore[arg-type]
        elif next(failures):
            raise LookupError("not now")

    async with (
        Hub.open(MemoryKnowledgeStore()) as hub,
        HubClient(LocalLink(hub)) as hub_client,
    ):
        alice = await hub_client.register(
            ScriptedAgent("alice", []), Passport(name="alice"), handler=recorder.handler()
        )
        bob = await hub_client.register(
            ScriptedAgent("bob", []),
            Passport(name="bob"),
            handler=recorder.handler(at_first_it_fails),
        )
        channel = await alice.open(type="conversation", target="bob")
        hello = Envelope(
            channel_id=channel.channel_id,
            sender_id="",
            event_type=EV_TEXT,
            event_data={"text": "hello"},
            idempotency_key="k1",
        )
        envelope_id = await recorder.post(alice, hello, recipients=[bob.agent_id])
        with pytest.raises(Exception, match="k1"):
            await recorder.post(
                alice, attrs.evolve(hello, event_data={}), recipients=[bob.agent_id]
            )
        await trio.sleep(10)
        await recorder.read_logs(hub)

    trace = recorder.trace
    c.assert_holds(trace)
    story = [type(event) for event in trace.about(envelope_id) if not isinstance(event, Logged)]
    # Who posts may hear of it before or after the recipient does.
    story.remove(PostAcked)
    assert story == [Delivered, Nacked, Delivered, Handled]
    assert [event.code for event in trace.of(PostFailed)] == ["protocol_error"]
    assert [event.content for event in trace.of(Logged)][-1] == content_of(hello)
