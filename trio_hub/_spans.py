"""
Spans of OpenTelemetry. Imported only where the application traces (see `_tracing`).

An envelope's `trace_id` carries the trace over the wire, as a W3C traceparent; whoever wrote it,
an AG2 client too, finds what follows in its own trace. Spans hold ids and types, never what an
envelope says, nor what an error says of itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.context import Context, get_current
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
    use_span,
)

__all__ = ["Attributes", "Tracing"]

Attributes = Mapping[str, str | int]

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
# The one version that says of itself that it is none.
_NO_VERSION = "ff"
_NOWHERE = Context()
_KINDS = {
    "trio_hub post": SpanKind.PRODUCER,
    "trio_hub accept": SpanKind.SERVER,
    "trio_hub handle": SpanKind.CONSUMER,
}


class Tracing:
    """
    Makes spans.

    Args:
        tracer: The application's.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def start(self, name: str, traceparent: str | None, attributes: Attributes) -> Span:
        """
        Start a span that the caller ends.

        Args:
            traceparent: Of the span that it belongs to; None, or what is none, begins a trace.
        """
        return self._start(name, _context_of(traceparent), attributes)

    def start_inside(self, outer: Span, name: str, attributes: Attributes) -> Span:
        """Start a span inside another one; the caller ends it."""
        return self._start(name, set_span_in_context(outer, _NOWHERE), attributes)

    def end(self, span: Span, error: str | None) -> None:
        """End a span; `error` is the code of what went wrong, or None."""
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end()

    @contextmanager
    def around(
        self, name: str, traceparent: str | None, attributes: Attributes
    ) -> Iterator[str | None]:
        """
        Have a span be the current one inside the block; yields its traceparent, if it has one.

        It belongs to `traceparent`; but to the current span where that is of the same trace, or
        where there is no traceparent.
        """
        span = self._start(name, _nearest_context(traceparent), attributes)
        error: str | None = None
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                yield _traceparent_of(span)
        except BaseException as caught:
            error = str(getattr(caught, "code", type(caught).__name__))
            raise
        finally:
            self.end(span, error)

    def _start(self, name: str, context: Context, attributes: Attributes) -> Span:
        kind = _KINDS.get(name, SpanKind.INTERNAL)
        return self._tracer.start_span(name, context=context, kind=kind, attributes=attributes)


def _context_of(traceparent: str | None) -> Context:
    """Return a context with that span in it, and with none where it is not a traceparent."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent is not None else None
    if found is None or found[1] == _NO_VERSION:
        return _NOWHERE
    span = SpanContext(
        int(found[2], 16),
        int(found[3], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(found[4], 16)),
    )
    return set_span_in_context(NonRecordingSpan(span), _NOWHERE) if span.is_valid else _NOWHERE


def _nearest_context(traceparent: str | None) -> Context:
    given = _context_of(traceparent)
    current = get_current_span().get_span_context()
    of_given = get_current_span(given).get_span_context()
    if current.is_valid and (not of_given.is_valid or of_given.trace_id == current.trace_id):
        return get_current()
    return given


def _traceparent_of(span: Span) -> str | None:
    its = span.get_span_context()
    if not its.is_valid:
        return None
    return f"00-{its.trace_id:032x}-{its.span_id:016x}-{its.trace_flags:02x}"
