"""A hub that is served lets in by certificates, and commands come with them."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest
import trio
import trustme

from trio_hub.cli.connecting import add_connection_arguments, passport_of
from trio_hub.errors import AuthError
from trio_hub.links import WsLink

from ..certificates import Authority
from ..hub.peer import connected
from .program import PATIENCE_SECONDS, Running, run, running, write_whole

FREE = ("--memory", "--port", "0")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority()
    made.ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    of_hub = made.ca.issue_cert("127.0.0.1")
    of_hub.private_key_and_cert_chain_pem.write_to_path(tmp_path / "hub.pem")
    return made


def serving(folder: Path, *more: str | Path) -> tuple[str | Path, ...]:
    tls = ("--tls-cert", folder / "hub.pem", "--client-ca", folder / "ca.pem")
    return (*FREE, *tls, *more)


def asking(hub: Running, folder: Path, *more: str | Path) -> tuple[str | Path, ...]:
    who = ("health", "--url", hub.url, "--name", "ops", "--register")
    return (*who, "--tls-ca", folder / "ca.pem", *more)


def write(certificate: trustme.LeafCert, path: Path) -> Path:
    certificate.private_key_and_cert_chain_pem.write_to_path(path)
    return path


@pytest.mark.slow
async def test_commands_come_with_a_certificate(tmp_path: Path, authority: Authority) -> None:
    ops = authority.issue(common_names=("ops",))
    together = write(ops, tmp_path / "ops.pem")
    ops.cert_chain_pems[0].write_to_path(tmp_path / "ops-cert.pem")
    ops.private_key_pem.write_to_path(tmp_path / "ops-key.pem")
    of_bob = write(authority.issue(common_names=("bob",)), tmp_path / "bob.pem")
    stranger = write(Authority().issue(common_names=("ops",)), tmp_path / "stranger.pem")
    async with running(tmp_path, *serving(tmp_path, "--operator", "ops")) as hub:
        for given in (
            ("--client-cert", together),
            ("--client-cert", tmp_path / "ops-cert.pem", "--client-key", tmp_path / "ops-key.pem"),
        ):
            ended = await run(*asking(hub, tmp_path, *given))
            assert ended.status == 0, ended
        complaint = (await run(*asking(hub, tmp_path, "--client-cert", of_bob))).complaint
        assert "does not name 'ops'" in complaint
        complaint = (await run(*asking(hub, tmp_path, "--client-cert", stranger))).complaint
        assert "a certificate that it does not take" in complaint
        assert "--client-cert" in (await run(*asking(hub, tmp_path))).complaint
        assert "client certificate refused" in hub.log


@pytest.mark.parametrize(
    ("words", "scheme"),
    [
        ((), "api_key"),
        (("--client-cert", "ops.pem"), "client_cert"),
        (("--client-cert", "ops.pem", "--key-file", "ops.key"), "api_key"),
    ],
)
def test_what_was_typed_says_by_what_a_command_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], scheme: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIO_HUB_KEY", "of-the-environment")
    (tmp_path / "ops.key").write_text("a-key")
    parser = ArgumentParser()
    add_connection_arguments(parser, name_help="who")
    passport = passport_of(parser.parse_args(["--name", "ops", *words]))
    assert passport is not None
    assert passport.auth.scheme == scheme


@pytest.mark.slow
async def test_keys_and_certificates_are_taken_side_by_side(
    tmp_path: Path, authority: Authority
) -> None:
    (tmp_path / "keys.toml").write_text('bob = "a-long-secret-of-bob"\n')
    config = tmp_path / "hub.toml"
    config.write_text(
        'keys = "keys.toml"\ntls-cert = "hub.pem"\nclient-ca = "ca.pem"\n'
        'client-cert-name = "cn"\nclient-cert-prefix = "agent-"\n'
    )
    by_key = {"scheme": "api_key", "claim": {"token": "a-long-secret-of-bob"}}
    by_certificate = {"scheme": "client_cert"}
    async with (
        running(tmp_path, *FREE, "--config", config) as hub,
        connected(WsLink(hub.url, ssl_context=authority.named("agent-alice"))) as alice,
        connected(WsLink(hub.url, ssl_context=authority.trusting())) as bob,
    ):
        passport = {"name": "alice", "auth": by_certificate}
        await alice.request("register", passport=passport, resume={})
        await bob.request("register", passport={"name": "bob", "auth": by_key}, resume={})
        passport = {"name": "carol", "auth": by_certificate}
        with pytest.raises(AuthError, match="without a client certificate"):
            await bob.request("register", passport=passport, resume={})


@pytest.mark.slow
async def test_who_is_revoked_while_the_hub_serves_is_parted_with(
    tmp_path: Path, authority: Authority
) -> None:
    lost = authority.issue(common_names=("alice",))
    crl = tmp_path / "agents.crl"
    write_whole(crl, authority.revoke().decode())
    async with (
        running(tmp_path, *serving(tmp_path, "--client-crl", crl)) as hub,
        connected(WsLink(hub.url, ssl_context=authority.trusting(lost))) as alice,
    ):
        passport = {"name": "alice", "auth": {"scheme": "client_cert"}}
        await alice.request("register", passport=passport, resume={})
        write_whole(crl, authority.revoke(lost).decode())
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await alice.gone()).endswith("the credential was revoked")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--client-ca", "ca.pem"), "--client-ca needs --tls-cert"),
        (("--client-crl", "ca.pem"), "--client-crl needs --client-ca"),
        (("--client-ca", "ca.pem", "--client-crl", "ca.pem"), "it is no revocation list"),
    ],
)
async def test_what_cannot_be_used_is_one_line(
    tmp_path: Path,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaint in (await run(*FREE, *words)).complaint
