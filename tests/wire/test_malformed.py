"""
What is no frame is one clear error, whatever it is, and harms nothing beside it.

The invariant: any message is frames and `FrameError`s, never another exception.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from trio_hub.errors import FrameError
from trio_hub.wire.codec import decode_message, iter_frames
from trio_hub.wire.frames import Dialect, PingFrame, PongFrame, RequestFrame
from trio_hub.wire.operations import OPERATIONS
from trio_hub.wire.validation import decode_strictly

from ..strategies import json_values, messages

DEEP = 100_000


@pytest.fixture(params=list(Dialect), ids=str)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    chosen: Dialect = request.param
    return chosen


def _one_error(message: str | bytes, dialect: Dialect) -> FrameError:
    (error,) = decode_message(message, dialect)
    assert isinstance(error, FrameError)
    assert error.code == "protocol_error"
    return error


@given(messages, st.sampled_from(Dialect))
@settings(max_examples=300)
def test_any_message_is_frames_or_frame_errors(message: str | bytes, dialect: Dialect) -> None:
    for frame in decode_message(message, dialect):
        assert isinstance(frame, FrameError) or frame.kind
        if isinstance(frame, FrameError):
            # It goes back to the peer as it stands, so it must be text that can be sent.
            assert frame.message.encode()
            assert len(frame.message) < 10_000


@given(json_values, st.sampled_from(sorted(OPERATIONS)))
@settings(max_examples=200)
def test_any_params_are_params_or_a_frame_error(params: Any, op: str) -> None:
    wanted = OPERATIONS[op].params
    problems: tuple[str, ...] = ()
    decoded = None
    try:
        decoded = decode_strictly(json.dumps(params), wanted, "params")
    except FrameError as error:
        problems = error.problems
    assert isinstance(decoded, wanted) or problems


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ('"text"', "expected a JSON object, got a string"),
        ("[]", "expected a JSON object, got a list"),
        ("null", "expected a JSON object, got null"),
        ("12", "expected a JSON object, got a number"),
        ("true", "expected a JSON object, got a bool"),
        ("{}", "required field 'kind' is missing"),
        ('{"kind": 7}', "expected a string, got a number @ $.kind"),
        ('{"kind": "shout"}', "unknown frame kind 'shout'; known: hello, welcome, request"),
        ("{", "not JSON"),
        ("hello there", "not JSON"),
        ('{"kind":"ping"} trailing', "not JSON"),
        ('{"kind":"ping","x":NaN}', "not JSON"),
        ('{"kind":"ping","x":Infinity}', "not JSON"),
        ('{"kind":"\\ud800"}', "not JSON"),
        ('{"kind":"ping","x":"\ud800"}', "not JSON"),
        ("[" * DEEP, "Expected `object`, got `array`"),
        ('{"a":' * DEEP, "nested too deeply"),
        ('{"kind":"notify","attempt":' + "9" * 5000 + "}", "out of range"),
    ],
    ids=lambda it: it[:30] if isinstance(it, str) else None,
)
def test_what_is_no_frame_is_told_why(message: str, says: str, dialect: Dialect) -> None:
    assert says in _one_error(message, dialect).message


def test_a_small_message_of_nothing_but_nesting_is_told_why(dialect: Dialect) -> None:
    # How deep is too deep is for the version of Python to say.
    said = _one_error("[" * 3_000, dialect).message
    assert "nested too deeply" in said or "truncated" in said


@pytest.mark.parametrize("message", ["nonsense", '{"kind":5}', '{"kind":"hello"}'])
def test_an_error_that_is_kept_does_not_keep_what_it_came_through(
    message: str, dialect: Dialect
) -> None:
    error: BaseException | None = _one_error(message, dialect)
    while error is not None:
        assert error.__traceback__ is None
        error = error.__context__


def test_an_empty_plain_message_is_an_error_and_empty_lines_are_nothing() -> None:
    assert "not JSON" in _one_error("", Dialect.PLAIN).message
    assert decode_message("\n\n", Dialect.BATCHED) == []


def test_a_binary_message_is_told_that_frames_are_text(dialect: Dialect) -> None:
    assert "binary" in _one_error(b'{"kind":"ping"}', dialect).message


def test_every_bad_field_is_listed_with_its_path(dialect: Dialect) -> None:
    error = _one_error(
        json.dumps(
            {
                "kind": "notify",
                "recipient_id": 3,
                "envelope": {
                    "channel_id": 1,
                    "audience": [1, "a", None],
                    "event_type": [],
                    "event_data": "x",
                    "priority": "asap",
                    "ttl_seconds": True,
                },
            }
        ),
        dialect,
    )
    places = [problem.rpartition("@ ")[2] for problem in error.problems]
    assert sorted(places) == [
        "$.envelope.audience[0]",
        "$.envelope.audience[2]",
        "$.envelope.channel_id",
        "$.envelope.event_data",
        "$.envelope.event_type",
        "$.envelope.priority",
        "$.envelope.sender_id",
        "$.envelope.ttl_seconds",
        "$.recipient_id",
    ]


def test_enums_bounds_and_members_of_objects_are_listed_too() -> None:
    wanted = OPERATIONS["record_observation"].params
    with pytest.raises(FrameError) as caught:
        decode_strictly(
            '{"owner_id":1,"capability":"c","outcome":"bogus","latency_ms":-1}', wanted, "params"
        )
    places = [problem.rpartition("@ ")[2] for problem in caught.value.problems]
    assert places == ["$.owner_id", "$.outcome", "$.latency_ms"]
    with pytest.raises(FrameError) as caught:
        decode_strictly(
            '{"creator_id":"a","manifest_type":"x","participants":[],"labels":{"k":1,"l":2}}',
            OPERATIONS["create_channel"].params,
            "params",
        )
    places = [problem.rpartition("@ ")[2] for problem in caught.value.problems]
    assert places == ["$.labels['k']", "$.labels['l']"]


def test_an_applications_own_data_is_no_fault() -> None:
    frame = {"kind": "hello", "name": "alice", "auth_scheme": 5, "auth_claim": {"any": ["thing"]}}
    (problem,) = _one_error(json.dumps(frame), Dialect.PLAIN).problems
    assert problem.endswith("@ $.auth_scheme")


def test_a_thousand_bad_fields_are_not_a_thousand_sentences() -> None:
    message = json.dumps({"kind": "notify", "envelope": {"audience": [1] * 1000}})
    error = _one_error(message, Dialect.PLAIN)
    assert len(error.problems) == 21
    assert error.problems[-1].startswith("and ")


def test_of_a_large_frame_only_the_first_fault_is_named() -> None:
    # To look for more of them would take a hundred seconds for the largest message.
    for faults in (1, 100_000):
        message = json.dumps(
            {"kind": "notify", "envelope": {"audience": [""] * 10_000 + [1] * faults}}
        )
        (problem,) = _one_error(message, Dialect.PLAIN).problems
        assert "$.envelope.audience[...]" in problem or "$.envelope.audience[10000]" in problem


def test_frames_are_read_one_by_one_as_they_are_asked_for() -> None:
    lines = iter_frames('{"kind":"ping"}\n\nnonsense\n{"kind":"pong"}', Dialect.BATCHED)
    assert next(lines) == PingFrame()
    assert isinstance(next(lines), FrameError)
    assert list(lines) == [PongFrame()]


def test_a_long_wrong_value_is_not_sent_back_whole() -> None:
    message = json.dumps({"kind": "receipt", "envelope_id": "e", "status": "x" * 100_000})
    assert len(_one_error(message, Dialect.PLAIN).message) < 500
    assert len(_one_error(json.dumps({"kind": "k" * 100_000}), Dialect.PLAIN).message) < 500


@pytest.mark.parametrize(
    "message",
    [
        '{"kind":"request","request_id":"r7","op":5}',
        '{"kind":"request","request_id":"r7"}',
    ],
)
def test_a_malformed_request_is_answered_under_its_id(message: str, dialect: Dialect) -> None:
    assert _one_error(message, dialect).request_id == "r7"


@pytest.mark.parametrize(
    "message",
    [
        '{"kind":"request","op":"x"}',
        '{"kind":"request","request_id":5,"op":"x"}',
        '{"kind":"hello"}',
    ],
)
def test_what_has_no_readable_request_id_has_none_in_its_error(message: str) -> None:
    assert _one_error(message, Dialect.PLAIN).request_id is None


def test_the_last_of_two_keys_counts(dialect: Dialect) -> None:
    (frame,) = decode_message('{"kind":"ping","kind":"pong"}', dialect)
    assert isinstance(frame, PongFrame)


def test_what_is_inside_params_is_not_looked_at_until_somebody_knows_its_type() -> None:
    (frame,) = decode_message(
        '{"kind":"request","request_id":"1","op":"x","params":{"a":1e999}}', Dialect.PLAIN
    )
    assert isinstance(frame, RequestFrame)
    with pytest.raises(FrameError):
        decode_strictly(frame.params, dict, "params")


def test_one_bad_line_does_not_harm_its_neighbours() -> None:
    first, second, third = decode_message(
        '{"kind":"ping"}\n{"kind":"request","request_id":"2"}\n{"kind":"pong"}', Dialect.BATCHED
    )
    assert isinstance(first, PingFrame)
    assert isinstance(second, FrameError)
    assert second.request_id == "2"
    assert isinstance(third, PongFrame)


def test_a_line_separator_inside_a_string_divides_no_frames() -> None:
    # Unicode has more line ends than the one that divides frames.
    (frame,) = decode_message('{"kind":"ping","x":"a\u2028b\x85c"}', Dialect.BATCHED)
    assert isinstance(frame, PingFrame)


def test_two_frames_in_one_plain_message_are_an_error() -> None:
    assert "not JSON" in _one_error('{"kind":"ping"}\n{"kind":"ping"}', Dialect.PLAIN).message
