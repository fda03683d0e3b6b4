"""A hub that is served lets in who has a token of its issuer, and follows the issuer's keys."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from trio_hub.errors import AuthError
from trio_hub.links import WsLink

from ..hub.peer import connected
from .program import PATIENCE_SECONDS, run, running, write_whole

FREE = ("--memory", "--port", "0")
OF_US = ("--jwt-issuer", "us", "--jwt-audience", "hub")
KEY = ec.generate_private_key(ec.SECP256R1())
NEXT = ec.generate_private_key(ec.SECP256R1())


def key_set(*keys: ec.EllipticCurvePrivateKey) -> str:
    publics = [ECAlgorithm.to_jwk(key.public_key(), as_dict=True) for key in keys]
    return json.dumps({"keys": [{**it, "kid": it["x"]} for it in publics]})


def token(key: ec.EllipticCurvePrivateKey = KEY, **changes: Any) -> str:
    claims = {"iss": "us", "aud": "hub", "sub": "alice", "exp": int(time.time()) + 1000, **changes}
    key_id = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)["x"]
    return jwt.encode(claims, key, algorithm="ES256", headers={"kid": key_id})


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(key_set(KEY))
    return path


def passport(presented: str, name: str = "alice") -> dict[str, Any]:
    return {"name": name, "auth": {"scheme": "jwt", "claim": {"token": presented}}}


async def refusal(url: str, presented: dict[str, Any]) -> str:
    async with connected(WsLink(url)) as peer:
        with pytest.raises(AuthError) as caught:
            await peer.request("register", passport=presented, resume={})
        return caught.value.message


@pytest.mark.slow
async def test_a_token_lets_in_and_nothing_else_does(tmp_path: Path, keys: Path) -> None:
    async with (
        running(tmp_path, *FREE, "--jwt-keys", keys, *OF_US) as hub,
        connected(WsLink(hub.url)) as peer,
    ):
        await peer.request("register", passport=passport(token()), resume={})
        for wrong in (
            passport(token(aud="elsewhere")),
            passport(token(iss="them")),
            passport(token(NEXT)),
            passport(token(), "bob"),
            {"name": "alice"},
        ):
            assert token() not in await refusal(hub.url, wrong)
        assert token()[:40] not in hub.log


@pytest.mark.slow
async def test_who_came_by_a_key_that_is_gone_is_told_and_parted_with(
    tmp_path: Path, keys: Path
) -> None:
    async with (
        running(tmp_path, *FREE, "--jwt-keys", keys, *OF_US) as hub,
        connected(WsLink(hub.url)) as alice,
        connected(WsLink(hub.url)) as bob,
    ):
        await alice.request("register", passport=passport(token()), resume={})
        write_whole(keys, "no key set")
        write_whole(keys, key_set(KEY, NEXT))
        bobs = passport(token(NEXT, sub="bob"), "bob")
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                try:
                    await bob.request("register", passport=bobs, resume={})
                except AuthError:
                    await trio.sleep(0.1)  # it has not looked yet, and a file tells nobody
                else:
                    break
        write_whole(keys, key_set(NEXT))
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await alice.gone()).endswith("the credential was revoked")
        await bob.request("find_agent_id", name="alice")


@pytest.mark.slow
async def test_keys_and_tokens_are_taken_side_by_side(tmp_path: Path, keys: Path) -> None:
    api_keys = tmp_path / "keys.toml"
    api_keys.write_text('bob = "a-long-secret-of-bob"\n')
    bob = {"scheme": "api_key", "claim": {"token": "a-long-secret-of-bob"}}
    by_both = ("--keys", api_keys, "--jwt-keys", keys, *OF_US)
    async with (
        running(tmp_path, *FREE, *by_both) as hub,
        connected(WsLink(hub.url)) as peer,
    ):
        await peer.request("register", passport={"name": "bob", "auth": bob}, resume={})
        await peer.request("register", passport=passport(token()), resume={})


@pytest.mark.slow
@pytest.mark.parametrize("where", ["file", "variable"])
async def test_commands_come_with_a_token(
    tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    of_ops = token(sub="ops")
    (tmp_path / "ops.jwt").write_text(of_ops + "\n")
    serving = (*FREE, "--jwt-keys", keys, *OF_US, "--operator", "ops")
    async with running(tmp_path, *serving) as hub:
        with_token: tuple[str | Path, ...] = ("--token-file", tmp_path / "ops.jwt")
        if where == "variable":
            monkeypatch.setenv("TRIO_HUB_TOKEN", of_ops)
            with_token = ()
        asking = ("health", "--url", hub.url, "--name", "ops", "--register")
        ended = await run(*asking, *with_token)
        assert ended.status == 0, ended
        monkeypatch.delenv("TRIO_HUB_TOKEN", raising=False)
        assert "--token-file" in (await run(*asking)).complaint


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--jwt-keys", "KEYS"), "--jwt-keys needs --jwt-issuer and --jwt-audience"),
        (("--jwt-keys", "KEYS", "--jwt-issuer", "us"), "--jwt-keys needs --jwt-issuer and"),
        (("--jwt-issuer", "us"), "need --jwt-keys"),
        (("--jwt-keys", "/none/such", *OF_US), "cannot read the key set /none/such"),
        (("--jwt-keys", "EMPTY", *OF_US), "the key set has no list"),
    ],
)
async def test_what_would_let_in_anybody_or_nobody_is_one_line(
    tmp_path: Path, keys: Path, words: tuple[str, ...], complaint: str
) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text('{"keys": []}')
    named = {"KEYS": str(keys), "EMPTY": str(empty)}
    ended = await run(*FREE, *(named.get(word, word) for word in words))
    assert complaint in ended.complaint
