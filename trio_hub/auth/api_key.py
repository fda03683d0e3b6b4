"""
API keys: one secret for each name.

What an outsider can observe, in words or in time, is the same whether a name has no key or
another key. Tokens are compared as keyed digests: these have one length, and the keys
themselves need not be kept.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..errors import AuthError
from ..records import Passport

__all__ = ["ApiKeyAuth"]

KeyResolver = Callable[[str], Awaitable[str | None]]


class ApiKeyAuth:
    """
    Accepts the claim ``{"token": "<secret>"}`` where the token is the name's own.

    Args:
        keys: Name to token.
        resolver: Asked for the token of a name that is not in `keys`; returns None where it
            knows none. It may look into a database or a secret manager.

    Raises:
        ValueError: A token in `keys` is empty, and so would be no secret.
    """

    scheme = "api_key"

    def __init__(
        self, keys: Mapping[str, str] | None = None, *, resolver: KeyResolver | None = None
    ) -> None:
        self._secret = secrets.token_bytes(32)
        self._digests: dict[str, bytes] = {}
        for name, token in (keys or {}).items():
            if not token:
                raise ValueError(f"the API key of {name!r} is empty")
            self._digests[name] = self._digest(token)
        self._resolver = resolver
        # What the token of an unknown name is compared with. Nobody can send it.
        self._nobody = self._digest(secrets.token_hex(32))

    def __repr__(self) -> str:
        return f"<ApiKeyAuth, {len(self._digests)} keys>"

    async def validate(self, passport: Passport, claim: Mapping[str, Any]) -> None:
        """
        Check the claim's token; see `AuthAdapter.validate`.

        Raises:
            AuthError: The claim has no token, or it is not that of the passport's name. What
                the resolver raises is passed on.
        """
        token = claim.get("token")
        if not isinstance(token, str) or not token:
            raise AuthError('an API key claim is {"token": "..."}: a string that is not empty')
        presented = self._digest(token)
        expected = self._digests.get(passport.name)
        if expected is None and self._resolver is not None:
            resolved = await self._resolver(passport.name)
            expected = self._digest(resolved) if resolved else None
        known = expected is not None
        matches = hmac.compare_digest(presented, expected or self._nobody)
        if not (known and matches):
            raise AuthError(f"the API key for {passport.name!r} was not accepted")

    def _digest(self, token: str) -> bytes:
        # JSON may hold lone surrogates, which plain UTF-8 would refuse with an error of its own.
        return hmac.digest(self._secret, token.encode("utf-8", "surrogatepass"), hashlib.sha256)
