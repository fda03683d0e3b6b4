"""Alarms: one for each key, few of them due."""

from __future__ import annotations

from trio_hub.protocol.alarms import Alarms


def test_only_the_earliest_alarm_of_a_key_counts() -> None:
    alarms = Alarms()
    alarms.set("a", 5.0)
    alarms.set("a", 3.0)
    alarms.set("a", 9.0)
    assert not alarms.any_due(2.0)
    assert not alarms.any_before(3.0)
    assert alarms.any_before(3.1)
    assert list(alarms.due(4.0)) == ["a"]
    assert list(alarms.due(10.0)) == []


def test_due_keys_come_in_order_of_their_times() -> None:
    alarms = Alarms()
    for key, due in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("d", 4.0)):
        alarms.set(key, due)
    assert list(alarms.due(3.0)) == ["a", "b", "c"]
    assert alarms.earliest(lambda _key: True) == 4.0


def test_what_is_forgotten_or_matters_no_more_does_not_ring() -> None:
    alarms = Alarms()
    alarms.set("forgotten", 1.0)
    alarms.set("moot", 2.0)
    alarms.set("wanted", 3.0)
    alarms.forget("forgotten")
    assert alarms.earliest(lambda key: key != "moot") == 3.0
    assert list(alarms.due(10.0)) == ["wanted"]
    alarms.set("wanted", 1.0)
    alarms.clear()
    assert alarms.earliest(lambda _key: True) is None
    assert not alarms.any_due(10.0)


def test_alarms_that_are_overtaken_do_not_pile_up() -> None:
    alarms = Alarms()
    for due in range(10_000, 0, -1):
        alarms.set("busy", float(due))
        assert len(alarms) <= 70
    assert alarms.earliest(lambda _key: True) == 1.0
    assert alarms.earliest() == 1.0
