"""Credentials are checked, failures say little, and secrets stay secret."""

from __future__ import annotations

import hmac
from typing import Any

import pytest
import trio

from trio_hub.auth import ApiKeyAuth, AuthAdapter, AuthRegistry, NoAuth, make_key
from trio_hub.errors import AuthError
from trio_hub.records import Passport

ALICE = Passport(name="alice")
SECRET = "s3cret-of-alice"


class Broken:
    scheme = "broken"

    async def validate(self, passport: Passport, claim: Any) -> None:
        raise RuntimeError(f"cannot look up {claim}")


class Hung:
    scheme = "hung"

    async def validate(self, passport: Passport, claim: Any) -> None:
        await trio.sleep_forever()


async def refusal(adapter: AuthAdapter, name: str, claim: dict[str, Any]) -> str:
    with pytest.raises(AuthError) as caught:
        await adapter.validate(Passport(name=name), claim)
    return caught.value.message


async def test_the_right_key_is_accepted() -> None:
    await ApiKeyAuth({"alice": SECRET}).validate(ALICE, {"token": SECRET})


@pytest.mark.parametrize("token", ["wrong", SECRET + "x", SECRET[:-1], "é", "\ud800"])
async def test_another_key_is_refused(token: str) -> None:
    await refusal(ApiKeyAuth({"alice": SECRET, "bob": "b"}), "alice", {"token": token})


@pytest.mark.parametrize("claim", [{}, {"token": ""}, {"token": 7}, {"token": None}])
async def test_a_claim_without_a_token_says_what_a_claim_is(claim: dict[str, Any]) -> None:
    assert "token" in await refusal(ApiKeyAuth({"alice": SECRET}), "alice", claim)


async def test_a_refusal_does_not_tell_whether_the_name_has_a_key() -> None:
    known = await refusal(ApiKeyAuth({"alice": SECRET}), "alice", {"token": "wrong"})
    unknown = await refusal(ApiKeyAuth({"bob": SECRET}), "alice", {"token": "wrong"})
    assert known == unknown


@pytest.mark.parametrize("name", ["alice", "nobody"])
async def test_every_refusal_does_the_same_comparison(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    lengths: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def recording(one: bytes, other: bytes) -> bool:
        lengths.append((len(one), len(other)))
        return compare(one, other)

    auth = ApiKeyAuth({"alice": SECRET})
    monkeypatch.setattr(hmac, "compare_digest", recording)
    await refusal(auth, name, {"token": "wrong"})
    assert lengths == [(32, 32)]


async def test_the_resolver_is_asked_for_names_without_a_static_key() -> None:
    asked: list[str] = []

    async def resolver(name: str) -> str | None:
        asked.append(name)
        return {"carol": "c-key", "empty": ""}.get(name)

    auth = ApiKeyAuth({"alice": SECRET}, resolver=resolver)
    await auth.validate(ALICE, {"token": SECRET})
    assert asked == []
    await auth.validate(Passport(name="carol"), {"token": "c-key"})
    await refusal(auth, "carol", {"token": SECRET})
    await refusal(auth, "nobody", {"token": SECRET})
    await refusal(auth, "empty", {"token": "x"})
    assert asked == ["carol", "carol", "nobody", "empty"]


def test_an_empty_key_is_refused_where_it_is_configured() -> None:
    with pytest.raises(ValueError, match="alice"):
        ApiKeyAuth({"alice": ""})


async def test_a_key_stands_in_no_repr_message_or_attribute() -> None:
    auth = ApiKeyAuth({"alice": SECRET})
    message = await refusal(auth, "alice", {"token": "my-wrong-guess"})
    assert "my-wrong-guess" not in message
    assert SECRET not in message + repr(auth) + repr(AuthRegistry([auth])) + repr(vars(auth))


async def test_the_default_registry_believes_everybody() -> None:
    registry = AuthRegistry.default()
    assert registry.schemes == ("none",)
    await registry.check(ALICE, "none", {})


async def test_the_registry_asks_the_adapter_of_the_scheme() -> None:
    registry = AuthRegistry([NoAuth(), ApiKeyAuth({"alice": SECRET})])
    assert registry.schemes == ("none", "api_key")
    await registry.check(ALICE, "api_key", {"token": SECRET})
    with pytest.raises(AuthError, match="not accepted"):
        await registry.check(ALICE, "api_key", {"token": "wrong"})


async def test_an_unknown_scheme_is_an_auth_error_that_names_the_known_ones() -> None:
    with pytest.raises(AuthError, match=r"'jwt'.*none"):
        await AuthRegistry.default().check(ALICE, "jwt", {})


def test_two_adapters_for_one_scheme_are_refused() -> None:
    with pytest.raises(ValueError, match="none"):
        AuthRegistry([NoAuth(), NoAuth()])


def test_a_registry_without_adapters_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody"):
        AuthRegistry([])


async def test_an_adapter_that_fails_refuses_is_logged_and_leaks_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(AuthError) as caught:
        await AuthRegistry([Broken()]).check(ALICE, "broken", {"token": SECRET})
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    [record] = caplog.records
    assert "error_type='RuntimeError'" in record.message
    assert __file__ in record.message
    assert SECRET not in repr(vars(record))


async def test_an_adapter_that_hangs_refuses_in_time(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(AuthError):
        await AuthRegistry([Hung()], check_timeout_seconds=5).check(ALICE, "hung", {})
    [record] = caplog.records
    assert record.message.startswith("an auth adapter took too long")
    assert trio.current_time() >= 5


async def test_a_cancelled_check_is_cancelled_not_refused() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await AuthRegistry([Hung()]).check(ALICE, "hung", {})
    assert scope.cancelled_caught


async def test_a_key_is_known_without_a_name_while_it_is_valid() -> None:
    now = 100.0
    key, hashed = make_key("alice", now, expires_at=200.0)
    auth = ApiKeyAuth({"bob": "b-key"}, hashed=[hashed], clock=lambda: now)
    for good in (key, "b-key"):
        assert await auth.knows(good) is True
    for bad in ("", "alice", key[:-1]):
        assert await auth.knows(bad) is False
    now = 200.0
    assert await auth.knows(key) is False
