"""What the metrics say is what happened, read over real HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from trio_hub import (
    DeliveryPolicy,
    DiskKnowledgeStore,
    HubListener,
    MemoryKnowledgeStore,
)
from trio_hub.errors import NetworkError
from trio_hub.metrics import METRICS
from trio_hub.protocol.backoff import Backoff
from trio_hub.testing import FaultyStore

from ..hub.peer import open_house
from .pages import get, samples, watch

TEXT = "what-nobody-else-may-read"


async def scrape(url: str) -> dict[str, float]:
    answer = await get(url, "/metrics")
    assert answer.status_code == 200
    return samples(answer.text)


async def test_every_family_is_shown_with_its_help_and_kind() -> None:
    async with open_house() as house:
        server = await watch(house)
        answer = await get(server.url, "/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        for metric in METRICS:
            name = metric.name + ("_total" if metric.kind == "counter" else "")
            assert f"# TYPE {name} {metric.kind}\n" in answer.text
            assert f"# HELP {name} {metric.help}\n" in answer.text
            assert metric.help.endswith(".")
        assert "process_resident_memory_bytes" in answer.text
    assert len({metric.name for metric in METRICS}) == len(METRICS)


async def test_one_who_asks_for_openmetrics_gets_it() -> None:
    async with open_house() as house:
        server = await watch(house)
        answer = await get(server.url, "/metrics", accept="application/openmetrics-text")
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")


async def test_what_went_through_is_counted() -> None:
    policy = DeliveryPolicy(backoff=Backoff(base=0.001, cap=0.002), max_attempts=2)
    async with open_house(delivery=policy) as house:
        server = await watch(house)
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        bob.ack(await bob.hears(event_type="ag2.channel.opened"))
        before = await scrape(server.url)
        await alice.say(channel_id, TEXT)
        for _ in range(2):
            bob.nack(await bob.hears(TEXT), "broken")
        await bob.quiet()
        after = await scrape(server.url)

        def grown(name: str) -> float:
            return after[name] - before.get(name, 0.0)

        assert after["trio_hub_names_revoked"] == 0
        assert grown('trio_hub_posts_total{channel_type="conversation"}') == 1
        assert grown("trio_hub_deliveries_total") == 2
        assert grown("trio_hub_redeliveries_total") == 1
        assert grown('trio_hub_receipts_total{status="nack"}') == 2
        assert grown("trio_hub_dead_letters_buried_total") == 1
        assert after["trio_hub_dead_letters"] == 1
        assert after["trio_hub_connections"] == after["trio_hub_connections_opened_total"] == 2
        assert after["trio_hub_agents"] == 2
        assert after["trio_hub_channels"] == 1


async def test_who_is_shut_out_is_counted_as_long_as_that_lasts() -> None:
    async with open_house() as house:
        server = await watch(house)
        for name in ("alice", "bob"):
            await house.hub.revoke_agent(name, "x")
        assert (await scrape(server.url))["trio_hub_names_revoked"] == 2
        await house.hub.reinstate_agent("bob")
        assert (await scrape(server.url))["trio_hub_names_revoked"] == 1


async def test_what_is_refused_is_counted_by_reason() -> None:
    async with open_house() as house:
        server = await watch(house)
        rude = await house.join("rude")
        rude.send_text("no frame")
        rude.send("hello", name="nobody")
        for op, params in (("fly", {}), ("fly", {}), ("pending_turns_for", {"agent_id": "x"})):
            with pytest.raises(NetworkError):
                await rude.request(op, **params)
        other = await house.join("other")
        channel_id = await rude.open("consulting", other)
        await rude.say(channel_id, "what?")
        with pytest.raises(NetworkError):
            await rude.say(channel_id, "what again?")
        page = await scrape(server.url)
        assert page['trio_hub_refusals_total{code="protocol_error",what="frame"}'] == 1
        assert page['trio_hub_refusals_total{code="not_found",what="hello"}'] == 1
        assert page['trio_hub_refusals_total{code="access_denied",what="request"}'] == 1
        assert page['trio_hub_refusals_total{code="protocol_error",what="request"}'] == 3
        assert page['trio_hub_posts_rejected_total{code="protocol_error"}'] == 1


@pytest.mark.parametrize("where", ["with its recipient", "while it is away"])
async def test_the_oldest_unacked_envelope_ages(where: str) -> None:
    time = 1_700_000_000.0
    async with open_house(clock=lambda: time) as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        bob.ack(await bob.hears(event_type="ag2.channel.opened"))
        await bob.quiet()
        assert (await house.hub.survey_backlog())["conversation"].envelopes == 0
        if where == "while it is away":
            bob.cut()
            await bob.gone()
        time += 100
        await alice.say(channel_id, "old")
        time += 100
        await alice.say(channel_id, "young")
        for _ in range(2):  # The second time, it is remembered.
            backlog = (await house.hub.survey_backlog())["conversation"]
            assert backlog.envelopes == 2
            assert backlog.oldest_at == pytest.approx(1_700_000_100.0, abs=0.01)
        if where == "while it is away":
            bob = await house.back("bob", acks=False)
        bob.ack(await bob.hears("old"))
        await bob.quiet()
        backlog = (await house.hub.survey_backlog())["conversation"]
        assert backlog.envelopes == 1
        assert backlog.oldest_at == pytest.approx(1_700_000_200.0, abs=0.01)
        bob.ack(await bob.hears("young"))
        await bob.quiet()
        backlog = (await house.hub.survey_backlog())["conversation"]
        assert (backlog.envelopes, backlog.oldest_at) == (0, None)


async def test_what_is_owed_is_on_the_page() -> None:
    async with open_house() as house:
        server = await watch(house)
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        await alice.say(channel_id, "hi")
        await bob.hears("hi")
        page = await scrape(server.url)
        assert page['trio_hub_unacked{channel_type="conversation"}'] == 2  # and the opening
        assert page['trio_hub_oldest_unacked_seconds{channel_type="conversation"}'] >= 0


async def test_a_backlog_that_cannot_be_read_is_counted_all_the_same() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await bob.quiet()
        bob.cut()
        await bob.gone()
        await alice.say(channel_id, "hi")
        store.fail("read_range")
        backlog = (await house.hub.survey_backlog())["conversation"]
        assert (backlog.envelopes, backlog.oldest_at) == (1, None)
        backlog = (await house.hub.survey_backlog())["conversation"]
        assert backlog.oldest_at is not None


class SlowToRead(MemoryKnowledgeStore):
    """Takes its time to read a log."""

    async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
        await trio.sleep(0.3)
        return await super().read_range(path, start, stop)


async def test_a_slow_store_does_not_keep_a_survey(autojump_clock: trio.testing.MockClock) -> None:
    """What there was no time for is looked up the next time."""
    accepted = 1_700_000_000.0
    async with open_house(SlowToRead(), clock=lambda: accepted) as house:
        alice = await house.join("alice")
        others = [await house.join(f"other {number}") for number in range(10)]
        channels = [await alice.open("conversation", other) for other in others]
        for other in others:
            await other.quiet()
            other.cut()
            await other.gone()
        for channel_id in reversed(channels):
            # The last to be looked at has waited longest.
            accepted += 100
            await alice.say(channel_id, "hi")
        found = []
        for _ in range(4):
            begun = trio.current_time()
            backlog = (await house.hub.survey_backlog())["conversation"]
            assert trio.current_time() - begun < 1.5
            assert backlog.envelopes == 10
            found.append(backlog.oldest_at)
        assert found == sorted(found, reverse=True)
        assert found[0] > found[-1] == pytest.approx(1_700_000_100.0, abs=0.01)


async def test_commits_are_measured_by_the_hub_and_by_the_disk(tmp_path: Path) -> None:
    async with open_house(DiskKnowledgeStore(tmp_path / "store")) as house:
        server = await watch(house)
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await alice.say(channel_id, "hi")
        page = await scrape(server.url)
        kept = page["trio_hub_commits_total"]
        assert kept >= 4
        assert page["trio_hub_commit_seconds_count"] == kept
        assert page['trio_hub_commit_seconds_bucket{le="+Inf"}'] == kept
        assert page["trio_hub_write_batches_sum"] >= kept
        assert page["trio_hub_write_seconds_count"] == page["trio_hub_write_batches_count"] > 0
        assert 0 < page["trio_hub_write_seconds_sum"] <= page["trio_hub_commit_seconds_sum"]


async def test_two_slow_listeners_of_one_class_are_one_sample() -> None:
    class Deaf(HubListener):
        async def on_connection_event(self, *_: object) -> None:
            raise AssertionError("never heard: there is no room for anything")

    async with open_house() as house:
        server = await watch(house)
        async with (
            house.hub.add_listener(Deaf(), queue_max=0),
            house.hub.add_listener(Deaf(), queue_max=0),
        ):
            await house.join("alice")
            page = await scrape(server.url)
        dropped = [value for name, value in page.items() if "listener_events_dropped" in name]
        assert len(dropped) == 1


async def test_no_text_of_an_agent_and_no_key_is_on_any_page() -> None:
    async with open_house() as house:
        server = await watch(house)
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        await alice.say(channel_id, TEXT)
        for path in ("/metrics", "/healthz", "/readyz"):
            assert TEXT not in (await get(server.url, path)).text
