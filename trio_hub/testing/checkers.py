"""
Checkers: what must be true of any run, however many faults it met.

Each takes a `Trace` and returns its violations as sentences that name the ids to look for; an
empty list is a pass. `violations` asks all of them, `assert_holds` fails a test with what they
found. What a trace has no events of cannot be checked: logs are compared only where the trace
has `Logged` events, cursors only where it has `CursorWritten`.

Where a backup was restored (`StoreRestored`), ask of `as_restored(trace)`: what nobody can promise
any more is not in it. `violations` and `assert_holds` do so by themselves.

====================================  ==========================================================
checker                               the promise
====================================  ==========================================================
`no_acknowledged_post_lost`           what was answered with an id stands in the log, unchanged
`posts_happen_once`                   one idempotency key, one envelope
`no_phantoms`                         nothing is delivered that nobody posted, or as other words
`first_deliveries_in_order`           per recipient and channel, first deliveries in log order
`duplicates_bounded`                  one process sees an envelope again only after it failed
`cursors_advance_over_settled_only`   a cursor goes forward, and hides nothing unsettled
`nothing_late`                        nothing is delivered when its TTL is over, nothing else expires
`no_double_reply`                     one agent answers one envelope once
`everything_owed_is_settled`          at the end of a run that was given time, nothing is owed
====================================  ==========================================================
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from ..records import is_bookkeeping
from .trace import (
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
    StoreCopied,
    StoreRestored,
    Trace,
    TraceEvent,
)

__all__ = [
    "CHECKERS",
    "Checker",
    "as_restored",
    "assert_holds",
    "cursors_advance_over_settled_only",
    "duplicates_bounded",
    "everything_owed_is_settled",
    "first_deliveries_in_order",
    "no_acknowledged_post_lost",
    "no_double_reply",
    "no_phantoms",
    "nothing_late",
    "posts_happen_once",
    "violations",
]

Checker = Callable[[Trace], list[str]]

# A test that fails with a thousand sentences is not read.
_SENTENCES_MAX = 20
# More than a living connection takes.
_UNDER_WAY_SECONDS_MAX = 10.0


def no_acknowledged_post_lost(trace: Trace) -> list[str]:
    """Every acknowledged post stands in the log of its channel, once, as it was posted."""
    logs = _logs(trace)
    if not logs:
        return []
    # Another post under the same key is refused, and whether this was it, only the answer tells.
    posts: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for post in trace.of(Posted):
        posts[post.channel_id, post.key].add((post.sender_id, post.content))
    found = []
    for acked in trace.of(PostAcked):
        where = f"channel {acked.channel_id}"
        record = logs.get(acked.envelope_id)
        if record is None or record.channel_id != acked.channel_id:
            found.append(
                f"post {acked.key!r} was acknowledged as {acked.envelope_id} at {acked.at:.3f}, "
                f"and the log of {where} does not have it"
            )
            continue
        said = posts.get((acked.channel_id, acked.key))
        if said is not None and (record.sender_id, record.content) not in said:
            found.append(
                f"post {acked.key!r} was acknowledged as {acked.envelope_id}, and in the log of "
                f"{where} that is {record.content!r} of {record.sender_id}, not one of "
                f"{sorted(said)}"
            )
    return found


def posts_happen_once(trace: Trace) -> list[str]:
    """One key gives one id whenever it is posted, and stands in the log once."""
    ids: dict[tuple[str, str], str] = {}
    found = []
    for acked in trace.of(PostAcked):
        first = ids.setdefault((acked.channel_id, acked.key), acked.envelope_id)
        if first != acked.envelope_id:
            found.append(
                f"post {acked.key!r} in channel {acked.channel_id} was acknowledged as {first} "
                f"and later as {acked.envelope_id}"
            )
    keys: dict[tuple[str, str, str], int] = {}
    places: dict[str, tuple[str, int]] = {}
    for record in trace.of(Logged):
        place = (record.channel_id, record.position)
        if places.setdefault(record.envelope_id, place) != place:
            found.append(f"{record.envelope_id} stands twice in the logs, at {place} too")
        if record.key is None:
            continue
        first_at = keys.setdefault(
            (record.channel_id, record.sender_id, record.key), record.position
        )
        if first_at != record.position:
            found.append(
                f"key {record.key!r} of {record.sender_id} stands twice in the log of channel "
                f"{record.channel_id}: at {first_at} and at {record.position}"
            )
    return found


def no_phantoms(trace: Trace) -> list[str]:
    """What is delivered was said in that channel by that sender in these words."""
    said = Counter((post.channel_id, post.sender_id, post.content) for post in trace.of(Posted))
    logs = _logs(trace)
    found = []
    for delivered in trace.of(Delivered):
        what = f"{delivered.envelope_id} was delivered to {delivered.agent_id}"
        record = logs.get(delivered.envelope_id)
        if logs:
            if record is None or record.channel_id != delivered.channel_id:
                found.append(f"{what}, and the log of channel {delivered.channel_id} has none such")
            elif (record.sender_id, record.content) != (delivered.sender_id, delivered.content):
                found.append(
                    f"{what} as {delivered.content!r} of {delivered.sender_id}, and in the log it "
                    f"is {record.content!r} of {record.sender_id}"
                )
            elif delivered.agent_id not in record.recipients:
                found.append(f"{what}, whom it is not addressed to")
        elif (
            not is_bookkeeping(delivered.content)
            and not said[delivered.channel_id, delivered.sender_id, delivered.content]
        ):
            found.append(
                f"{what} as {delivered.content!r} of {delivered.sender_id}, who never posted that"
            )
    return found


def first_deliveries_in_order(trace: Trace) -> list[str]:
    """
    Per recipient and channel, envelopes are first delivered in the order of the log.

    Where clocks are set back, one that was given up because its TTL was over can be in time again,
    for a recipient or a hub that remembers nothing of that: it has no place in the order then.
    """
    seen: set[tuple[str, str]] = set()
    newest: dict[tuple[str, str], str] = {}
    found = []
    for delivered in trace.of(Delivered):
        if (delivered.agent_id, delivered.envelope_id) in seen:
            continue
        seen.add((delivered.agent_id, delivered.envelope_id))
        line = (delivered.agent_id, delivered.channel_id)
        before = newest.get(line, "")
        # The ids of one hub sort in the order in which it accepted them.
        may_have_expired = delivered.ttl_seconds is not None and delivered.late_seconds is None
        if delivered.envelope_id < before and not may_have_expired:
            found.append(
                f"{delivered.envelope_id} was delivered to {delivered.agent_id} for the first "
                f"time at {delivered.at:.3f}, after {before}, which is younger (channel "
                f"{delivered.channel_id})"
            )
        newest[line] = max(before, delivered.envelope_id)
    return found


def duplicates_bounded(trace: Trace) -> list[str]:
    """
    Within one life of an agent, an envelope is handled again only after its handler failed.

    Or after the agent was told that the hub's log is an older one: then only its handler can tell
    what is still there.
    """
    runs: Counter[tuple[str, int, str]] = Counter()
    nacks: Counter[tuple[str, int, str]] = Counter()
    handled: set[tuple[str, int, str]] = set()
    found = []
    for event in trace:
        if isinstance(event, PositionLost):
            for counted in (runs, nacks):
                for run in [run for run in counted if run[0] == event.agent_id]:
                    del counted[run]
            handled = {run for run in handled if run[0] != event.agent_id}
        if not isinstance(event, Delivered | Handled | Nacked):
            continue
        run = (event.agent_id, event.life, event.envelope_id)
        if isinstance(event, Nacked):
            nacks[run] += 1
        elif isinstance(event, Handled):
            handled.add(run)
        else:
            runs[run] += 1
            if run in handled:
                found.append(
                    f"{event.envelope_id} was delivered to {event.agent_id} again at "
                    f"{event.at:.3f}, though its handler had finished in the same life"
                )
            elif runs[run] > 1 + nacks[run]:
                found.append(
                    f"{event.envelope_id} was delivered to {event.agent_id} {runs[run]} times in "
                    f"one life, and failed {nacks[run]} times"
                )
    return found


def cursors_advance_over_settled_only(trace: Trace) -> list[str]:
    """A cursor on disk goes forward only, and nothing that it covers is still to be settled."""
    owed = _owed(trace)
    settled: set[tuple[str, str]] = set()
    cursors: dict[tuple[str, str], int] = {}
    checked: dict[tuple[str, str], int] = {}
    found = []
    for event in trace:
        match event:
            case Handled() | DeadLettered() | Expired():
                settled.add((event.agent_id, event.envelope_id))
            case CursorWritten():
                line = (event.agent_id, event.channel_id)
                before = cursors.get(line, 0)
                if event.cursor < before:
                    found.append(
                        f"the cursor of {event.agent_id} in channel {event.channel_id} went back "
                        f"from {before} to {event.cursor} at {event.at:.3f}"
                    )
                cursors[line] = max(before, event.cursor)
                covered = [(checked.get(line, 0), event.cursor), *event.settled]
                checked[line] = cursors[line]
                for position, envelope_id in owed.get(line, ()):
                    if (event.agent_id, envelope_id) not in settled and any(
                        start <= position < stop for start, stop in covered
                    ):
                        found.append(
                            f"the cursor of {event.agent_id} in channel {event.channel_id} "
                            f"covered position {position} at {event.at:.3f}, and {envelope_id}, "
                            "which stands there, was not settled"
                        )
            case _:
                pass
    return found


def no_double_reply(trace: Trace) -> list[str]:
    """One agent's log entries name each cause at most once."""
    first: dict[tuple[str, str, str], str] = {}
    found = []
    for record in _logs(trace).values():
        if record.causation_id is None:
            continue
        answer = (record.channel_id, record.sender_id, record.causation_id)
        earlier = first.setdefault(answer, record.envelope_id)
        if earlier != record.envelope_id:
            found.append(
                f"{record.sender_id} answered {record.causation_id} twice in channel "
                f"{record.channel_id}: {earlier} and {record.envelope_id}"
            )
    return found


