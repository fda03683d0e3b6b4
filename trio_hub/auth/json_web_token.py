"""
JSON Web Tokens: somebody else says who an agent is, and signs it.

The keys are public ones, and given: a hub asks no network about a peer it does not know yet.
Only signatures by key pairs are taken. With shared secrets, whoever may check a token could make
one, and a public key could be mistaken for a secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from ..errors import AuthError
from ..records import Passport
from .credential import Credential

__all__ = ["TOKEN_CHARACTERS_MAX", "JwtAuth"]

_KEY_PAIRS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
_KEY_TYPES: Final = frozenset({"RSA", "EC", "OKP"})
#: The longest JSON Web Token that is looked at; those in use have one or two thousand.
TOKEN_CHARACTERS_MAX: Final = 16_384


class JwtAuth:
    """
    Accepts the claim ``{"token": "<JWT>"}`` where the token is signed and names the agent.

    Needs PyJWT: ``pip install 'trio_hub[jwt]'``. A token is checked when an agent registers or
    comes back, and whoever acts by it is parted with from the moment on in which it would be
    refused: at its ``exp`` and `leeway_seconds`, or when the key that signed it is known no more.

    Args:
        jwks: The issuer's public keys: a JSON Web Key Set, as text.
        issuer: What ``iss`` must be.
        audience: What ``aud`` must be or contain: the word for this hub.
        algorithms: Which signatures are taken; those of key pairs only.
        name_claim: The claim that must be the agent's name.
        leeway_seconds: How far the clocks of issuer and hub may differ.

    Raises:
        ImportError: PyJWT is not installed.
        ValueError: `jwks` is no key set or has no public key, or an argument makes no sense.
    """

    scheme = "jwt"

    def __init__(
        self,
        jwks: str | bytes,
        *,
        issuer: str,
        audience: str,
        algorithms: Iterable[str] = ("RS256", "ES256", "EdDSA"),
        name_claim: str = "sub",
        leeway_seconds: float = 30.0,
    ) -> None:
        import jwt  # noqa: PLC0415,RUF100 - an optional extra
        import jwt.algorithms  # noqa: PLC0415,RUF100

        if not jwt.algorithms.has_crypto:
            raise ImportError("JwtAuth needs `cryptography`: pip install 'trio_hub[jwt]'")
        self._jwt = jwt
        self._algorithms = frozenset(algorithms)
        wrong = sorted(self._algorithms - _KEY_PAIRS)
        if wrong or not self._algorithms:
            raise ValueError(
                f"algorithms {wrong} are not taken; choose from {', '.join(sorted(_KEY_PAIRS))}"
            )
        if not issuer or not audience or not name_claim:
            raise ValueError("issuer, audience and name_claim must not be empty")
        if not 0 <= leeway_seconds < float("inf"):
            raise ValueError(f"leeway_seconds is no span of time: {leeway_seconds}")
        self._issuer = issuer
        self._audience = audience
        self._name_claim = name_claim
        self._leeway_seconds = leeway_seconds
        self._keys = _public_keys(jwks)
        # By which key each was signed; where nobody acts by one, nothing else holds it.
        self._accepted: WeakKeyDictionary[Credential, Mapping[str, Any]] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<JwtAuth, issuer {self._issuer!r}, {len(self._keys)} keys>"

    def replace(self, jwks: str | bytes) -> int:
        """
        Know these keys from now on, and no others. Returns how many they are.

        Who is connected by a token that another key signed is told that it was revoked, and
        parted with.

        Raises:
            ValueError: It is no key set or has no public key. Nothing was changed.
        """
        self._keys = _public_keys(jwks)
        for credential, key in list(self._accepted.items()):
            if key not in self._keys:
                credential.revoke()
        return len(self._keys)

    async def validate(self, passport: Passport, claim: Mapping[str, Any]) -> Credential | None:
        """
        Check the claim's token; see `AuthAdapter.validate`.

        Returns:
            It ends when the token does, and when `replace` leaves out the key that signed it.

        Raises:
            AuthError: The claim has no token, or it does not prove the passport's name.
        """
        token = claim.get("token")
        if not isinstance(token, str) or not token:
            raise AuthError('a JWT claim is {"token": "..."}: a string that is not empty')
        result = self._result(passport.name, token)
        # Outside of any handler: what PyJWT said, which may quote the token, does not travel along.
        if isinstance(result, str):
            raise AuthError(result)
        return result

    async def knows(self, token: str) -> bool | None:
        """See `BearerAdapter.knows`."""
        return isinstance(self._result(None, token), Credential)

    def _result(self, name: str | None, token: str) -> Credential | str:
        """Return a credential, or why there is none; None is any name."""
        refused = f"the token for {name!r} was not accepted"
        if len(token) > TOKEN_CHARACTERS_MAX:
            return refused
        try:
            header = self._jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            data = self._find(header.get("kid"))
            if data is None or algorithm not in self._algorithms:
                return refused
            if data.get("alg", algorithm) != algorithm:
                return refused
            content = self._jwt.decode(
                token,
                self._jwt.PyJWK(dict(data), algorithm=algorithm),
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway_seconds,
                options={"require": ["exp", "iss", "aud", self._name_claim]},
            )
        except self._jwt.ExpiredSignatureError:  # Said only of a token that the issuer signed.
            return f"the token for {name!r} has expired; get a new one from its issuer"
        except (
            self._jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError
        ):  # fmt: skip
            return refused
        if name is not None and content[self._name_claim] != name:
            return refused
        credential = Credential(expires_at=int(content["exp"]) + self._leeway_seconds)
        self._accepted[credential] = data
        return credential

    def _find(self, key_id: str | None) -> Mapping[str, Any] | None:
        """Return the key a token says it was signed with; a lone key needs no id."""
        if key_id is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.get("kid") == key_id), None)


def _public_keys(jwks: str | bytes) -> tuple[Mapping[str, Any], ...]:
    try:
        content = json.loads(jwks)
    except (ValueError, RecursionError):
        raise ValueError("the key set is no JSON") from None
    listed = content.get("keys") if isinstance(content, dict) else None
    # What is not for checking signatures, or of a kind unknown here, is passed over (RFC 7517).
    keys = tuple(
        key
        for key in (listed if isinstance(listed, list) else ())
        if isinstance(key, dict) and key.get("kty") in _KEY_TYPES and key.get("use", "sig") == "sig"
    )
    if not keys:
        raise ValueError('the key set has no list "keys" with a public key that checks signatures')
    return keys
