"""One table of errors: each code has one class, and reads well to those who do not know it."""

from __future__ import annotations

import re

import pytest

from trio_hub import errors
from trio_hub.errors import (
    ERRORS_BY_CODE,
    ConnectionLost,
    DamagedRecord,
    FrameError,
    NetworkError,
    ProtocolError,
    RateLimited,
    RecordsTrimmed,
    StoreError,
    error_from_code,
)


def _family(cls: type[NetworkError]) -> list[type[NetworkError]]:
    return [cls, *(leaf for child in cls.__subclasses__() for leaf in _family(child))]


#: The errors of this package; tests elsewhere may define more.
FAMILY = [cls for cls in _family(NetworkError) if cls.__module__ == "trio_hub.errors"]

#: The whole table as the design and wire.md have it: code -> (class, may be tried again).
TABLE = {
    "error": ("NetworkError", False),
    "not_found": ("NotFoundError", False),
    "access_denied": ("AccessDeniedError", False),
    "auth_failed": ("AuthError", False),
    "protocol_error": ("ProtocolError", False),
    "conflict": ("Conflict", False),
    "too_large": ("TooLarge", False),
    "inbox_full": ("InboxFull", True),
    "rate_limited": ("RateLimited", True),
    "store_error": ("StoreError", True),
    "hub_closing": ("HubClosing", True),
    "taken_over": ("TakenOver", False),
    "position_lost": ("PositionLost", False),
    "connection_lost": ("ConnectionLost", True),
}


def test_the_table_is_the_table() -> None:
    known = {code: (cls.__name__, cls.retryable) for code, cls in ERRORS_BY_CODE.items()}
    assert known == TABLE


@pytest.mark.parametrize("code", sorted(TABLE))
def test_a_code_comes_back_as_its_class(code: str) -> None:
    error = error_from_code(code, "What was wrong.", retry_after_seconds=2.5)
    assert type(error) is ERRORS_BY_CODE[code]
    assert error.code == code
    assert error.message == str(error) == "What was wrong."
    assert error.retry_after_seconds == 2.5


@pytest.mark.parametrize("cls", FAMILY)
def test_every_error_goes_over_the_wire_as_itself_or_as_what_it_is_a_kind_of(
    cls: type[NetworkError],
) -> None:
    arrives_as = type(error_from_code(cls.code, "x"))
    assert issubclass(cls, arrives_as)
    assert cls.__doc__
    assert re.fullmatch(r"[a-z ,]+", cls.acts)
    assert cls.__name__ in errors.__all__


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"^ +[│├└─ ]*(\w+) +(\w+) ", errors.__doc__ or "", re.MULTILINE)
    assert dict(drawn) == {cls.__name__: cls.code for cls in FAMILY}


def test_an_unknown_code_still_reads_well() -> None:
    error = error_from_code("moon_phase", "The moon is full; wait two days.")
    assert type(error) is NetworkError
    assert str(error) == "The moon is full; wait two days. [moon_phase]"
    assert not error.retryable


def test_a_frame_error_lists_every_problem() -> None:
    error = FrameError("malformed hello frame", problems=("one", "two"), request_id="7")
    assert isinstance(error, ProtocolError)
    assert str(error) == error.message == "malformed hello frame; one; two"
    assert error.problems == ("one", "two")
    assert error.request_id == "7"
    assert FrameError("no JSON").message == "no JSON"


def test_a_damaged_record_says_where_and_is_not_worth_a_retry() -> None:
    error = DamagedRecord("record 3 is damaged", path="/log", position=3)
    assert isinstance(error, StoreError)
    assert (error.path, error.position, error.retryable) == ("/log", 3, False)


def test_trimmed_records_say_where_the_log_begins() -> None:
    error = RecordsTrimmed("the log begins at 3", path="/log", first=3)
    assert isinstance(error, StoreError)
    assert (error.path, error.first, error.retryable) == ("/log", 3, False)


def test_what_can_be_tried_again_can_say_when() -> None:
    assert RateLimited("slow down", retry_after_seconds=1.5).retry_after_seconds == 1.5
    assert ConnectionLost("gone").retry_after_seconds is None
    assert NetworkError().message == ""
