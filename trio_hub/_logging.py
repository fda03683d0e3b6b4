"""
The loggers of the library: structured events that leave through the standard `logging` module.

A library does not decide where its log goes. Every event is a record of the logger ``trio_hub``
or one below it, so it is directed, filtered and silenced like that of any other library, and
nothing is printed unless the application says so. The message of a record reads
``hub opened agents=3``; the fields stand beside it as ``record.fields``, for handlers that write
them in another way. In an application that uses structlog, what it has bound to its context is
among them; how it has configured structlog plays no part.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["LOGGER_NAME", "Logger", "get_logger"]

#: The logger that all others of the package are below.
LOGGER_NAME: Final = "trio_hub"

# From the line that logs to `logging`, over the two frames here.
_STACK_LEVEL: Final = 3

# Without a handler of its own, `logging` would print warnings to stderr.
logging.getLogger(LOGGER_NAME).addHandler(logging.NullHandler())


class Logger:
    """
    Writes events with fields to a logger of `logging`.

    Among the fields, ``exc_info`` is for `logging`: True, or an exception, adds its traceback.

    Args:
        logger: Where they go.
        bound: Fields of all events.
    """

    __slots__ = ("_bound", "_logger")

    def __init__(self, logger: logging.Logger, bound: Mapping[str, Any]) -> None:
        self._logger = logger
        self._bound = bound

    def bind(self, **fields: Any) -> Logger:
        """Return a logger that adds these fields to all its events."""
        return Logger(self._logger, {**self._bound, **fields})

    def debug(self, event: str, **fields: Any) -> None:
        """Write an event that tells how something came about."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Write an event that is as it should be."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Write an event that somebody may want to look into."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Write an event that should not have happened."""
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Write an error, with the exception that is being handled."""
        self._write(logging.ERROR, event, {"exc_info": True, **fields})

    def _write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        if not self._logger.isEnabledFor(level):
            return
        shown = {**_context(), **self._bound, **fields}
        exception = shown.pop("exc_info", None)
        message = " ".join([event, *(f"{name}={value!r}" for name, value in shown.items())])
        extra = {"event": event, "fields": shown}
        self._logger.log(level, message, exc_info=exception, extra=extra, stacklevel=_STACK_LEVEL)


def get_logger(name: str) -> Logger:
    """
    Return the structured logger for the records of ``logging.getLogger(name)``.

    Args:
        name: `LOGGER_NAME`, or one below it; the module's ``__name__`` is.
    """
    return Logger(logging.getLogger(name), {})


def _context() -> Mapping[str, Any]:
    """Return what the application has bound by structlog, which it then has imported."""
    # We do not import it ourselves: it brings along all of rich, which takes longer than the hub.
    contextvars = sys.modules.get("structlog.contextvars")
    bound: Mapping[str, Any] = {} if contextvars is None else contextvars.get_contextvars()
    return bound
