"""What the records of a log are read as."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

import attrs
import msgspec
import pytest
from hypothesis import example, given, strategies as st

from trio_hub import Envelope
from trio_hub.hub.log_record import EnvelopeHead, read_head, read_record
from trio_hub.testing import strategies
from trio_hub.wire.validation import encode

FIELDS = [field.name for field in attrs.fields(Envelope)]
LEFT_AS_IT_STANDS = "event_data"


def test_head_has_the_fields_of_an_envelope() -> None:
    fields = {it.name: (it.type, it.default) for it in attrs.fields(attrs.resolve_types(Envelope))}
    kinds = get_type_hints(EnvelopeHead)
    heads = {
        it.name: (kinds[it.name], attrs.NOTHING if it.required else it.default)
        for it in msgspec.structs.fields(EnvelopeHead)
    }
    del fields[LEFT_AS_IT_STANDS], heads[LEFT_AS_IT_STANDS]
    assert heads == fields


@given(strategies.envelopes())
def test_head_says_what_the_envelope_says(envelope: Envelope) -> None:
    raw = encode(envelope)
    head = read_head(raw)
    assert head is not None
    for name in FIELDS:
        if name != LEFT_AS_IT_STANDS:
            assert getattr(head, name) == getattr(envelope, name)
    assert read_record(3, raw).envelope == envelope


JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.text()), st.just({})
)


@given(strategies.envelopes(), st.dictionaries(st.sampled_from(FIELDS), JUNK))
@example(Envelope(channel_id="c", sender_id="a", event_type="t", event_data={}), {"event_data": []})
def test_what_is_no_envelope_is_no_head(envelope: Envelope, changes: dict[str, Any]) -> None:
    raw = json.dumps(json.loads(encode(envelope)) | changes).encode()
    assert (read_head(raw) is None) is (read_record(0, raw).envelope is None)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"channel_id":"' + b"\xff" + b'"}', b"[" * 100_000],
)
def test_what_is_no_record_is_neither(raw: bytes) -> None:
    assert read_head(raw) is None
    assert read_record(0, raw).envelope is None
