"""
The ledger against a model that keeps everything: one small record per position of the log.

The model knows every position that was settled, how often each envelope was sent and failed, and
when its backoff ends; it predicts every answer of the ledger exactly. What must never happen
follows from the prediction: nothing is lost, nothing settled is sent again, nothing overtakes.
"""

from __future__ import annotations

import random

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trio_hub.protocol.backoff import Backoff
from trio_hub.protocol.delivery_policy import DeliveryPolicy
from trio_hub.protocol.delivery_states import DeliveryState
from trio_hub.protocol.ledger import Ledger
from trio_hub.protocol.ledger_entry import Entry

WAIT = 20.0
BASE, CAP = 1.0, 4.0


class HighestDraw(random.Random):
    """Always draws the upper end of a range, so that the model knows the wait."""

    def uniform(self, a: float, b: float) -> float:
        return b


@attrs.define
class Told:
    """What the model knows of one position."""

    addressed: bool
    settled: bool = False
    in_flight: bool = False
    attempts: int = 0
    failures: int = 0
    due: float = 0.0


class LedgerMachine(RuleBasedStateMachine):
    @initialize(max_attempts=st.integers(0, 3))
    def begin(self, max_attempts: int) -> None:
        self.policy = DeliveryPolicy(
            max_attempts=max_attempts, ack_wait_seconds=WAIT, backoff=Backoff(BASE, CAP)
        )
        self.now = 0.0
        self.log: list[Told] = []
        self.offered = 0
        self.deadline = 0.0
        self.highest_cursor = 0
        self.ledger: Ledger[int] = Ledger(self.policy, HighestDraw())

    # What the model knows.

    def cursor(self) -> int:
        return next((i for i, told in enumerate(self.log) if not told.settled), len(self.log))

    def window(self) -> list[int]:
        return [i for i in range(self.offered) if not self.log[i].settled]

    def pending(self) -> list[int]:
        return [i for i in self.window() if not self.log[i].in_flight]

    def any_in_flight(self) -> bool:
        return any(told.in_flight for told in self.log)

    def pass_settled(self) -> None:
        while self.offered < len(self.log) and self.log[self.offered].settled:
            self.offered += 1

    def leave(self, position: int) -> None:
        was_oldest = self.cursor() == position
        self.log[position].settled = True
        self.log[position].in_flight = False
        if was_oldest:
            self.deadline = self.now + WAIT
        self.pass_settled()

    def fail(self, position: int) -> DeliveryState:
        told = self.log[position]
        told.failures += 1
        for later in self.log[position:]:
            later.in_flight = False
        if told.failures == self.policy.max_attempts:
            self.leave(position)
            return DeliveryState.DEAD
        if told.failures == 1:
            return DeliveryState.UNSENT
        told.due = self.now + min(CAP, BASE * 2 ** (told.failures - 2))
        return DeliveryState.WAITING

    # The log grows and is read.

    @rule(addressed=st.lists(st.booleans(), min_size=1, max_size=4))
    def extend(self, addressed: list[bool]) -> None:
        for mine in addressed:
            self.ledger.extended(mine)
            caught_up = self.offered == len(self.log)
            self.log.append(Told(mine, settled=caught_up and not mine))
            self.pass_settled()

    @rule(count=st.integers(1, 5))
    def offer(self, count: int) -> None:
        for _ in range(count):
            if self.offered < len(self.log):
                position = self.offered
                assert self.ledger.offered == position
                if self.log[position].addressed:
                    self.ledger.offer(position, f"e{position}", position)
                else:
                    self.ledger.skip(position)
                    self.log[position].settled = True
                self.offered += 1
                self.pass_settled()

    @rule(room=st.integers(0, 5))
    def take(self, room: int) -> None:
        expected: list[int] = []
        for position in self.pending()[:room]:
            if self.log[position].failures > 1 and self.log[position].due > self.now:
                break
            expected.append(position)
        if expected and not self.any_in_flight():
            self.deadline = self.now + WAIT
        for position in expected:
            self.log[position].in_flight = True
            self.log[position].attempts += 1
        self.matches(expected, self.ledger.take(self.now, room))

    def matches(self, expected: list[int], entries: object) -> None:
        assert isinstance(entries, list | tuple)
        seen: list[Entry[int]] = list(entries)
        assert [entry.position for entry in seen] == expected
        for entry in seen:
            assert entry.envelope_id == f"e{entry.position}"
            assert entry.payload == entry.position
            assert entry.attempt == self.log[entry.position].attempts

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, WAIT / 2, WAIT]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    # Receipts; positions beyond the log are unknown envelopes.

    @rule(position=st.integers(0, 12))
    def ack(self, position: int) -> None:
        known = position < len(self.log) and not self.log[position].settled
        if known and position >= self.offered:
            known = self.log[position].attempts > 0
        assert self.ledger.ack(f"e{position}", self.now) == known
        if known:
            self.leave(position)

    @rule(position=st.integers(0, 12))
    def nack(self, position: int) -> None:
        entry = self.ledger.nack(f"e{position}", self.now)
        if position < len(self.log) and self.log[position].in_flight:
            assert entry is not None
            assert entry.state is self.fail(position)
            assert entry.failures == self.log[position].failures <= entry.attempt
        else:
            assert entry is None

    @rule(position=st.integers(0, 12))
    def progress(self, position: int) -> None:
        in_flight = position < len(self.log) and self.log[position].in_flight
        assert self.ledger.progress(f"e{position}", self.now) == in_flight
        if in_flight and position == self.cursor():
            self.deadline = self.now + WAIT

    @rule()
    def expire(self) -> None:
        entry = self.ledger.expire(self.now)
        if self.any_in_flight() and self.deadline <= self.now:
            assert entry is not None
            assert entry.position == self.window()[0]
            assert entry.state is self.fail(entry.position)
        else:
            assert entry is None

    # Bindings, restarts, settling from outside.

    @rule()
    def cut(self) -> None:
        self.ledger.detach()
        for told in self.log:
            told.in_flight = False
        self.offered = self.cursor()

    @rule()
    def restart(self) -> None:
        cursor, settled = self.ledger.snapshot()
        owed = sum(told.addressed and not told.settled for told in self.log)
        self.ledger = Ledger(
            self.policy,
            HighestDraw(),
            length=len(self.log),
            cursor=cursor,
            settled=settled,
            owed=owed,
        )
        for told in self.log:
            told.in_flight, told.attempts, told.failures, told.due = False, 0, 0, 0.0
        self.offered = self.cursor()

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        if self.log:
            position = data.draw(st.integers(0, len(self.log) - 1))
            told = self.log[position]
            expected = not told.settled
            settled = self.ledger.settle(position, self.now, addressed=told.addressed)
            assert settled == expected
            if expected:
                self.leave(position)

    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        if self.log:
            position = data.draw(st.integers(0, len(self.log) - 1))
            expected = position >= self.cursor()
            owed = sum(t.addressed and not t.settled for t in self.log[position + 1 :])
            assert self.ledger.settle_through(position, self.now, owed=owed) == expected
            for each in range(position + 1):
                if not self.log[each].settled:
                    self.leave(each)
            if position >= self.offered:
                self.offered = position + 1
                self.pass_settled()

    # What is always so.

    @invariant()
    def the_ledger_stands_where_the_model_does(self) -> None:
        ledger = self.ledger
        assert ledger.length == len(self.log)
        assert ledger.offered == self.offered
        assert ledger.cursor == self.cursor()
        assert [entry.position for entry in ledger.window] == self.window()
        assert ledger.held == len(self.window())
        assert ledger.has_pending == bool(self.pending())
        assert ledger.owed == sum(t.addressed and not t.settled for t in self.log)

    @invariant()
    def the_cursor_never_goes_back(self) -> None:
        assert self.ledger.cursor >= self.highest_cursor
        self.highest_cursor = self.ledger.cursor

    @invariant()
    def a_snapshot_names_exactly_what_is_settled(self) -> None:
        cursor, runs = self.ledger.snapshot()
        named = set(range(cursor)).union(*(range(start, stop) for start, stop in runs))
        assert named == {i for i, told in enumerate(self.log) if told.settled}
        edges = [edge for run in runs for edge in run]
        assert edges == sorted(set(edges))
        assert not edges or edges[0] > cursor

    @invariant()
    def what_is_in_flight_stands_before_what_is_to_be_sent(self) -> None:
        in_flight = [self.log[i].in_flight for i in self.window()]
        assert in_flight == sorted(in_flight, reverse=True)

    @invariant()
    def it_wakes_when_something_is_due(self) -> None:
        times = [self.deadline] if self.any_in_flight() else []
        first = [entry for entry in self.ledger.window if not self.log[entry.position].in_flight][
            :1
        ]
        times += [e.due for e in first if e.state is DeliveryState.WAITING]
        assert self.ledger.wake_at() == min(times, default=None)

    def teardown(self) -> None:
        """Liveness: with an ack for everything that is sent, everything settles."""
        if not hasattr(self, "ledger"):
            return
        for _ in range(2 * len(self.log) + 2):
            self.now += CAP
            self.offer(len(self.log))
            self.take(len(self.log))
            for position in [i for i in self.window() if self.log[i].in_flight]:
                self.ack(position)
        assert self.ledger.owed == 0
        assert self.ledger.snapshot() == (len(self.log), ())
        assert self.ledger.wake_at() is None


TestLedger = LedgerMachine.TestCase
