"""The library's log: through `logging`, with its fields, and silent where nobody asked for it."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

import trio_hub
from trio_hub._logging import get_logger


def test_nothing_is_printed_where_logging_is_not_configured() -> None:
    code = (
        "from trio_hub._logging import get_logger\n"
        "get_logger('trio_hub.x').error('it failed', channel_id='c1')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_a_record_reads_well_and_carries_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("trio_hub.x").warning("channel damaged", channel_id="c1", position=3)
    [record] = caplog.records
    assert record.getMessage() == "channel damaged channel_id='c1' position=3"
    assert vars(record)["event"] == "channel damaged"
    assert vars(record)["fields"] == {"channel_id": "c1", "position": 3}
    assert (record.name, record.levelno) == ("trio_hub.x", logging.WARNING)
    assert record.funcName == "test_a_record_reads_well_and_carries_its_fields"


def test_a_long_field_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    long, cut = "x" * 10_000, "x" * 500 + "..."
    get_logger("trio_hub.x").bind(peer=long).warning(
        "no such", at="x" * 500, params={"channel_id": long, "limit": 5}
    )
    [record] = caplog.records
    fields = {"peer": cut, "at": "x" * 500, "params": {"channel_id": cut, "limit": 5}}
    assert vars(record)["fields"] == fields
    assert long not in record.getMessage()
    assert cut in record.getMessage()


def test_an_exception_goes_to_the_handler_as_one(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        get_logger("trio_hub.x").exception("it failed")
    [record] = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert record.levelno == logging.ERROR


def test_levels_are_those_of_logging(caplog: pytest.LogCaptureFixture) -> None:
    logger = get_logger("trio_hub.x")
    caplog.set_level(logging.INFO, "trio_hub")
    logger.debug("details")
    logger.info("news")
    assert [record.getMessage() for record in caplog.records] == ["news"]


def test_fields_that_were_bound_are_there(caplog: pytest.LogCaptureFixture) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        get_logger("trio_hub.x").bind(peer="p").warning("slow")
    [record] = caplog.records
    assert vars(record)["fields"] == {"request_id": "r1", "peer": "p"}


def test_the_configuration_of_structlog_plays_no_part(caplog: pytest.LogCaptureFixture) -> None:
    with structlog.testing.capture_logs() as captured:
        get_logger("trio_hub.x").warning("heard")
    assert captured == []
    assert len(caplog.records) == 1


def test_every_module_of_the_library_logs_this_way() -> None:
    package = Path(trio_hub.__file__).parent
    may = {package / "_logging.py", *package.glob("cli/**/*.py")}
    others = [path for path in package.glob("**/*.py") if path not in may]
    assert [path.name for path in others if "import structlog" in path.read_text()] == []
