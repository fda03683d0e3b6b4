"""Fixed bounds of what is written down: names, reasons, rules, skill pages, workflows."""

from __future__ import annotations

from typing import Any

import pytest

from trio_hub import DeliveryPolicy, Revocation
from trio_hub.errors import AccessDeniedError, ProtocolError, TooLarge
from trio_hub.hub import announcer, attempts, doorstep, named_book
from trio_hub.protocol import front_matter, globs, latency_sketch, skill
from trio_hub.protocol.federation import crossing
from trio_hub.protocol.workflow import TransitionGraph, graph, packets
from trio_hub.records import dead_letter, revocation

from ..hub.peer import House, Peer, open_house
from .hub_cases import guarded_house, is_let_in
from .registry import case, text


async def _sets_rule(alice: Peer, patterns: list[str]) -> None:
    await alice.request("set_rule", agent_id=alice.id, rule={"access": {"inbound_from": patterns}})


async def _takes_patterns(fitting: list[str], one_more: str) -> None:
    async with open_house() as house:
        alice = await house.join("alice")
        await _sets_rule(alice, fitting)
        with pytest.raises(ProtocolError):
            await _sets_rule(alice, [*fitting, one_more])


@case(globs, "PATTERNS_MAX")
async def patterns() -> None:
    await _takes_patterns([f"n{number}" for number in range(globs.PATTERNS_MAX)], "one more")


@case(globs, "REGULAR_PATTERNS_MAX")
async def regular_patterns() -> None:
    await _takes_patterns([f"n{number}?" for number in range(globs.REGULAR_PATTERNS_MAX)], "m?")


@case(globs, "PATTERN_CHARACTERS_MAX")
async def pattern_characters() -> None:
    most = globs.PATTERN_CHARACTERS_MAX
    await _takes_patterns([text(most)], text(most + 1))


@case(named_book, "NAME_CHARACTERS_MAX")
async def name_characters() -> None:
    most = named_book.NAME_CHARACTERS_MAX
    async with open_house() as house:
        await house.hub.revoke_agent(text(most), "it is over")
        with pytest.raises(ProtocolError, match=str(most)):
            await house.hub.revoke_agent(text(most + 1), "it is over")
        peer = await house.peer()
        await peer.register("y" * most)
        with pytest.raises(ProtocolError, match=f"{most + 1} characters.* at most {most}"):
            await peer.register("y" * (most + 1))


@case(revocation, "REVOCATION_REASON_CHARACTERS_MAX")
async def revocation_reason() -> None:
    most = revocation.REVOCATION_REASON_CHARACTERS_MAX
    async with open_house() as house:
        found: Revocation = await house.hub.revoke_agent("alice", text(most))
        assert found.reason == text(most)
        with pytest.raises(ProtocolError, match=str(most)):
            await house.hub.revoke_agent("bob", text(most + 1))


@case(doorstep, "ASKED_NAME_CHARACTERS_MAX")
async def asked_name() -> None:
    most = doorstep.ASKED_NAME_CHARACTERS_MAX
    async with guarded_house() as house:
        peer = await house.peer()
        assert await peer.request("find_agent_id", name=text(most)) is None
        with pytest.raises(AccessDeniedError):
            await peer.request("find_agent_id", name=text(most + 1))


@case(attempts, "ATTEMPT_NAME_CHARACTERS_MAX", virtual=True)
async def attempt_name() -> None:
    most = attempts.ATTEMPT_NAME_CHARACTERS_MAX
    # Names that differ within the bound are two, and those that differ behind it one.
    for alike, answer in ((most - 1, "auth_failed"), (most, "rate_limited")):
        async with guarded_house(failed_authentications_per_minute=1) as house:
            eve = await house.peer()
            assert await is_let_in(eve, text(alike) + "a", "guess") == "auth_failed"
            assert await is_let_in(eve, text(alike) + "b", "guess") == answer


async def _audited(house: House, kind: str) -> dict[str, Any]:
    page = await house.hub.audit.query(kind=kind)
    details: dict[str, Any] = dict(page.records[-1].details)
    return details


@case(announcer, "AUDITED_CHARACTERS_MAX")
async def audited_characters() -> None:
    most = announcer.AUDITED_CHARACTERS_MAX
    async with guarded_house() as house:
        eve = await house.peer()
        for size in (most, most + 1):
            assert await is_let_in(eve, text(size), "guess") == "auth_failed"
            assert (await _audited(house, "auth_failed"))["name"] == text(most)


@case(dead_letter, "FAILURE_CHARACTERS_MAX")
async def failure_characters() -> None:
    most = dead_letter.FAILURE_CHARACTERS_MAX
    async with open_house(delivery=DeliveryPolicy(max_attempts=1)) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await bob.quiet()
        bob.acks = False
        for size in (most, most + 1):
            envelope_id = await alice.say(channel_id, str(size))
            bob.nack(await bob.hears(str(size)), text(size))
            await bob.quiet()
            letter = house.hub.list_dead_letters().letters[-1]
            assert (letter.envelope_id, letter.reason) == (envelope_id, text(most))


