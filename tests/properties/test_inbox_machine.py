"""
The inbox against a model: several channels, a window, slow and stale and failed reads, receipts in
any order, connections that come and go, hubs that restart from whatever cursor was written last.

The model keeps one record per position of every log and checks each thing that the inbox does
against it: nothing is lost, nothing that is settled is sent, every binding sees each channel in
log order without a gap and without an overlap, and the window is never exceeded.
"""

from __future__ import annotations

import random

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trio_hub.protocol.backoff import Backoff
from trio_hub.protocol.delivery_policy import DeliveryPolicy
from trio_hub.protocol.inbox import CursorSnapshot, DeadLetter, Inbox, PageWanted

WAIT = 20.0
CAP = 4.0
CHANNELS = ("a", "b", "c")


class HighestDraw(random.Random):
    """Always draws the upper end of a range, so that the model knows the wait."""

    def uniform(self, a: float, b: float) -> float:
        return b


@attrs.define
class Told:
    """What the model knows of one position of one log."""

    addressed: bool
    settled: bool = False
    in_flight: bool = False
    attempts: int = 0
    failures: int = 0
    due: float = 0.0
    expires: float | None = None

    def is_over(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now


def covers(snapshot: CursorSnapshot, position: int) -> bool:
    return position < snapshot.cursor or any(a <= position < b for a, b in snapshot.settled)


class InboxMachine(RuleBasedStateMachine):
    @initialize(
        max_in_flight=st.sampled_from([1, 2, 3, 5, 8, 20]),
        max_attempts=st.integers(0, 3),
        page_records=st.integers(1, 4),
        share=st.sampled_from([1, 8]),
    )
    def begin(self, max_in_flight: int, max_attempts: int, page_records: int, share: int) -> None:
        self.policy = DeliveryPolicy(
            max_in_flight=max_in_flight,
            max_attempts=max_attempts,
            ack_wait_seconds=WAIT,
            backoff=Backoff(1.0, CAP),
            page_records=page_records,
            share=share,
        )
        self.now = 0.0
        self.logs: dict[str, list[Told]] = {}
        # When the oldest in flight of each channel counts as silent.
        self.deadlines: dict[str, float] = {}
        # Where a binding that wants no replay begins in each channel.
        self.since: dict[str, int] = {}
        # Dead letters that `poll` must hand out, and those it handed out that are not kept yet.
        self.dying: list[DeadLetter] = []
        self.unburied: list[DeadLetter] = []
        # What was not handled in time, until `poll` hands it out.
        self.unheard: list[tuple[str, int]] = []
        # Cursors as they are on disk.
        self.written: dict[str, CursorSnapshot] = {}
        # Reads that were asked for; the disk answers in any order, perhaps long after a cut.
        self.reading: list[PageWanted] = []
        self.inbox: Inbox[str] = Inbox(self.policy, HighestDraw())

    def told(self) -> list[tuple[str, int, Told]]:
        return [(ch, i, t) for ch, log in self.logs.items() for i, t in enumerate(log)]

    def owed_in(self, channel_id: str) -> int:
        return sum(t.addressed and not t.settled for t in self.logs.get(channel_id, ()))

    # The logs.

    @rule(
        channel_id=st.sampled_from(CHANNELS),
        addressed=st.lists(st.sampled_from([True, True, False]), min_size=1, max_size=6),
        ttl=st.sampled_from([None, None, 0.5, 3.0, WAIT]),
    )
    def post(self, channel_id: str, addressed: list[bool], ttl: float | None) -> None:
        if channel_id not in self.logs:
            self.logs[channel_id] = []
            self.inbox.restore(channel_id, length=0)
        log = self.logs[channel_id]
        for mine in addressed:
            position = len(log)
            expires = None if ttl is None else self.now + ttl
            log.append(Told(mine, expires=expires))
            self.inbox.extended(
                channel_id,
                position,
                f"{channel_id}{position}",
                self.payload(position),
                mine,
                expires,
            )

    @staticmethod
    def payload(position: int) -> str:
        return f"payload {position}"

    @precondition(lambda self: self.reading)
    @rule(data=st.data(), short=st.booleans(), stays=st.booleans())
    def disk_answers(self, data: st.DataObject, short: bool, stays: bool) -> None:
        page = data.draw(st.sampled_from(self.reading))
        if not stays:  # otherwise the same answer arrives twice
            self.reading.remove(page)
        self.answer(page, short=short)

    def answer(self, page: PageWanted, *, short: bool = False) -> None:
        stop = page.start + 1 if short else page.stop
        log = self.logs.get(page.channel_id, [])
        self.inbox.loaded(
            page,
            [
                (f"{page.channel_id}{i}", self.payload(i) if log[i].addressed else None)
                for i in range(page.start, min(stop, len(log)))
            ],
            {i: told.expires for i, told in enumerate(log) if told.expires is not None},
        )

    @precondition(lambda self: self.reading)
    @rule(data=st.data())
    def disk_fails(self, data: st.DataObject) -> None:
        page = data.draw(st.sampled_from(self.reading))
        self.reading.remove(page)
        self.inbox.read_failed(page, self.now)

    # What the inbox does.

    @rule()
    def poll(self) -> None:
        for channel_id, log in self.logs.items():
            oldest = next((i for i, t in enumerate(log) if t.in_flight), None)
            if oldest is not None and self.deadlines[channel_id] <= self.now:
                self.fails(channel_id, oldest, f"silent for {WAIT:g} s")
        work = self.inbox.poll(self.now)
        assert {(it.channel_id, it.position) for it in work.expired} >= set(self.unheard)
        assert self.inbox.attached or not (work.sends or work.reads)

        assert sorted(work.dead, key=repr) == sorted(self.dying, key=repr)
        self.unburied += self.dying
        self.dying = []

        for gone in work.expired:
            told = self.logs[gone.channel_id][gone.position]
            assert gone.envelope_id == f"{gone.channel_id}{gone.position}"
            assert told.addressed
            assert told.is_over(self.now), "expired before its time"
            assert gone.attempts == told.attempts
            if (gone.channel_id, gone.position) in self.unheard:
                self.unheard.remove((gone.channel_id, gone.position))
                continue
            assert not told.settled, "expired, and settled before"
            assert not told.in_flight, "expired while its recipient had it"
            self.leaves(gone.channel_id, gone.position)

        for page in work.reads:
            assert page.start < page.stop <= len(self.logs[page.channel_id])
            assert page.stop - page.start <= self.policy.page_records
        self.reading += work.reads

        kept_back = self.kept_back()
        was_in_flight = {ch: any(t.in_flight for t in log) for ch, log in self.logs.items()}
        for send in work.sends:
            log = self.logs[send.channel_id]
            told = log[send.position]
            assert told.addressed
            assert send.channel_id not in kept_back, "sent past a letter that is not kept"
            assert not told.settled, "sent what is settled"
            assert not told.in_flight, "sent twice to one binding without a failure"
            since = self.since.get(send.channel_id, 0)
            assert send.position >= since, "sent what is older than this binding wants"
            earlier = [t for t in log[since : send.position] if t.addressed and not t.settled]
            assert all(t.in_flight for t in earlier), "sent past one that is still to be sent"
            assert not any(t.in_flight for t in log[send.position :]), "sent after a newer one"
            assert self.now >= told.due, "sent before its backoff was over"
            assert not told.is_over(self.now), "sent after its time"
            assert send.expires == told.expires
            told.in_flight = True
            told.attempts += 1
            assert send.attempt == told.attempts
            assert send.envelope_id == f"{send.channel_id}{send.position}"
            assert send.payload == self.payload(send.position)
            if not was_in_flight[send.channel_id]:
                self.deadlines[send.channel_id] = self.now + WAIT
        assert sum(t.in_flight for _, _, t in self.told()) <= self.policy.max_in_flight
        assert not self.inbox.poll(self.now), "a second poll found something to do"
        self.wakes_in_time()

    def wakes_in_time(self) -> None:
        wake_at = self.inbox.wake_at()
        times = [
            self.deadlines[channel_id]
            for channel_id, log in self.logs.items()
            if any(t.in_flight for t in log)
        ]
        kept_back = self.kept_back()
        for channel_id, ledger in self.inbox._ledgers.items():
            first = next((e for e in ledger.window if e.state != "in flight"), None)
            # What is kept back is looked at when the letter is kept.
            if first is not None and channel_id not in kept_back:
                assert first.due > self.now, "what could be sent was not"
                assert first.expires is None or first.expires > self.now, "it stands in the way"
                times += [first.due] if first.expires is None else [first.due, first.expires]
        times += self.inbox._pages._paused.values()
        if times:
            assert wake_at is not None
            assert self.now < wake_at <= min(times)
        else:
            assert wake_at is None

    def kept_back(self) -> set[str]:
        """The channels of which a letter is not on disk."""
        return {letter.channel_id for letter in (*self.dying, *self.unburied)}

    def fails(self, channel_id: str, position: int, reason: str) -> None:
        log = self.logs[channel_id]
        told = log[position]
        told.failures += 1
        for later in log[position:]:
            later.in_flight = False
        if told.failures == self.policy.max_attempts:
            self.dying.append(
                DeadLetter(channel_id, position, f"{channel_id}{position}", told.attempts, reason)
            )
            self.leaves(channel_id, position)
        elif told.failures > 1:
            told.due = self.now + min(CAP, 2.0 ** (told.failures - 2))

    def leaves(self, channel_id: str, position: int) -> None:
        log = self.logs[channel_id]
        since = self.since.get(channel_id, 0)
        if not any(t.addressed and not t.settled for t in log[since:position]):
            self.deadlines[channel_id] = self.now + WAIT
        log[position].settled = True
        log[position].in_flight = False

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, WAIT / 2, WAIT]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    # Receipts. Of what is in flight mostly; of anything at all sometimes.

    @precondition(lambda self: any(t.in_flight for _, _, t in self.told()))
    @rule(data=st.data(), kind=st.sampled_from(["ack", "ack", "ack", "nack", "progress"]))
    def receipt(self, data: st.DataObject, kind: str) -> None:
        in_flight = [(ch, i) for ch, i, t in self.told() if t.in_flight]
        channel_id, position = data.draw(st.sampled_from(in_flight))
        assert self.gives(kind, channel_id, position)

    @rule(
        channel_id=st.sampled_from([*CHANNELS, "nowhere"]),
        position=st.integers(0, 15),
        kind=st.sampled_from(["ack", "nack", "progress"]),
    )
    def stray_receipt(self, channel_id: str, position: int, kind: str) -> None:
        log = self.logs.get(channel_id, [])
        done = self.gives(kind, channel_id, position)
        assert not done or position < len(log)

    def gives(self, kind: str, channel_id: str, position: int) -> bool:
        envelope_id = f"{channel_id}{position}"
        log = self.logs.get(channel_id, [])
        told = log[position] if position < len(log) else Told(addressed=False)
        if kind == "ack":
            done = self.inbox.ack(channel_id, envelope_id, self.now)
            if told.attempts and not told.settled:
                assert done, "the receipt of something that was sent was ignored"
            if done:
                assert told.addressed
                assert not told.settled
                self.leaves(channel_id, position)
        elif kind == "nack":
            done = self.inbox.nack(channel_id, envelope_id, self.now, "told so")
            assert done == told.in_flight
            if done:
                self.fails(channel_id, position, "told so")
        else:
            done = self.inbox.progress(channel_id, envelope_id, self.now)
            assert done == told.in_flight
            if done and not any(t.in_flight for t in log[:position]):
                self.deadlines[channel_id] = self.now + WAIT
        return done

    # Bindings.

    @rule(replays=st.sampled_from([True, True, False]))
    def attach(self, replays: bool) -> None:
        self.inbox.attach(replays=replays)
        self.cut()
        if not replays:
            self.since = {channel_id: len(log) for channel_id, log in self.logs.items()}

    @rule()
    def detach(self) -> None:
        self.inbox.detach()
        self.cut()

    def cut(self) -> None:
        self.since = {}
        for _, _, told in self.told():
            told.in_flight = False

    @precondition(lambda self: self.logs)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        channel_id = data.draw(st.sampled_from(sorted(self.logs)))
        log = self.logs[channel_id]
        position = data.draw(st.integers(0, len(log) - 1))
        owed = sum(t.addressed and not t.settled for t in log[position + 1 :])
        self.inbox.resume(channel_id, position, self.now, owed=owed)
        for each in range(position + 1):
            if log[each].addressed and not log[each].settled:
                self.leaves(channel_id, each)

    @precondition(lambda self: self.logs)
    @rule(channel_id=st.sampled_from(CHANNELS))
    def drop_oldest(self, channel_id: str) -> None:
        if channel_id not in self.logs:
            return
        victim = self.inbox.oldest(channel_id)
        assert (victim is None) == (self.inbox.owed == 0)
        if victim is not None:
            told = self.logs[victim.channel_id][victim.position]
            assert victim.envelope_id in (None, f"{victim.channel_id}{victim.position}")
            assert victim.channel_id == channel_id or not self.owed_in(channel_id)
            assert not told.settled
            assert self.inbox.settle(
                victim.channel_id, victim.position, self.now, addressed=told.addressed
            )
            self.leaves(victim.channel_id, victim.position)

    @precondition(lambda self: any(t.in_flight for _, _, t in self.told()))
    @rule(data=st.data())
    def cannot_be_delivered(self, data: st.DataObject) -> None:
        in_flight = [(ch, i, t) for ch, i, t in self.told() if t.in_flight]
        channel_id, position, told = data.draw(st.sampled_from(in_flight))
        assert self.inbox.give_up(channel_id, position, self.now, "too large")
        self.dying.append(
            DeadLetter(channel_id, position, f"{channel_id}{position}", told.attempts, "too large")
        )
        self.leaves(channel_id, position)

    @precondition(lambda self: any(t.in_flight for _, _, t in self.told()))
    @rule(data=st.data(), sent=st.booleans())
    def is_not_handled_in_time(self, data: st.DataObject, sent: bool) -> None:
        """It waits for room on the connection or (`sent`) for the handler, until it has expired."""
        channel_id, position, told = data.draw(
            st.sampled_from([(ch, i, t) for ch, i, t in self.told() if t.in_flight])
        )
        envelope_id = f"{channel_id}{position}"
        if told.expires is None:
            assert not self.inbox.expire(channel_id, envelope_id, self.now, sent=sent)
            return
        self.now = max(self.now, told.expires)
        told.attempts -= not sent
        assert self.inbox.expire(channel_id, envelope_id, self.now, sent=sent)
        self.leaves(channel_id, position)
        self.unheard.append((channel_id, position))

    @rule(channel_id=st.sampled_from(CHANNELS))
    def channel_is_forgotten(self, channel_id: str) -> None:
        if len(self.logs) == len(CHANNELS):  # seldom enough for logs to grow
            self.inbox.forget(channel_id)
            del self.logs[channel_id]
            self.unheard = [it for it in self.unheard if it[0] != channel_id]
            self.since.pop(channel_id, None)
            self.written.pop(channel_id, None)
            self.dying = [d for d in self.dying if d.channel_id != channel_id]
            self.unburied = [d for d in self.unburied if d.channel_id != channel_id]
            self.reading = [page for page in self.reading if page.channel_id != channel_id]

    # Disk.

    @rule()
    def bury_one(self) -> None:
        if self.unburied:
            letter = self.unburied.pop()
            assert self.inbox.buried(letter.channel_id, letter.position)
            assert not self.inbox.buried(letter.channel_id, letter.position)

    @rule()
    def write_cursors(self) -> None:
        for snapshot in self.inbox.dirty():
            log = self.logs[snapshot.channel_id]
            before = self.written.get(snapshot.channel_id)
            assert before is None or before.cursor <= snapshot.cursor <= len(log)
            for position, told in enumerate(log):
                assert told.settled or not told.addressed or not covers(snapshot, position)
            for letter in (*self.dying, *self.unburied):
                assert letter.channel_id != snapshot.channel_id
            self.written[snapshot.channel_id] = snapshot
        # What is not kept back is up to date on disk.
        kept_back = self.kept_back()
        for channel_id, log in self.logs.items():
            cursor = self.written.get(channel_id, CursorSnapshot(channel_id, 0, ()))
            for position, told in enumerate(log):
                if told.addressed and told.settled and channel_id not in kept_back:
                    assert covers(cursor, position)

    @rule()
    def hub_is_killed(self) -> None:
        """Only what was written is left: the rest is delivered again."""
        self.inbox = Inbox(self.policy, HighestDraw())
        self.reading, self.dying, self.unburied, self.since = [], [], [], {}
        self.unheard = []
        for channel_id, log in self.logs.items():
            cursor = self.written.get(channel_id, CursorSnapshot(channel_id, 0, ()))
            for position, told in enumerate(log):
                settled = covers(cursor, position)
                log[position] = Told(
                    told.addressed, settled=settled and told.addressed, expires=told.expires
                )
            self.inbox.restore(
                channel_id,
                length=len(log),
                cursor=cursor.cursor,
                settled=cursor.settled,
                owed=self.owed_in(channel_id),
            )

    # What is always so.

    @invariant()
    def owed_is_exact(self) -> None:
        for channel_id in self.logs:
            assert self.inbox.owed_in(channel_id) == self.owed_in(channel_id)
        assert self.inbox.owed == sum(self.owed_in(channel_id) for channel_id in self.logs)

    @invariant()
    def the_window_is_never_exceeded(self) -> None:
        inbox = self.inbox
        assert inbox.held == sum(ledger.held for ledger in inbox._ledgers.values())
        assert inbox._pages.reserved == sum(
            page.stop - page.start for page in inbox._pages._reads.values()
        )
        assert inbox.held + inbox._pages.reserved <= self.policy.max_in_flight

    @invariant()
    def whoever_is_behind_has_one_place_in_one_queue(self) -> None:
        inbox = self.inbox
        for channel_id, ledger in inbox._ledgers.items():
            queues = (
                inbox._pages.hungry,
                inbox._pages.behind,
                inbox._pages._reads,
                inbox._pages._paused,
            )
            places = sum(channel_id in queue for queue in queues)
            if inbox.attached and ledger.offered < ledger.length:
                assert places == 1
            else:
                assert places == (
                    channel_id in inbox._pages._reads or channel_id in inbox._pages._paused
                )
            assert channel_id not in inbox._pages.hungry or not ledger.held
            assert channel_id not in inbox._pages.behind or ledger.held

    def teardown(self) -> None:
        """Liveness: with an ack for all that is sent, and every read answered, all settles."""
        if not hasattr(self, "inbox"):
            return
        self.attach(replays=True)
        self.reading.clear()
        rounds = 0
        while self.inbox.owed or self.unburied or self.dying:
            rounds += 1
            assert rounds < 50 + 4 * len(self.told()), "something is never delivered"
            self.now += CAP
            self.poll()
            while self.reading:
                self.answer(self.reading.pop())
            for channel_id, position, told in self.told():
                if told.in_flight:
                    assert self.gives("ack", channel_id, position)
            while self.unburied:
                self.bury_one()
            self.owed_is_exact()
            self.whoever_is_behind_has_one_place_in_one_queue()
        for _ in range(len(self.told()) + 5):  # what is left to read is not addressed
            self.now += CAP
            self.poll()
            while self.reading:
                self.answer(self.reading.pop())
        self.write_cursors()
        assert self.inbox.held == 0
        assert self.inbox.wake_at() is None
        for channel_id, log in self.logs.items():
            assert self.inbox.snapshot(channel_id) == CursorSnapshot(channel_id, len(log), ())


TestInbox = InboxMachine.TestCase
