"""Starting again: nothing that was answered is gone, and no damage keeps a hub from starting."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_hub import DiskKnowledgeStore
from trio_hub.errors import ProtocolError
from trio_hub.hub import paths

from ..protocol.channels import ClumsyAdapter
from .conftest import OpenHouse


async def test_ag2_an_envelope_that_cannot_be_folded_does_not_keep_the_hub_from_starting(
    hub_house: OpenHouse, tmp_path: Path
) -> None:
    """AG2 folds every log when it opens, and raises what a fold raises."""
    async with hub_house(DiskKnowledgeStore(tmp_path)) as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        sick = await alice.open("conversation", bob)
        well = await alice.open("consulting", bob)
        await alice.say(sick, "poison", event_type="app.poison")
        await alice.say(sick, "owed")
        await bob.quiet()
    adapter = ClumsyAdapter("fold", only_for="app.poison")
    async with hub_house(DiskKnowledgeStore(tmp_path), adapters=[adapter]) as house:
        alice, bob = await house.back("alice"), await house.back("bob")
        await bob.hears("owed")
        with pytest.raises(ProtocolError, match="damaged"):
            await alice.say(sick, "more")
        await alice.say(well, "what?")
        await bob.hears("what?")
        assert any(sick in problem for problem in house.hub.health().problems)


async def test_ag2_a_torn_record_does_not_keep_the_hub_from_starting(
    hub_house: OpenHouse, tmp_path: Path
) -> None:
    """AG2 raises on a line of its log that is no JSON."""
    async with hub_house(DiskKnowledgeStore(tmp_path)) as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        sick = await alice.open("conversation", bob)
        well = await alice.open("consulting", bob)
        await alice.say(sick, "whole")
        await bob.hears("whole")
        await bob.quiet()
    async with DiskKnowledgeStore(tmp_path) as store:
        await store.append(paths.channel_log(sick), b'{"channel_id": "to')
    async with hub_house(DiskKnowledgeStore(tmp_path)) as house:
        alice, bob = await house.back("alice"), await house.back("bob")
        wal = await alice.request("read_wal", channel_id=sick)
        assert wal[-1]["event_data"] == {"text": "whole"}
        await alice.say(well, "what?")
        await bob.hears("what?")


async def test_everything_that_was_answered_is_there_again(
    hub_house: OpenHouse, tmp_path: Path
) -> None:
    async with hub_house(DiskKnowledgeStore(tmp_path)) as house:
        alice, bob = await house.join("alice"), await house.join("bob", acks=False)
        channel_id = await alice.open("conversation", bob)
        posted = [await alice.say(channel_id, str(number)) for number in range(20)]
    async with hub_house(DiskKnowledgeStore(tmp_path)) as house:
        bob = await house.back("bob")
        for number, envelope_id in enumerate(posted):
            assert (await bob.hears(str(number)))["envelope"]["envelope_id"] == envelope_id
        wal = await bob.request("read_wal", channel_id=channel_id)
        assert [it["envelope_id"] for it in wal][-20:] == posted