def nothing_late(trace: Trace) -> list[str]:
    """
    What has a TTL is begun to be handled within it, and only that expires.

    Granted are, on top of it, the seconds that an envelope may be under way, and the TTL once more
    for which it may wait at its recipient, which does not know for how long it was under way.
    """
    found = [
        f"{event.envelope_id} was delivered to {event.agent_id} at {event.at:.3f}, "
        f"{event.late_seconds:.3f} s after its TTL of {event.ttl_seconds} s was over"
        for event in trace.of(Delivered)
        if event.ttl_seconds is not None
        and event.late_seconds is not None
        and event.late_seconds > event.ttl_seconds + _UNDER_WAY_SECONDS_MAX
    ]
    logs = _logs(trace)
    for expired in trace.of(Expired):
        record = logs.get(expired.envelope_id)
        if record is not None and record.ttl_seconds is None:
            found.append(
                f"{expired.envelope_id} has no TTL, and expired for {expired.agent_id} at "
                f"{expired.at:.3f}"
            )
    return found


def everything_owed_is_settled(trace: Trace) -> list[str]:
    """Every recipient has handled everything for it, but what became a dead letter or expired."""
    done = {
        (event.agent_id, event.envelope_id)
        for event in trace
        if isinstance(event, Handled | DeadLettered | Expired)
    }
    delivered = Counter((event.agent_id, event.envelope_id) for event in trace.of(Delivered))
    found = []
    for agent_id, channel_id, envelope_id in _all_owed(trace):
        if (agent_id, envelope_id) not in done:
            found.append(
                f"{envelope_id} in channel {channel_id} is still owed to {agent_id} at the end; "
                f"it was delivered {delivered[agent_id, envelope_id]} times"
            )
    return found


