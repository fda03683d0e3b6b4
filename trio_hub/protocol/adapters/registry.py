"""Which adapters a hub knows, by type and version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...errors import NotFoundError
from ...records import ChannelManifest
from .base import ChannelAdapter
from .consulting import ConsultingAdapter
from .conversation import ConversationAdapter
from .discussion import DiscussionAdapter
from .workflow import WorkflowAdapter

__all__ = ["AdapterRegistry"]


class AdapterRegistry:
    """
    Adapters by (type, version).

    Args:
        adapters: What to know of, beside nothing. See `with_builtins`.
    """

    def __init__(self, adapters: Iterable[ChannelAdapter] = ()) -> None:
        self._adapters: dict[tuple[str, int], ChannelAdapter] = {}
        for adapter in adapters:
            self.add(adapter)

    @classmethod
    def with_builtins(cls, more: Iterable[ChannelAdapter] = ()) -> AdapterRegistry:
        """Return a registry of the adapters that ship, and of `more`."""
        return cls(
            (
                ConsultingAdapter(),
                ConversationAdapter(),
                DiscussionAdapter(),
                WorkflowAdapter(),
                *more,
            )
        )

    def add(self, adapter: ChannelAdapter) -> None:
        """
        Know of one more. A later one of the same type and version takes the place of the
        earlier; channels that exist keep their own copy of the manifest.
        """
        self._adapters[adapter.manifest.type, adapter.manifest.version] = adapter

    def get(self, manifest_type: str, version: int) -> ChannelAdapter:
        """Return an adapter, or raise `NotFoundError` naming those that there are."""
        adapter = self._adapters.get((manifest_type, version))
        if adapter is None:
            known = ", ".join(sorted(f"{name} v{number}" for name, number in self._adapters))
            raise NotFoundError(
                f"no adapter for channels of type {manifest_type!r} v{version}; "
                f"this hub knows {known or 'none'}"
            )
        return adapter

    def for_manifest(self, manifest: ChannelManifest) -> ChannelAdapter:
        """Return the adapter of a channel that exists."""
        return self.get(manifest.type, manifest.version)

    def __iter__(self) -> Iterator[ChannelAdapter]:
        return iter(self._adapters.values())
