"""
Where the program's log goes: to stderr, as text for people or as JSON for machines.

The library logs through `logging` and leaves this to applications (see `trio_hub._logging`);
here, the program is the application. Tracebacks are written plainly: renderings that show the
values of variables would show keys and messages.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from .._logging import LOGGER_NAME

__all__ = ["LOG_FORMATS", "LOG_LEVELS", "configure_logging"]

LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")


class _StructuredFormatter(logging.Formatter):
    """Renders a record and its structured fields with structlog's processors."""

    def __init__(self, processors: list[structlog.typing.Processor]) -> None:
        super().__init__()
        self._processors = processors

    def format(self, record: logging.LogRecord) -> str:
        # Records of other libraries have a message and no fields.
        line: Any = {
            **getattr(record, "fields", {}),
            "event": getattr(record, "event", None) or record.getMessage(),
            "logger": record.name,
            "level": record.levelname.lower(),
        }
        if record.exc_info:
            line["exc_info"] = record.exc_info
        for process in self._processors:
            line = process(None, record.levelname.lower(), line)
        return str(line)


def _printable(
    _logger: Any, _method: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Keep what peers say about themselves from moving the cursor or making lines of its own."""
    return {
        name: repr(value) if isinstance(value, str) and not value.isprintable() else value
        for name, value in line.items()
    }


def configure_logging(*, level: str, format: str) -> None:
    """
    Write the log to stderr from now on.

    Args:
        level: One of `LOG_LEVELS`. Other libraries are heard from "warning" on.
        format: One of `LOG_FORMATS`.
    """
    time_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    processors: list[structlog.typing.Processor]
    if format == "json":
        processors = [
            time_stamp,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=repr, ensure_ascii=False),
        ]
    else:
        processors = [
            _printable,
            time_stamp,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,
                pad_event_to=0,
            ),
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_StructuredFormatter(processors))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(LOGGER_NAME).setLevel(level.upper())
