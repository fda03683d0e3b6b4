"""
Whether the application traces with OpenTelemetry: ``pip install trio_hub[tracing]``.

Whoever traces has imported `opentelemetry` and set a tracer provider before a hub or a client is
made; `find_tracing` looks once, and nothing is imported for anybody else. What makes the spans is
in `_spans`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from ._spans import Tracing

__all__ = ["find_tracing", "tracer_provider"]


def tracer_provider() -> TracerProvider | None:
    """Return the provider that the application has set, or None: it does not trace."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.trace import NoOpTracerProvider, ProxyTracerProvider, get_tracer_provider

    provider = get_tracer_provider()
    return None if isinstance(provider, NoOpTracerProvider | ProxyTracerProvider) else provider


def find_tracing() -> Tracing | None:
    """Return what makes spans, or None where the application does not trace."""
    provider = tracer_provider()
    if provider is None:
        return None
    from ._spans import Tracing

    return Tracing(provider.get_tracer("trio_hub", __version__))
