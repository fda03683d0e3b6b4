"""The program's log: readable as text, parsable as JSON, and safe to look at."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from trio_hub._logging import get_logger
from trio_hub.cli.logs import configure_logging


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("trio_hub")
    before = (root.handlers[:], root.level, ours.level)
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_text_shows_event_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="info", format="text")
    get_logger("trio_hub.x").info("hub opened", agents=3)
    get_logger("trio_hub.x").debug("details")
    [line] = logged(capsys)
    assert "hub opened" in line
    assert "agents=3" in line


@pytest.mark.parametrize("format", ["text", "json"])
def test_what_a_peer_says_stays_within_its_line(
    capsys: pytest.CaptureFixture[str], format: str
) -> None:
    configure_logging(level="info", format=format)
    get_logger("trio_hub.x").info("refused", name="eve\x1b[2J", reason="a\nforged line")
    logging.getLogger("another.library").warning("its\nmessage")
    lines = logged(capsys)
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_traceback_shows_no_values_of_variables(
    capsys: pytest.CaptureFixture[str], format: str
) -> None:
    configure_logging(level="info", format=format)
    key = "s3cr3t" + "-of-alice"
    try:
        len(key) / 0
    except ZeroDivisionError:
        get_logger("trio_hub.x").exception("it failed")
    text = "\n".join(logged(capsys))
    assert "ZeroDivisionError" in text
    assert "s3cr3t-of-alice" not in text


def test_json_has_one_object_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="debug", format="json")
    get_logger("trio_hub.x").debug("sent", count=2, path=object)
    logging.getLogger("another.library").warning("%s of %s", 1, 2)
    logging.getLogger("another.library").info("not heard")
    ours, theirs = map(json.loads, logged(capsys))
    assert (ours["event"], ours["count"], ours["level"]) == ("sent", 2, "debug")
    assert ours["logger"] == "trio_hub.x"
    assert (theirs["event"], theirs["level"]) == ("1 of 2", "warning")
