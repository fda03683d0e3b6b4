"""The strategies of the kit make records that travel, and channels that a hub could have."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from trio_hub import (
    ChannelState,
    ConsultingAdapter,
    ConversationAdapter,
    DiscussionAdapter,
    Envelope,
    Passport,
)
from trio_hub.protocol.adapters import ChannelAdapter
from trio_hub.testing import strategies as s
from trio_hub.wire.validation import decode_strictly, encode

MAKERS = [
    s.envelopes,
    s.auth_blocks,
    s.passports,
    s.resumes,
    s.rules,
    s.channel_manifests,
    s.participants,
    s.channel_metadata,
    s.task_metadata,
    s.pending_turns,
]


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
@given(data=st.data())
def test_every_record_comes_back_from_the_wire_as_it_went(maker: Any, data: st.DataObject) -> None:
    record = data.draw(maker())
    assert decode_strictly(encode(record), type(record), "record") == record


@given(s.envelopes(event_type="app.x", depth=st.integers(1, 3)), s.passports(name="alice"))
def test_fields_may_be_fixed_to_values_or_drawn_from_strategies(
    envelope: Envelope, passport: Passport
) -> None:
    assert envelope.event_type == "app.x"
    assert 1 <= envelope.depth <= 3
    assert passport.name == "alice"


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_misspelt_field_is_refused(maker: Any) -> None:
    with pytest.raises(TypeError, match="colour"):
        maker(colour="red")


@pytest.mark.parametrize(
    "adapter",
    [ConsultingAdapter(), ConversationAdapter(), DiscussionAdapter()],
    ids=lambda adapter: adapter.manifest.type,
)
@given(data=st.data())
def test_active_channels_are_such_as_a_hub_has(
    adapter: ChannelAdapter, data: st.DataObject
) -> None:
    metadata = data.draw(s.active_channels(adapter))
    assert metadata.state is ChannelState.ACTIVE
    assert metadata.creator_id in metadata.participant_ids
    assert len(metadata.participants) >= adapter.manifest.participants.min
    adapter.validate_create(metadata)
    adapter.initial_state(metadata)
