"""How much of a log may go, how much of it should, and when to look."""

from __future__ import annotations

import pytest

from trio_hub.protocol.retention import Retention
from trio_hub.protocol.trimming import Cut, Needs, TrimSchedule, TrimWish, trimmable_to


@pytest.mark.parametrize(
    ("needs", "stays"),
    [
        (Needs(length=10), 9),
        (Needs(length=10, settled=[10, 7, 9]), 7),
        (Needs(length=10, settled=[10], letters=[4, 6]), 4),
        # The last record that is in a snapshot says whose it is.
        (Needs(length=10, snapshots=[10, 8]), 7),
        (Needs(length=10, snapshots=[10, 0]), 0),
        (Needs(length=10, settled=[10], turn=3), 3),
        (Needs(length=10, settled=[10], turn=0), 0),
        (Needs(length=10, settled=[10], has_task=True), 0),
        (Needs(length=1), 0),
        (Needs(length=0), 0),
    ],
)
def test_log_stays_from_where_somebody_needs_it(needs: Needs, stays: int) -> None:
    assert trimmable_to(needs) == stays


def cut(wish: TrimWish, *, first: int = 0, limit: int = 9, size: int = 1000) -> int:
    """Let ten records of 100 bytes be, one accepted each second from 100 on, seen at 110."""
    it = Cut(wish, first=first, length=10, limit=limit, now=110.0, size=size)
    for position in range(first, 10):
        if not it.take(100.0 + position, 100):
            break
    return it.stop


@pytest.mark.parametrize(
    ("wish", "begins"),
    [
        (TrimWish(), 0),
        (TrimWish(seconds=7), 4),
        (TrimWish(seconds=7.5), 3),
        (TrimWish(seconds=99), 0),
        (TrimWish(seconds=0), 9),
        (TrimWish(records=4), 6),
        (TrimWish(records=10), 0),
        (TrimWish(records=0), 9),
        (TrimWish(size=350), 7),
        (TrimWish(size=400), 6),
        (TrimWish(size=1000), 0),
        (TrimWish(seconds=9, records=6, size=900), 4),
    ],
)
def test_record_goes_when_one_of_the_wishes_says_so(wish: TrimWish, begins: int) -> None:
    assert cut(wish) == begins
    assert cut(wish, limit=2) == min(begins, 2)
    assert cut(wish, limit=0) == 0


def test_what_went_before_does_not_count() -> None:
    assert cut(TrimWish(size=350), first=5, size=500) == 7
    assert cut(TrimWish(records=4), first=7) == 7
    assert cut(TrimWish(records=4), first=5) == 6


def test_what_cannot_be_read_is_old() -> None:
    it = Cut(TrimWish(seconds=7), first=0, length=10, limit=9, now=110.0)
    assert it.take(None, 0)
    assert not it.take(109.0, 100)
    assert it.stop == 1
    it = Cut(TrimWish(records=10), first=0, length=10, limit=9, now=110.0)
    assert not it.take(None, 0)


def test_wish_for_nothing_keeps_all() -> None:
    assert TrimWish().keeps_all
    for wish in (TrimWish(seconds=0), TrimWish(records=0), TrimWish(size=0)):
        assert not wish.keeps_all


def test_earliest_look_counts() -> None:
    schedule = TrimSchedule()
    assert schedule.wake_at is None
    assert schedule.due(100.0) is None
    schedule.look("later", 20.0)
    schedule.look("sooner", 10.0)
    schedule.look("later", 30.0)
    assert (len(schedule), schedule.wake_at) == (2, 10.0)
    assert schedule.due(9.0) is None
    assert schedule.due(20.0) == "sooner"
    assert schedule.due(20.0) == "later"
    assert schedule.due(20.0) is None
    assert len(schedule) == 0


def test_channel_is_looked_at_once_for_all_that_was_said_of_it() -> None:
    schedule = TrimSchedule()
    schedule.look("it", 20.0)
    schedule.look("it", 10.0)
    assert schedule.due(30.0) == "it"
    assert schedule.due(30.0) is None
    schedule.look("it", 20.0)
    assert schedule.due(30.0) == "it"


def test_retention_says_what_is_kept_of_logs() -> None:
    retention = Retention(
        records_for="1m",
        records_max=5,
        records_bytes_max=7,
        by_type={"consulting": Retention(ended_for=1)},
    )
    assert retention.trim_wish("conversation") == TrimWish(seconds=60.0, records=5, size=7)
    assert retention.trim_wish("consulting").keeps_all
    assert retention.keeps_ended is False
    assert retention.keeps_records is False
    assert retention.keeps_all is False


def test_retention_of_ended_channels_is_apart_from_that_of_records() -> None:
    ended, records = Retention(ended_max=1), Retention(records_max=1)
    assert (ended.keeps_ended, ended.keeps_records, ended.keeps_all) == (False, True, False)
    assert (records.keeps_ended, records.keeps_records, records.keeps_all) == (True, False, False)
    nothing = Retention()
    assert nothing.keeps_ended
    assert nothing.keeps_records
    assert nothing.keeps_all
    inner = Retention(by_type={"consulting": Retention(records_for=1)})
    assert (inner.keeps_ended, inner.keeps_records, inner.keeps_all) == (True, False, False)
    with pytest.raises(ValueError, match="records_max cannot be negative"):
        Retention(records_max=-1)
    with pytest.raises(ValueError, match="records_bytes_max cannot be negative"):
        Retention(records_bytes_max=-1)