#: All of them.
CHECKERS: tuple[Checker, ...] = (
    no_acknowledged_post_lost,
    posts_happen_once,
    no_phantoms,
    first_deliveries_in_order,
    duplicates_bounded,
    cursors_advance_over_settled_only,
    nothing_late,
    no_double_reply,
    everything_owed_is_settled,
)


def as_restored(trace: Trace) -> Trace:
    """
    Return what of a trace still counts after the backups that were restored in it.

    Envelopes that were lost by it are not in it, nor is what was written to the store between
    the backup and its restoration: cursors and dead letters.
    """
    events = list(trace)
    lost: set[str] = set()
    undone: set[int] = set()
    copied_at = 0
    for index, event in enumerate(events):
        if isinstance(event, StoreCopied):
            copied_at = index
        elif isinstance(event, StoreRestored):
            lost.update(event.lost)
            undone.update(range(copied_at, index))
    if not undone:
        return trace

    def counts(index: int, event: TraceEvent) -> bool:
        if isinstance(event, CursorWritten | DeadLettered) and index in undone:
            return False
        return getattr(event, "envelope_id", None) not in lost

    return Trace(event for index, event in enumerate(events) if counts(index, event))


def violations(trace: Trace, *, checkers: tuple[Checker, ...] = CHECKERS) -> list[str]:
    """Return what all checkers find, each sentence with the name of its checker in front."""
    trace = as_restored(trace)
    return [
        f"{checker.__name__}: {sentence}" for checker in checkers for sentence in checker(trace)
    ]


def assert_holds(trace: Trace, *, checkers: tuple[Checker, ...] = CHECKERS) -> None:
    """Raise `AssertionError` with what the checkers found, if they found anything."""
    found = violations(trace, checkers=checkers)
    if found:
        more = len(found) - _SENTENCES_MAX
        lines = found[:_SENTENCES_MAX] + ([f"... and {more} more"] if more > 0 else [])
        raise AssertionError(f"{len(found)} promises were broken:\n" + "\n".join(lines))


def _logs(trace: Trace) -> dict[str, Logged]:
    return {record.envelope_id: record for record in trace.of(Logged)}


def _owed(trace: Trace) -> dict[tuple[str, str], list[tuple[int, str]]]:
    """What each agent is owed in each channel, by position."""
    owed: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for record in trace.of(Logged):
        for agent_id in record.recipients:
            owed[agent_id, record.channel_id].append((record.position, record.envelope_id))
    return owed


def _all_owed(trace: Trace) -> Iterator[tuple[str, str, str]]:
    logs = _logs(trace)
    for record in logs.values():
        for agent_id in record.recipients:
            yield agent_id, record.channel_id, record.envelope_id
    posts = {(post.channel_id, post.key): post for post in trace.of(Posted)}
    told = set()
    for acked in trace.of(PostAcked):
        post = posts.get((acked.channel_id, acked.key))
        # Those in a log were named above.
        if post is None or acked.envelope_id in logs or acked.envelope_id in told:
            continue
        told.add(acked.envelope_id)
        for agent_id in post.recipients:
            yield agent_id, acked.channel_id, acked.envelope_id
