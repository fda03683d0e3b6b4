"""
A credential that was accepted: when it ends, and whether it has been taken back.

The adapter that accepted it makes the object and may keep hold of it; the hub watches it for as
long as somebody acts by it. So a key that is revoked is not only refused to the next who comes.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Credential"]


class Credential:
    """
    What `AuthAdapter.validate` returns for a credential that has an end, or may get one.

    Use it in the thread of the hub only: what the hub does about a change, it does at once.

    Args:
        expires_at: Seconds since 1970; None is never. Whoever acts by it is told then, and
            parted with.
    """

    __slots__ = ("__weakref__", "_expires_at", "_revoked", "_watchers")

    def __init__(self, *, expires_at: float | None = None) -> None:
        self._expires_at = expires_at
        self._revoked = False
        self._watchers: dict[object, Callable[[], None]] = {}

    def __repr__(self) -> str:
        state = "revoked" if self._revoked else f"expires at {self._expires_at}"
        return f"<Credential, {state}>"

    @property
    def expires_at(self) -> float | None:
        """When it ends by itself, in seconds since 1970; None is never. It may be set anew."""
        return self._expires_at

    @expires_at.setter
    def expires_at(self, value: float | None) -> None:
        if value != self._expires_at:
            self._expires_at = value
            self._tell()

    @property
    def revoked(self) -> bool:
        """Whether it was taken back."""
        return self._revoked

    def revoke(self) -> None:
        """Take it back, for good: whoever acts by it is told, and parted with. Idempotent."""
        if not self._revoked:
            self._revoked = True
            self._tell()

    def watch(self, watcher: object, on_change: Callable[[], None]) -> None:
        """Have `on_change` called whenever it changes, until `watcher` looks away."""
        self._watchers[watcher] = on_change

    def unwatch(self, watcher: object) -> None:
        """Call nothing for `watcher` any more."""
        self._watchers.pop(watcher, None)

    def _tell(self) -> None:
        for on_change in list(self._watchers.values()):
            on_change()
