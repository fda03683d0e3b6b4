"""
The loggers of the library: structured events that leave through the standard `logging` module.

A library does not decide where its log goes. Every event is a record of the logger ``trio_hub``
or one below it, so it is directed, filtered and silenced like that of any other library, and
nothing is printed unless the application says so; how the application has configured structlog
plays no part. The message of a record reads ``hub opened agents=3``; the fields stand beside it
as ``record.fields``, for handlers that write them in another way.

Much of what is logged comes from peers, who may call themselves and others by megabytes. So every
field is cut here, whoever logs it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

import structlog

__all__ = ["LOGGER_NAME", "get_logger"]

#: The logger that all others of the package are below.
LOGGER_NAME = "trio_hub"

# What `logging` itself understands; all else is a field.
_LOGGING_KEYWORDS = ("exc_info", "stack_info")
# Of a field in a log line: more than names and ids have, and most of what an error says.
_FIELD_CHARACTERS_MAX = 500
# From the line that logs to `logging`, over three frames of structlog.
_STACK_LEVEL = 4

# Without a handler of its own, `logging` would print warnings to stderr.
logging.getLogger(LOGGER_NAME).addHandler(logging.NullHandler())


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """
    Return the structured logger for the records of ``logging.getLogger(name)``.

    Args:
        name: `LOGGER_NAME`, or one below it; the module's ``__name__`` is.
    """
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _to_logging,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return cast(structlog.stdlib.BoundLogger, logger.bind())


def _to_logging(
    _logger: Any, _method: str, fields: structlog.typing.EventDict
) -> tuple[tuple[str], Mapping[str, Any]]:
    keywords = {name: fields.pop(name) for name in _LOGGING_KEYWORDS if name in fields}
    event = str(fields.pop("event"))
    fields = {name: _cut(value) for name, value in fields.items()}
    message = " ".join([event, *(f"{name}={value!r}" for name, value in fields.items())])
    extra = {"event": event, "fields": fields}
    return (message,), {"extra": extra, "stacklevel": _STACK_LEVEL, **keywords}


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _FIELD_CHARACTERS_MAX:
        return value[:_FIELD_CHARACTERS_MAX] + "..."
    if isinstance(value, dict):
        return {name: _cut(one) for name, one in value.items()}
    return value
