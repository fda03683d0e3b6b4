"""
What an adapter may offer besides its rules: to have its folded state kept.

A channel that is used for the first time after a restart is folded from its log, and a long log
takes long. An adapter that can write its state down and read it again spares that: the hub keeps
a snapshot now and then, and folds only what came after it.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, runtime_checkable

from ...records import ChannelMetadata
from .base import ChannelAdapter

__all__ = ["FreezingAdapter", "fingerprint_of", "freezing"]

# Whoever replaces one of these keeps another state, which inherited methods know nothing of.
_MAKE_THE_STATE: Final = ("fold", "initial_state", "state_type")


@runtime_checkable
class FreezingAdapter(Protocol):
    """
    A `ChannelAdapter` whose folded state can be kept. Without these three, nothing is kept of a
    channel but its log, and all is as right and only slower.

    They count only where they are defined in the class that defines `fold`, `initial_state` and
    `state_type`, or in one that is derived from it: a subclass that folds in another way is
    folded from the log until it says for itself how its state is kept.
    """

    @property
    def state_version(self) -> int:
        """
        A number to change whenever `fold` gives another state for the same log, or `freeze`
        another form. What was kept under another number is not used any more.
        """
        ...

    def freeze(self, state: Any) -> Any:
        """Return the state as something that JSON can hold, without changing it."""
        ...

    def thaw(self, frozen: Any, metadata: ChannelMetadata) -> Any:
        """
        Return the state that `freeze` was given; an equal one, as `fold` would have made it.

        Args:
            frozen: What `freeze` returned, having been through JSON.
            metadata: What `initial_state` is given.

        Whatever it raises, the log is folded instead.
        """
        ...


def freezing(adapter: ChannelAdapter) -> FreezingAdapter | None:
    """Return an adapter as one whose state can be kept, or None where it cannot."""
    if not isinstance(adapter, FreezingAdapter):
        return None
    kind = type(adapter)
    newest_rule = min(_rank(kind, name) for name in _MAKE_THE_STATE)
    oldest_form = max(_rank(kind, name) for name in ("freeze", "thaw"))
    return adapter if oldest_form <= newest_rule else None


def fingerprint_of(adapter: ChannelAdapter, version: int) -> str:
    """Say which adapter made a state, in which version; only the same one can make it out."""
    kind, manifest = type(adapter), adapter.manifest
    return f"{manifest.type}/{manifest.version} {kind.__module__}.{kind.__qualname__} {version}"


def _rank(kind: type, name: str) -> int:
    """Return how far up the bases of a class an attribute is defined; 0 is in itself."""
    bases = kind.__mro__
    return next((rank for rank, it in enumerate(bases) if name in vars(it)), len(bases))
