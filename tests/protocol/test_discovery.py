"""Who is found by what, in which order, and how much of it is shown at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from trio_hub.errors import ProtocolError
from trio_hub.protocol.discovery import PEERS_MAX, PeerQuery, find, first_of, may_ask, page_of
from trio_hub.protocol.latency_sketch import LatencySketch
from trio_hub.records import (
    AccessBlock,
    CostProfile,
    ObservedStat,
    Passport,
    Resume,
    Rule,
    TrackRecord,
)


@attrs.frozen
class Agent:
    """One that is known of."""

    passport: Passport
    resume: Resume = attrs.field(factory=Resume)
    latencies: Mapping[str, LatencySketch] = attrs.field(factory=dict)

    def latencies_of(self, capabilities: Iterable[str]) -> list[LatencySketch]:
        return [self.latencies[it] for it in capabilities if it in self.latencies]


def agent(name: str, *, cost: float | None = None, kind: Any = None, **resume: Any) -> Agent:
    profile = None if cost is None else CostProfile(input_per_mtok=cost)
    passport = Passport(name=name, agent_id=f"id of {name}", cost=profile, kind=kind)
    return Agent(passport, Resume(**resume))


def names(agents: Iterable[Agent], **query: Any) -> list[str]:
    return [it.name for it in find(agents, PeerQuery(**query))]


LAWYER = agent(
    "lawyer",
    claimed_capabilities=("law",),
    domains=("Berlin", "tenancy"),
    summary="Answers what TENANTS ask.",
    observed={"tax": ObservedStat(n=1, completed=1)},
)
CLERK = agent("clerk", domains=("Rome",), claimed_capabilities=("filing",))
HANNA = agent("hanna", kind="human", claimed_capabilities=("law",))
FAR = agent("hub://there/bob", kind="remote_agent")
EVERYBODY = [LAWYER, HANNA, CLERK, FAR]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["clerk", "hanna", "hub://there/bob", "lawyer"]),
        ({"capability": "law"}, ["hanna", "lawyer"]),
        ({"capability": "tax"}, ["lawyer"]),
        ({"capability": "Law"}, []),
        ({"domain": "tenancy"}, ["lawyer"]),
        ({"domain": "tenan"}, []),
        ({"text": "tenants"}, ["lawyer"]),
        ({"text": "ROM"}, ["clerk"]),
        ({"text": "TAX"}, ["lawyer"]),
        ({"text": "there/"}, ["hub://there/bob"]),
        ({"text": ""}, ["clerk", "hanna", "hub://there/bob", "lawyer"]),
        ({"kind": "agent"}, ["clerk", "lawyer"]),
        ({"kind": "human"}, ["hanna"]),
        ({"kind": "remote_agent"}, ["hub://there/bob"]),
        ({"capability": "law", "kind": "agent", "domain": "Berlin", "text": "law"}, ["lawyer"]),
        ({"capability": "law", "domain": "Rome"}, []),
    ],
)
def test_who_meets_all_that_is_given_is_found(query: dict[str, Any], found: list[str]) -> None:
    assert names(EVERYBODY, **query) == found


def test_cheapest_first_and_those_that_do_not_say_last() -> None:
    agents = [agent("a"), agent("b", cost=3.0), agent("c", cost=0.5), agent("d", cost=3.0)]
    assert names(agents, sort_by="cost") == ["c", "b", "d", "a"]
    no_figure = Agent(Passport(name="0", agent_id="0", cost=CostProfile(latency_tier="fast")))
    assert names([*agents, no_figure], sort_by="cost")[-2:] == ["0", "a"]


def test_best_first_and_much_good_work_counts_for_more_than_one_success() -> None:
    def did(name: str, **observed: tuple[int, int]) -> Agent:
        stats = {it: ObservedStat(completed=c, n=n) for it, (c, n) in observed.items()}
        return agent(name, observed=stats)

    agents = [
        did("often", law=(99, 100)),
        did("once", law=(1, 1)),
        did("never"),
        did("badly", law=(1, 10)),
        did("elsewhere", tax=(50, 50)),
    ]
    assert names(agents, sort_by="track_record") == [
        *("elsewhere", "often", "once", "never", "badly")
    ]
    # Of the capability that is asked for, only that counts.
    assert names(agents, sort_by="track_record", capability="law") == ["often", "once", "badly"]


def test_what_is_shown_of_somebody_is_what_was_asked_for() -> None:
    slow, quick = LatencySketch().add(9_000), LatencySketch().add(10).add(10)
    resume = Resume(
        claimed_capabilities=("law", "art"),
        observed={"tax": ObservedStat(n=2, completed=2), "law": ObservedStat(n=1, failed=1)},
        summary="Knows.",
        domains=("Berlin",),
    )
    bob = Agent(Passport(name="bob", agent_id="1"), resume, {"law": slow, "tax": quick})
    [peer] = find([bob], PeerQuery())
    assert (peer.name, peer.agent_id, peer.kind, peer.summary) == ("bob", "1", "agent", "Knows.")
    assert (peer.capabilities, peer.domains) == (("law", "art", "tax"), ("Berlin",))
    assert peer.track_record == TrackRecord(
        n=3,
        completed=2,
        failed=1,
        p50_latency_ms=10,
        p95_latency_ms=slow.percentile(100),
        p99_latency_ms=slow.percentile(100),
    )
    tax = find([bob], PeerQuery(capability="tax"))[0].track_record
    assert (tax.n, tax.success_rate, tax.p99_latency_ms) == (2, 1.0, 10)
    # Claimed, and never seen.
    assert find([bob], PeerQuery(capability="art"))[0].track_record == TrackRecord()


def test_one_who_says_much_is_cut_short() -> None:
    words = tuple(f"{number}{'x' * 300}" for number in range(1_000))
    chatty = agent("chatty", summary="s" * 10_000, domains=words, claimed_capabilities=words)
    [peer] = find([chatty], PeerQuery())
    assert (len(peer.summary), peer.summary[-1]) == (1_000, "…")
    for shown in (peer.domains, peer.capabilities):
        assert len(shown) == 50
        assert {len(it) for it in shown} == {200}
    # What is cut off is found all the same.
    assert names([chatty], domain=words[-1]) == ["chatty"]


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=3),
        st.tuples(st.none() | st.floats(0, 5), st.integers(0, 3), st.integers(0, 3)),
        max_size=12,
    ),
    st.sampled_from(["name", "track_record", "cost"]),
    st.integers(1, 5),
)
def test_pages_put_together_are_everybody_once_in_order(
    given_agents: dict[str, tuple[float | None, int, int]], sort_by: Any, limit: int
) -> None:
    agents = [
        agent(name, cost=cost, observed={"c": ObservedStat(n=n + done, completed=done)})
        for name, (cost, n, done) in given_agents.items()
    ]
    whole = names(agents, sort_by=sort_by, limit=PEERS_MAX)
    assert sorted(whole) == sorted(given_agents)
    put_together: list[str] = []
    query = PeerQuery(sort_by=sort_by, limit=limit)
    while True:
        page = find(agents, query)
        assert len(page) == min(limit, len(agents) - len(put_together))
        put_together += [it.name for it in page]
        if page.after is None:
            break
        query = attrs.evolve(query, after=page.after)
    assert put_together == whole


@given(st.permutations("abcdefgh"), st.integers(1, 9), st.integers(1, 9))
def test_looking_piece_by_piece_finds_the_same_page(
    order: list[str], limit: int, piece: int
) -> None:
    agents = [agent(name, cost=float(ord(name) % 3)) for name in order]
    query = PeerQuery(limit=limit, sort_by="cost")
    first = [
        it
        for start in range(0, len(agents), piece)
        for it in first_of(agents[start : start + piece], query)
    ]
    assert page_of(first, query) == find(agents, query)


def test_a_page_is_bounded_whatever_is_asked_for() -> None:
    agents = [agent(f"{number:03}") for number in range(PEERS_MAX + 1)]
    page = find(agents, PeerQuery(limit=10**9))
    assert len(page) == PEERS_MAX
    assert names(agents, after=page.after, limit=10**9) == [f"{PEERS_MAX:03}"]


def test_the_next_page_goes_on_though_the_last_one_has_left() -> None:
    agents = [agent(name) for name in "abcd"]
    page = find(agents, PeerQuery(limit=2))
    assert names([agents[0], agents[3]], after=page.after) == ["d"]


@pytest.mark.parametrize("after", ["", "bob", "x bob", "1,5 bob"])
def test_a_place_that_is_of_no_page_is_refused(after: str) -> None:
    with pytest.raises(ProtocolError, match="the `after` of an earlier page"):
        find([LAWYER], PeerQuery(after=after))


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"sort_by": "beauty"}, {"kind": "robot"}])
def test_a_query_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PeerQuery(**wrong)


@pytest.mark.parametrize(
    ("outbound", "inbound", "may"),
    [
        (("*",), ("*",), True),
        (("b*",), ("alice",), True),
        (("carol",), ("*",), False),
        (("*",), ("carol",), False),
    ],
)
def test_rules_keep_apart_whom_they_do(
    outbound: tuple[str, ...], inbound: tuple[str, ...], may: bool
) -> None:
    alice, bob = (Passport(name=it, agent_id=it) for it in ("alice", "bob"))
    asker_rule = Rule(access=AccessBlock(outbound_to=outbound))
    peer_rule = Rule(access=AccessBlock(inbound_from=inbound))
    assert may_ask(alice, asker_rule, bob, peer_rule) is may
    assert not may_ask(alice, asker_rule, alice, peer_rule)
