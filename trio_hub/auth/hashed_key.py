"""
API keys that are made, not chosen: kept as hashes, several for one name, each with an end.

A key is 256 random bits, so nobody finds it by trying, and a plain SHA-256 of it gives nothing
away; slow hashes such as scrypt protect what people choose, and would let a stranger keep the hub
busy with every wrong key that it sends.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Final

import attrs

from ..ids import iso_from_seconds, seconds_from_iso

__all__ = ["HashedKey", "hash_of", "make_key"]

_PREFIX: Final = "thub"
_ID_BYTES: Final = 4
_SECRET_BYTES: Final = 32
_HASH_HEX: Final = 64


def _check_hash(_record: object, _field: object, value: str) -> None:
    if len(value) != _HASH_HEX or not set(value) <= set("0123456789abcdef"):
        raise ValueError("a key's hash is the SHA-256 of the key in 64 hex digits")


def _check_time(_record: object, field: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None:
        try:
            seconds_from_iso(value)
        except ValueError:
            raise ValueError(f"{field.name} is no ISO 8601 time: {value!r}") from None


@attrs.frozen(kw_only=True)
class HashedKey:
    """
    A key as it is kept.

    Attributes:
        key_id: What it is called in lists and when it is revoked; part of the key itself.
        name: Whose key it is.
        sha256: Of the whole key, in hex digits.
        created_at: ISO 8601.
        expires_at: ISO 8601; None is never.
    """

    key_id: str = attrs.field(validator=attrs.validators.min_len(1))
    name: str = attrs.field(validator=attrs.validators.min_len(1))
    sha256: str = attrs.field(validator=_check_hash, repr=False)
    created_at: str = attrs.field(validator=_check_time)
    expires_at: str | None = attrs.field(default=None, validator=_check_time)

    def is_valid_at(self, now: float) -> bool:
        """Whether it has not expired. `now` is in seconds since 1970."""
        return self.expires_at is None or now < seconds_from_iso(self.expires_at)


def hash_of(token: str) -> str:
    """Return what is kept of a key."""
    # JSON may hold lone surrogates, which plain UTF-8 would refuse with an error of its own.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def make_key(name: str, now: float, expires_at: float | None = None) -> tuple[str, HashedKey]:
    """
    Make a new key for `name`; return the key itself, which is kept nowhere, and its hash.

    Args:
        now: Seconds since 1970.
        expires_at: Seconds since 1970; None is never.
    """
    key_id = secrets.token_hex(_ID_BYTES)
    token = f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    return token, HashedKey(
        key_id=key_id,
        name=name,
        sha256=hash_of(token),
        created_at=iso_from_seconds(now),
        expires_at=None if expires_at is None else iso_from_seconds(expires_at),
    )
