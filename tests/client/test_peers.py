"""Finding others, and what is known of them, over a socket in both dialects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
import trio

from trio_hub import (
    AccessBlock,
    AgentClient,
    HubClient,
    MemoryKnowledgeStore,
    NotFoundError,
    ObservedStat,
    Passport,
    ProtocolError,
    Resume,
    Rule,
    TaskState,
    TrackRecord,
    Turn,
    WsLink,
    serve_ws,
)
from trio_hub.errors import AccessDeniedError
from trio_hub.hub import Hub
from trio_hub.wire.frames import Dialect, RequestFrame

from .conftest import Connect
from .scripted_hub import PeerConnection


async def silence(_turn: Turn) -> None:
    return None


@pytest.fixture(params=Dialect)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[HubClient]:
    with trio.fail_after(60):
        async with (
            Hub.open(MemoryKnowledgeStore()) as hub,
            serve_ws(hub, "127.0.0.1", 0) as server,
            HubClient(WsLink(server.url, dialects=[request.param])) as one,
        ):
            yield one


async def join(client: HubClient, name: str, **resume: object) -> AgentClient:
    return await client.register(
        silence,
        Passport(name=name),
        Resume(**resume),  # type: ignore[arg-type]
    )


async def work(agent: AgentClient, capability: str, *durations: int | None) -> None:
    for latency_ms in durations:
        await agent.hub_client.record_observation(
            owner_id=agent.agent_id,
            capability=capability,
            outcome=TaskState.COMPLETED,
            latency_ms=latency_ms,
        )


async def test_track_record_has_percentiles_where_the_hub_may_know_them(client: HubClient) -> None:
    alice = await join(client, "alice")
    await work(alice, "law", *range(1, 21), None)
    record = (await client.get_track_record(alice.agent_id))["law"]
    assert (record.n, record.success_rate, record.p50_latency_ms) == (21, 1.0, 10)
    # AG2's hubs say no more than a resume does.
    assert record.p95_latency_ms == (None if client.speaks_plain else 19)
    observed = (await client.get_resume(alice.agent_id)).observed
    assert observed == {"law": ObservedStat(n=21, completed=21, p50_latency_ms=10)}
    assert isinstance(record, TrackRecord)


async def test_others_are_found_by_what_they_are_and_can_do(client: HubClient) -> None:
    alice = await join(client, "alice", claimed_capabilities=("law",))
    bob = await join(client, "bob", claimed_capabilities=("law",), summary="Sees to RENTS.")
    carol = await join(client, "carol", domains=("Rome",))
    await client.register_human(Passport(name="hanna"))
    await work(carol, "law", 7)

    everybody = await alice.peers.find()
    assert [it.name for it in everybody] == ["bob", "carol", "hanna"]
    lawyers = await alice.peers.find(capability="law", sort_by="track_record")
    assert [it.name for it in lawyers] == ["carol", "bob"]
    assert lawyers[0].track_record.completed == 1
    assert [it.agent_id for it in await alice.peers.find(text="rents")] == [bob.agent_id]
    [in_rome] = await alice.peers.find(domain="Rome", kind="agent")
    assert (in_rome.name, in_rome.capabilities) == ("carol", ("law",))
    assert not await alice.peers.find(kind="remote_agent")

    first = await alice.peers.find(limit=2)
    assert len(first) == 2
    rest = await alice.peers.find(limit=2, after=first.after)
    assert ([it.name for it in rest], rest.after) == (["hanna"], None)
    with pytest.raises(ProtocolError, match="of an earlier page"):
        await alice.peers.find(after="nowhere")


async def test_people_look_around_too(client: HubClient) -> None:
    await join(client, "bob")
    hanna = await client.register_human(Passport(name="hanna"))
    assert [it.name for it in await hanna.peers.find()] == ["bob"]
    assert (await hanna.peers.describe("bob")).skill is None


async def test_all_that_is_known_of_somebody_is_told(client: HubClient) -> None:
    alice = await join(client, "alice")
    page = "---\nname: law\ndescription: Tenancy.\n---\nAsk me."
    bob = await client.register(
        silence, Passport(name="bob"), Resume(summary="Lawyer."), skill_md=page
    )
    await work(bob, "law", 5)
    [found] = await alice.peers.find()
    for whom in ("bob", bob.agent_id, found):
        profile = await alice.peers.describe(whom)
        assert (profile.name, profile.agent_id) == ("bob", bob.agent_id)
        assert profile.resume.summary == "Lawyer."
        assert profile.track_record["law"].p50_latency_ms == 5
        assert profile.skill is not None
        assert (profile.skill.description, profile.skill.body) == ("Tenancy.", "Ask me.")
    with pytest.raises(NotFoundError, match="nobody"):
        await alice.peers.describe("nobody")


async def test_front_matter_that_cannot_be_read_does_no_harm(client: HubClient) -> None:
    alice, bob = await join(client, "alice"), await join(client, "bob")
    page = "---\nname: [unclosed\n---\nAsk me."
    await bob.set_skill(page)
    skill = (await alice.peers.describe("bob")).skill
    assert skill is not None
    assert (skill.body, skill.metadata, skill.name) == (page, {}, "")
    assert "ParserError" in (skill.problem or "")


async def test_an_agent_looks_for_whom_to_ask_in_the_course_of_a_turn(client: HubClient) -> None:
    async def answer(_turn: Turn) -> str:
        return "thirty days"

    async def ask_a_lawyer(turn: Turn) -> str:
        [lawyer] = await turn.peers.find(capability="law")
        return f"{lawyer.name} says {await turn.delegate(lawyer.name, turn.text)}"

    await client.register(answer, Passport(name="bob"), Resume(claimed_capabilities=("law",)))
    await client.register(ask_a_lawyer, Passport(name="desk"))
    alice = await join(client, "alice")
    assert await alice.consult("desk", "how long?") == "bob says thirty days"


async def test_who_has_been_parted_from_the_hub_finds_nobody(client: HubClient) -> None:
    alice = await join(client, "alice")
    await alice.unregister()
    with pytest.raises(NotFoundError):
        await alice.peers.find()
    with pytest.raises(NotFoundError):
        await alice.peers.describe("alice")


@pytest.mark.parametrize("client", [Dialect.BATCHED], indirect=True)
async def test_one_among_very_many_is_found_and_pages_go_through_all(client: HubClient) -> None:
    names = [f"agent-{number:03}" for number in range(300)]
    alice = await join(client, "alice")
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(join, client, name)
    assert [it.name for it in await alice.peers.find(text="-287")] == ["agent-287"]
    found: list[str] = []
    after: str | None = None
    while len(found) < len(names):
        page = await alice.peers.find(limit=1_000, after=after)
        assert len(page) == 100
        found += [it.name for it in page]
        after = page.after
    assert (found, after) == (names, None)


@pytest.mark.parametrize("client", [Dialect.BATCHED], indirect=True)
async def test_whom_a_rule_keeps_one_from_speaking_to_is_not_found(client: HubClient) -> None:
    alice = await join(client, "alice")
    bob, carol = await join(client, "bob"), await join(client, "carol")
    assert [it.name for it in await alice.peers.find()] == ["bob", "carol"]
    await bob.set_rule(Rule(access=AccessBlock(inbound_from=("carol",))))
    assert [it.name for it in await alice.peers.find()] == ["carol"]
    await alice.set_rule(Rule(access=AccessBlock(outbound_to=("bob",))))
    assert not await alice.peers.find()
    assert [it.name for it in await carol.peers.find()] == ["alice", "bob"]


async def resumes_asked_for(
    connect: Connect, answer: Callable[[PeerConnection, RequestFrame, str], None]
) -> list[str]:
    """Look around at a hub that lists two others, and return the names of those that are found."""
    names: list[str] = []
    async with connect(Dialect.PLAIN) as (client, hub), trio.open_nursery() as nursery:
        alice = await join(client, "alice")

        async def find() -> None:
            names.extend(it.name for it in await alice.peers.find())

        nursery.start_soon(find)
        listing = await hub.next_request("list_agents")
        hub.answer(listing, [{"name": it, "agent_id": f"id-{it}"} for it in ("alice", "b", "c")])
        for _ in "bc":
            request = await hub.next_request("get_resume")
            answer(hub, request, msgspec.json.decode(request.params)["agent_id"])
    return names


async def test_one_who_leaves_while_one_looks_around_is_not_found(connect: Connect) -> None:
    def answer(hub: PeerConnection, request: RequestFrame, agent_id: str) -> None:
        if agent_id == "id-b":
            hub.refuse(request, NotFoundError("gone"))
        else:
            hub.answer(request, {})

    assert await resumes_asked_for(connect, answer) == ["c"]


async def test_a_hub_that_refuses_a_resume_is_one_plain_error(connect: Connect) -> None:
    def refuse(hub: PeerConnection, request: RequestFrame, _agent_id: str) -> None:
        hub.refuse(request, AccessDeniedError("not for you"))

    with pytest.RaisesGroup(pytest.RaisesExc(AccessDeniedError, match="not for you")):
        await resumes_asked_for(connect, refuse)
