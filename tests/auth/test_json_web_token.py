"""Tokens of the right issuer, for this hub and this name, are accepted, and no others."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from trio_hub.auth import AuthRegistry, JwtAuth
from trio_hub.errors import AuthError
from trio_hub.records import Passport

ALICE = Passport(name="alice")
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def public(key: ec.EllipticCurvePrivateKey, key_id: str) -> dict[str, Any]:
    return {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id}


def key_set(*keys: dict[str, Any]) -> str:
    return json.dumps({"keys": keys})


def token(key: Any = KEY, *, kid: str | None = "one", alg: str = "ES256", **changes: Any) -> str:
    claims = {"iss": "us", "aud": "hub", "sub": "alice", "exp": int(time.time()) + 1000, **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm=alg, headers={"kid": kid} if kid else None)


KEYS = key_set(public(KEY, "one"))


def adapter(keys: str = KEYS, **options: Any) -> JwtAuth:
    return JwtAuth(keys, issuer="us", audience="hub", **options)


async def refusal(auth: JwtAuth, presented: Any) -> str:
    # Through the registry, where a failure of the adapter itself reads otherwise.
    with pytest.raises(AuthError) as caught:
        await AuthRegistry([auth]).check(ALICE, "jwt", {"token": presented})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "could not be checked" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    "good",
    [token(), token(kid=None), token(aud=["x", "hub"]), token(exp=int(time.time()) - 10)],
    ids=["plain", "lone key", "several audiences", "within leeway"],
)
async def test_a_good_token_is_accepted(good: str) -> None:
    await adapter(leeway_seconds=10_000).validate(ALICE, {"token": good})


@pytest.mark.parametrize(
    "bad",
    [
        token(OTHER),
        token(kid="two"),
        token(iss="them"),
        token(iss=None),
        token(aud="other-hub"),
        token(aud=None),
        token(sub="bob"),
        token(sub=None),
        token(exp=None),
        token(exp="soon"),
        token(nbf=int(time.time()) + 1000),
        token("k" * 32, alg="HS256"),
        token(None, alg="none"),
        token(RSA_KEY, alg="RS256"),
        token() + "x" * 20_000,
        "a.b.c",
        "no token",
        "\ud800",
    ],
    # Named: the tokens differ from one process to the next.
    ids=[
        "signer",
        "kid",
        "issuer",
        "no-issuer",
        "audience",
        "no-audience",
        "name",
        "no-name",
        "no-exp",
        "bad-exp",
        "nbf",
        "secret",
        "unsigned",
        "rsa",
        "long",
        "three-parts",
        "one-part",
        "surrogate",
    ],
)
async def test_every_other_token_is_refused_in_the_same_words(bad: str) -> None:
    assert await refusal(adapter(), bad) == "the token for 'alice' was not accepted"


async def test_an_expired_token_is_said_to_be_expired_only_if_the_issuer_signed_it() -> None:
    past = int(time.time()) - 1000
    assert "expired" in await refusal(adapter(), token(exp=past))
    assert "expired" not in await refusal(adapter(), token(OTHER, exp=past))


@pytest.mark.parametrize("claim", [None, "", 7])
async def test_a_claim_without_a_token_says_what_a_claim_is(claim: Any) -> None:
    assert '{"token": "..."}' in await refusal(adapter(), claim)


async def test_only_the_algorithms_of_the_list_are_taken() -> None:
    keys = key_set({**RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True), "kid": "one"})
    presented = token(RSA_KEY, alg="PS256")
    await adapter(keys, algorithms=["PS256"]).validate(ALICE, {"token": presented})
    await refusal(adapter(keys, algorithms=["RS256"]), presented)


async def test_a_key_is_used_for_its_own_algorithm_only() -> None:
    key = RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
    keys = key_set({**key, "kid": "one", "alg": "RS256"})
    await refusal(adapter(keys, algorithms=["RS256", "PS256"]), token(RSA_KEY, alg="PS256"))


async def test_another_claim_may_name_the_agent() -> None:
    auth = adapter(name_claim="agent")
    await auth.validate(ALICE, {"token": token(sub="somebody", agent="alice")})
    await refusal(auth, token())


async def test_keys_are_replaced_while_in_use() -> None:
    auth = adapter()
    auth.replace(key_set(public(OTHER, "two"), public(KEY, "three")))
    await auth.validate(ALICE, {"token": token(OTHER, kid="two")})
    await refusal(auth, token())
    await refusal(auth, token(kid=None))  # With two keys, a token says which.


async def test_a_malformed_replacement_changes_nothing() -> None:
    auth = adapter()
    with pytest.raises(ValueError, match="key set"):
        auth.replace("{")
    await auth.validate(ALICE, {"token": token()})


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"keys": 1}', '{"keys": [{"kty": "oct"}]}'])
def test_a_set_without_public_keys_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match="key set"):
        adapter(content)


@pytest.mark.parametrize(
    "options",
    [
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"algorithms": []},
        {"name_claim": ""},
        {"leeway_seconds": -1},
        {"leeway_seconds": float("nan")},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        adapter(**options)


async def test_a_token_is_known_without_a_name_if_it_is_good_for_any() -> None:
    auth = adapter()
    assert await auth.knows(token(sub="anybody")) is True
    assert await auth.knows(token(OTHER)) is False
    assert await auth.knows("") is False
