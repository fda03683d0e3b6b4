"""
Where the program's log goes: to stderr, as text for people or as JSON for machines.

The library logs through `logging` and leaves this to applications (see `trio_hub._logging`);
here, the program is the application. Tracebacks are written plainly: renderings that show the
values of variables would show keys and messages.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from .._logging import LOGGER_NAME

__all__ = ["LOG_FORMATS", "LOG_LEVELS", "configure_logging"]

LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")

_RESET: Final = "\x1b[0m"
_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_COLORS: Final = {
    "debug": "\x1b[32m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[31m",
}
_LEVEL_CHARACTERS: Final = 8


class _Formatter(logging.Formatter):
    """What the two formats have in common: the parts of a line."""

    def parts(self, record: logging.LogRecord) -> tuple[str, str, str, dict[str, Any]]:
        """Return the time, the level, the event, and the fields."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        # Records of other libraries have a message and no fields.
        event = getattr(record, "event", None) or record.getMessage()
        fields = getattr(record, "fields", {})
        return time.replace("+00:00", "Z"), record.levelname.lower(), event, fields


class _TextFormatter(_Formatter):
    """A line for people; a traceback stands below it."""

    def __init__(self, *, colors: bool) -> None:
        super().__init__()
        self._colors = colors

    def format(self, record: logging.LogRecord) -> str:
        time, level, event, fields = self.parts(record)
        line = " ".join(
            [
                self._colored(time, _DIM),
                f"[{self._colored(level.ljust(_LEVEL_CHARACTERS), _COLORS.get(level, ''))}]",
                self._colored(event if event.isprintable() else repr(event), _BOLD),
                f"[{record.name}]",
                *(f"{name}={_shown(value)}" for name, value in fields.items()),
            ]
        )
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line

    def _colored(self, text: str, color: str) -> str:
        return f"{color}{text}{_RESET}" if self._colors else text


class _JsonFormatter(_Formatter):
    """One object in a line."""

    def format(self, record: logging.LogRecord) -> str:
        time, level, event, fields = self.parts(record)
        line = {
            **fields,
            "event": event,
            "logger": record.name,
            "level": level,
            "timestamp": time,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=repr, ensure_ascii=False)


def _shown(value: object) -> str:
    """Keep what peers say about themselves from moving the cursor or making lines of its own."""
    return value if isinstance(value, str) and value.isprintable() else repr(value)


def configure_logging(*, level: str, format: str) -> None:
    """
    Write the log to stderr from now on.

    Args:
        level: One of `LOG_LEVELS`. Other libraries are heard from "warning" on.
        format: One of `LOG_FORMATS`.
    """
    handler = logging.StreamHandler(sys.stderr)
    colors = sys.stderr.isatty()
    handler.setFormatter(_JsonFormatter() if format == "json" else _TextFormatter(colors=colors))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger(LOGGER_NAME).setLevel(level.upper())