async def _reads_skill(lines: str) -> tuple[dict[str, Any], str]:
    """Register a skill page with such front matter; return what another reads of it."""
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.peer()
        await bob.register("bob", skill_md=f"---\n{lines}\n---\nThe page.")
        read = skill.read_skill(await alice.request("get_skill", agent_id=bob.id))
        assert read.body == "The page." or read.problem
        return read.metadata, read.problem or ""


@case(front_matter, "FRONT_MATTER_CHARACTERS_MAX")
async def front_matter_characters() -> None:
    # With the ends of lines, as it stands between those of `---`.
    room = front_matter.FRONT_MATTER_CHARACTERS_MAX - len("\na: \n")
    assert await _reads_skill(f"a: {text(room)}") == ({"a": text(room)}, "")
    metadata, problem = await _reads_skill(f"a: {text(room + 1)}")
    assert metadata == {}
    assert f"{front_matter.FRONT_MATTER_CHARACTERS_MAX + 1} characters" in problem


@case(skill, "FRONT_MATTER_VALUES_MAX")
async def front_matter_values() -> None:
    # An anchor of a thousand characters, followed so often that it comes to just as much.
    most, size = skill.FRONT_MATTER_VALUES_MAX, 1000
    # The mapping, its two keys, the text and the list; then one and the text for each alias.
    rest = most - (1 + 1 + (1 + size) + 1 + 1)
    aliases, left = divmod(rest, 1 + size)
    assert left > 1
    for more, is_read in ((0, True), (1, False)):
        last = text(left - 1 + more)
        metadata, problem = await _reads_skill(
            f"a: &a {text(size)}\nb: [{', '.join([*['*a'] * aliases, last])}]"
        )
        assert bool(metadata) == is_read
        assert ("too much" in problem) == (not is_read)


@case(skill, "FRONT_MATTER_LEVELS_MAX")
async def front_matter_levels() -> None:
    most = skill.FRONT_MATTER_LEVELS_MAX
    for levels, is_read in ((most, True), (most + 1, False)):
        # The value of the key is one level, and what is in the innermost list another.
        nested = "[" * (levels - 1) + "x" + "]" * (levels - 1)
        metadata, problem = await _reads_skill(f"a: {nested}")
        assert bool(metadata) == is_read
        assert ("nested deeper" in problem) == (not is_read)


@case(graph, "TRANSITIONS_MAX")
async def transitions() -> None:
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        rule = {
            "when": {"name": "always", "args": {}},
            "then": {"name": "terminate", "args": {}},
        }

        async def opens(count: int) -> None:
            turns = {"initial_speaker": alice.id, "transitions": [rule] * count}
            await alice.open("workflow", bob, knobs={"graph": turns})

        await opens(graph.TRANSITIONS_MAX)
        with pytest.raises(ProtocolError, match="transitions"):
            await opens(graph.TRANSITIONS_MAX + 1)


@case(packets, "CONTEXT_BYTES_MAX")
async def context_variables() -> None:
    fits = text(packets.CONTEXT_BYTES_MAX - len('"a":"",'))
    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        turns = TransitionGraph.round_robin([alice.id, bob.id]).to_dict()

        async def opens(value: str) -> str:
            knobs = {"graph": turns, "context_vars": {"a": value}}
            return await alice.open("workflow", bob, knobs=knobs)

        with pytest.raises(TooLarge):
            await opens(fits + "x")
        channel_id = await opens(fits)
        with pytest.raises(TooLarge, match="context variables"):
            await _sets(bob, channel_id, set={"b": 1})
        await _sets(bob, channel_id, set={"b": 1}, delete=["a"])
        left = text(len(fits) - len('"b":1,'))
        with pytest.raises(TooLarge):
            await _sets(bob, channel_id, set={"a": left + "x"})
        await _sets(bob, channel_id, set={"a": left})


async def _sets(peer: Peer, channel_id: str, **changes: Any) -> None:
    await peer.say(channel_id, "", event_type="ag2.context.set", event_data=changes)


@case(latency_sketch, "MILLISECONDS_MAX")
async def milliseconds() -> None:
    most = latency_sketch.MILLISECONDS_MAX
    sketches = [
        latency_sketch.LatencySketch().add(it) for it in (most // 2, most, most + 1, 10 * most)
    ]
    assert sketches[0] != sketches[1] == sketches[2] == sketches[3]


@case(latency_sketch, "BUCKETS_MAX")
async def buckets() -> None:
    most = latency_sketch.BUCKETS_MAX
    full = latency_sketch.LatencySketch(counts=dict.fromkeys(range(-1, most - 1), 1))
    assert len(full.counts) == most
    with pytest.raises(ValueError, match="buckets"):
        latency_sketch.LatencySketch(counts=dict.fromkeys(range(-1, most), 1))


@case(crossing, "HOPS_MAX")
async def hops() -> None:
    most = crossing.HOPS_MAX
    path = tuple(f"hub{number}" for number in range(most))
    crossing.check_path(path, me="here", peer=path[-1])
    with pytest.raises(ProtocolError, match="hops"):
        crossing.check_path(("further", *path), me="here", peer=path[-1])
