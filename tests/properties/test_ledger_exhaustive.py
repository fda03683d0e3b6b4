"""
Every order of sends, receipts and cuts, for one to six envelopes.

The ledger's state is finite once attempt numbers and times are left out. So instead of listing
orders, each state is visited once, and from each every event is tried: one or all are sent, before
or after the backoffs have run out; any envelope is acked or nacked; the oldest one's `ack_wait`
ends; the connection is cut; the next record is read back. That covers every order of these events,
of any length.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import takewhile

import pytest

from trio_hub.protocol.backoff import Backoff
from trio_hub.protocol.delivery_policy import DeliveryPolicy
from trio_hub.protocol.delivery_states import DeliveryState
from trio_hub.protocol.ledger import Ledger
from trio_hub.protocol.ledger_entry import Entry

IN_FLIGHT, WAITING = DeliveryState.IN_FLIGHT, DeliveryState.WAITING

# All events happen at 0. A backoff ends at SOON and is over LATER; LATER, ack_wait is over too.
SOON, LATER = 1.0, 1e6


class HighestDraw(random.Random):
    """Always draws the upper end of a range."""

    def uniform(self, a: float, b: float) -> float:
        return b


Event = tuple[str, int]
State = tuple[object, ...]


def copy_entry(entry: Entry[str]) -> Entry[str]:
    due = SOON if entry.state is WAITING else 0.0
    return Entry(
        entry.position,
        entry.envelope_id,
        "payload",
        entry.state,
        entry.attempt,
        entry.failures,
        due,
    )


def copy_ledger(ledger: Ledger[str]) -> Ledger[str]:
    twin: Ledger[str] = Ledger(ledger._policy, ledger._rng)
    for name in ("length", "cursor", "offered", "held", "owed"):
        setattr(twin, name, getattr(ledger, name))
    twin._runs = list(ledger._runs) if ledger._runs is not None else None
    for name in ("_window", "_known"):
        entries = getattr(ledger, name)
        if entries is not None:
            entries = {key: copy_entry(entry) for key, entry in entries.items()}
        setattr(twin, name, entries)
    if ledger._pending is not None:
        assert twin._window is not None
        twin._pending = [twin._window[entry.envelope_id] for entry in ledger._pending]
    return twin


def state_of(ledger: Ledger[str], dead: frozenset[int]) -> State:
    """Everything that the ledger's future depends on; times only by whether they have come."""
    return (
        ledger.offered,
        ledger.snapshot(),
        dead,
        tuple((e.position, e.state, e.failures) for e in ledger.window),
        frozenset((e.position, e.state, e.failures) for e in (ledger._known or {}).values()),
    )


def events(ledger: Ledger[str], count: int) -> Iterator[Event]:
    for number in {1, count}:
        yield "send", number
        yield "send late", number
    yield "cut", 0
    yield "read", 0
    yield "silence", 0
    for position in range(count):
        yield "ack", position
        yield "nack", position


def happens(ledger: Ledger[str], event: Event, dead: frozenset[int]) -> frozenset[int]:
    """Let it happen, and check what it may and may not have changed."""
    kind, number = event
    unsettled = unsettled_in(ledger)
    before = {entry.position: entry.state for entry in ledger.window}
    known = {entry.position for entry in (ledger._known or {}).values()}
    failed: Entry[str] | None = None
    settled: set[int] = set()
    if kind in ("send", "send late"):
        ready = [p for p in sorted(before) if before[p] is not IN_FLIGHT]
        if kind == "send":
            ready = list(takewhile(lambda p: before[p] is not WAITING, ready))
        now = 0.0 if kind == "send" else LATER
        assert [entry.position for entry in ledger.take(now, number)] == ready[:number]
    elif kind == "cut":
        ledger.detach()
        assert ledger.window == ()
    elif kind == "read":
        if ledger.offered < ledger.length:
            ledger.offer(ledger.offered, f"e{ledger.offered}", "payload")
    elif kind == "ack":
        if ledger.ack(f"e{number}", 0.0):
            settled = {number}
            assert number in before or number in known
        else:
            assert number not in before
            assert number not in known
    else:
        if kind == "nack":
            failed = ledger.nack(f"e{number}", 0.0)
            assert (failed is not None) == (before.get(number) is IN_FLIGHT)
        else:
            failed = ledger.expire(LATER)
            assert (failed is not None) == (IN_FLIGHT in before.values())
        if failed is not None:
            assert kind == "nack" or failed.position == min(before)
            dies = failed.failures == ledger._policy.max_attempts
            assert (failed.state is DeliveryState.DEAD) == dies
            if dies:
                settled = {failed.position}
                dead |= settled
            # It and everything behind it is to be sent again; nothing before it is.
            for entry in ledger.window:
                if entry.position < failed.position:
                    assert entry.state is before[entry.position]
                else:
                    assert entry.state is not IN_FLIGHT
    assert unsettled_in(ledger) == unsettled - settled, "settled something else, or lost a settled"
    assert ledger.cursor == min(unsettled - settled, default=ledger.length)
    assert ledger.owed == len(unsettled - settled)
    return dead


def unsettled_in(ledger: Ledger[str]) -> set[int]:
    cursor, runs = ledger.snapshot()
    ahead = {position for start, stop in runs for position in range(start, stop)}
    return set(range(cursor, ledger.length)) - ahead


def everything_settles_from(ledger: Ledger[str]) -> None:
    """Liveness, without the help of a cut: read, send, ack, in the order in which they come."""
    unsettled = unsettled_in(ledger)
    while ledger.offered < ledger.length:
        ledger.offer(ledger.offered, f"e{ledger.offered}", "payload")
    seen = [entry.position for entry in ledger.window if entry.state is IN_FLIGHT]
    seen += [entry.position for entry in ledger.take(LATER, ledger.length)]
    assert seen == sorted(unsettled)
    for position in seen:
        assert ledger.ack(f"e{position}", 0.0)
    assert ledger.snapshot() == (ledger.length, ())


# (envelopes, max_attempts): 22,000 states and 390,000 events in about 8 s. Six envelopes that may
# fail once and live (58,000 states, 1.1 million events) take half a minute: the deep profile.
SIZES = [(1, 5), (2, 5), (3, 3), (4, 2), (5, 2), (6, 1)]
if os.environ.get("HYPOTHESIS_PROFILE") == "deep":
    SIZES += [(3, 5), (4, 3), (5, 3), (6, 2)]


@pytest.mark.parametrize(("count", "max_attempts"), SIZES)
def test_no_order_of_events_loses_repeats_or_reorders(count: int, max_attempts: int) -> None:
    policy = DeliveryPolicy(max_attempts=max_attempts, backoff=Backoff(1.0, 60.0))
    start: Ledger[str] = Ledger(policy, HighestDraw(), length=count)
    seen: set[State] = {state_of(start, frozenset())}
    fresh = [(start, frozenset[int]())]
    while fresh:
        ledger, dead = fresh.pop()
        for event in events(ledger, count):
            twin = copy_ledger(ledger)
            after = happens(twin, event, dead)
            state = state_of(twin, after)
            if state not in seen:
                seen.add(state)
                fresh.append((twin, after))
        everything_settles_from(copy_ledger(ledger))
    # The search went everywhere: every set of envelopes was the set of the dead at some time.
    assert {state[2] for state in seen} == subsets(count)


def subsets(count: int) -> set[frozenset[int]]:
    return {frozenset(i for i in range(count) if bits >> i & 1) for bits in range(2**count)}
