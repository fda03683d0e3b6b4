"""
API keys: secrets of a name, given as they are or as hashes.

What an outsider can observe, in words or in time, is the same whether a name has no key or
another key. Tokens are compared as keyed digests: these have one length, and the keys
themselves need not be kept.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import attrs

from ..errors import AuthError
from ..ids import Now, seconds_from_iso
from ..records import Passport
from .credential import Credential
from .hashed_key import HashedKey, hash_of

__all__ = ["ApiKeyAuth"]


@attrs.frozen
class _Presented:
    """Whose key was shown, and what of it is kept: enough to see whether it is still known."""

    name: str
    digest: bytes = attrs.field(repr=False)
    sha256: str = attrs.field(repr=False)


KeyResolver = Callable[[str], Awaitable[str | None]]


class ApiKeyAuth:
    """
    Accepts the claim ``{"token": "<secret>"}`` where the token is the name's own.

    Args:
        keys: Name to token.
        hashed: Keys that were made by `make_key`; one name may have several.
        clock: Seconds since 1970, for keys that expire.
        resolver: Asked for the token of a name that is not in `keys`; returns None where it
            knows none. It may look into a database or a secret manager.

    Raises:
        ValueError: A token in `keys` is empty, and so would be no secret.
    """

    scheme = "api_key"

    def __init__(
        self,
        keys: Mapping[str, str] | None = None,
        *,
        hashed: Iterable[HashedKey] = (),
        resolver: KeyResolver | None = None,
        clock: Now = time.time,
    ) -> None:
        self._secret = secrets.token_bytes(32)
        self._digests: dict[str, bytes] = {}
        self._hashed: dict[str, list[HashedKey]] = {}
        # Those that somebody acts by; where nobody does, nothing else holds them.
        self._accepted: WeakKeyDictionary[Credential, _Presented] = WeakKeyDictionary()
        self._resolver = resolver
        self._clock = clock
        self.replace(keys or {}, hashed)
        # What the token of an unknown name is compared with. Nobody can send it.
        self._nobody = self._digest(secrets.token_hex(32))

    def __repr__(self) -> str:
        count = len(self._digests) + sum(map(len, self._hashed.values()))
        return f"<ApiKeyAuth, {count} keys>"

    def replace(self, keys: Mapping[str, str], hashed: Iterable[HashedKey] = ()) -> None:
        """
        Know these keys from now on, and no others.

        Who is connected by one that is not among them any more is told that it was revoked, and
        parted with; one that has been given an end goes on until then. Of what the resolver
        accepted nothing is known here, so that stays.

        Raises:
            ValueError: A token in `keys` is empty. Nothing was changed.
        """
        digests: dict[str, bytes] = {}
        for name, token in keys.items():
            if not token:
                raise ValueError(f"the API key of {name!r} is empty")
            digests[name] = self._digest(token)
        by_name: dict[str, list[HashedKey]] = {}
        for key in hashed:
            by_name.setdefault(key.name, []).append(key)
        self._digests, self._hashed = digests, by_name
        for credential, presented in list(self._accepted.items()):
            end = self._end_of(presented)
            if end is None:
                credential.revoke()
            else:
                credential.expires_at = None if end == math.inf else end

    async def validate(self, passport: Passport, claim: Mapping[str, Any]) -> Credential | None:
        """
        Check the claim's token; see `AuthAdapter.validate`.

        Returns:
            It ends when its key does, and when `replace` leaves that out. None for a key that
            the resolver knew.

        Raises:
            AuthError: The claim has no token, or it is not that of the passport's name. What
                the resolver raises is passed on.
        """
        token = claim.get("token")
        if not isinstance(token, str) or not token:
            raise AuthError('an API key claim is {"token": "..."}: a string that is not empty')
        given = self._digest(token)
        expected = self._digests.get(passport.name)
        hashed = self._hashed.get(passport.name, ())
        if expected is None and not hashed and self._resolver is not None:
            resolved = await self._resolver(passport.name)
            expected = self._digest(resolved) if resolved else None
        known = expected is not None
        matches = hmac.compare_digest(given, expected or self._nobody)
        if not (known and matches) and not self._is_one_of(token, hashed):
            raise AuthError(f"the API key for {passport.name!r} was not accepted")
        presented = _Presented(passport.name, given, hash_of(token))
        end = self._end_of(presented)
        if end is None:
            return None
        credential = Credential(expires_at=None if end == math.inf else end)
        self._accepted[credential] = presented
        return credential

    async def knows(self, token: str) -> bool | None:
        """See `BearerAdapter.knows`. A resolver can only be asked for the token of a name."""
        digest, sha256, now = self._digest(token), hash_of(token), self._clock()
        # No search for the secret itself: how long one for its digest takes tells nothing of it.
        if digest in self._digests.values():
            return True
        keys = (key for listed in self._hashed.values() for key in listed)
        if any(key.sha256 == sha256 and key.is_valid_at(now) for key in keys):
            return True
        return None if self._resolver is not None else False

    def _end_of(self, presented: _Presented) -> float | None:
        """Return when a key ends by what is known now, or infinity; None where it is not known."""
        expected = self._digests.get(presented.name)
        if expected is not None and hmac.compare_digest(expected, presented.digest):
            return math.inf
        for key in self._hashed.get(presented.name, ()):
            if hmac.compare_digest(key.sha256, presented.sha256):
                return math.inf if key.expires_at is None else seconds_from_iso(key.expires_at)
        return None

    def _is_one_of(self, token: str, keys: Sequence[HashedKey]) -> bool:
        presented = hash_of(token)
        now = self._clock()
        # Each is looked at, so that the time does not tell which one it was.
        accepted = [
            hmac.compare_digest(presented, key.sha256) and key.is_valid_at(now) for key in keys
        ]
        return any(accepted)

    def _digest(self, token: str) -> bytes:
        # JSON may hold lone surrogates, which plain UTF-8 would refuse with an error of its own.
        return hmac.digest(self._secret, token.encode("utf-8", "surrogatepass"), hashlib.sha256)
