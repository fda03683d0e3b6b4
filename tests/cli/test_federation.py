"""The table that says which hubs a hub is joined with: what it means, and every fault named."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_hub.cli.command import CommandError
from trio_hub.cli.federation import FEDERATION_OPTION, FederationSettings
from trio_hub.cli.main import main
from trio_hub.cli.options import merge

from ..certificates import Authority

PEER = """
name = "east"
[peers.west]
url = "ws://127.0.0.1:1"
exports = ["desk-*", "bob"]
imports = []
"""


def read(tmp_path: Path, content: str) -> FederationSettings:
    path = tmp_path / "peers.toml"
    path.write_text(content)
    said = merge(
        [FEDERATION_OPTION], {"federation": FEDERATION_OPTION.kind.from_words(str(path))}, None
    )
    settings = said["federation"]
    assert isinstance(settings, FederationSettings)
    return settings


def test_file_says_who_may_be_known_to_whom_and_by_which_key(tmp_path: Path) -> None:
    (tmp_path / "west.key").write_text("s3cret\n")
    settings = read(tmp_path, PEER + 'key-file = "west.key"')
    assert settings.name == "east"
    assert not settings.allow_unauthenticated
    (peer,) = settings.peers
    assert (peer.name, peer.key) == ("west", "s3cret")
    assert (peer.exports, peer.imports) == (("desk-*", "bob"), ())
    assert "s3cret" not in repr(settings)


def test_key_may_stand_in_the_table(tmp_path: Path) -> None:
    (peer,) = read(tmp_path, PEER + 'key = "k"').peers
    assert peer.key == "k"


@pytest.mark.parametrize("keyed", [False, True])
def test_certificate_proves_who_we_are_unless_there_is_a_key(tmp_path: Path, keyed: bool) -> None:
    certificate = Authority().issue(common_names=("hub:east",))
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "east.pem")
    content = PEER.replace("ws:", "wss:") + 'client-cert = "east.pem"\n'
    (peer,) = read(tmp_path, content + 'key = "k"' * keyed).peers
    assert peer.login.scheme == ("api_key" if keyed else "client_cert")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "name: expected"),
        ('name = "east"\npeer = 1', "there is no 'peer'"),
        ('name = "east"\npeers = 1', "peers: expected a table"),
        ('name = "east"\nallow-unauthenticated = "yes"', "expected true or false"),
        ('name = "East"', "no name of a hub"),
        ('name = "west"' + PEER.replace('name = "east"', ""), "peer of its own"),
        ('name = "east"\npeers.west = 1', "peers.west: expected a table"),
        (PEER + "port = 1", "there is no 'port'"),
        (PEER.replace("imports = []", ""), "imports: expected a list"),
        (PEER.replace("[]", "[1]"), "imports: expected a list"),
        (PEER.replace('"ws://127.0.0.1:1"', '""'), "url: expected a text"),
        (PEER + 'key = ""', "key: expected a text"),
        (PEER + 'key = "k"\nkey-file = "f"', "give one of them"),
        (PEER + 'key-file = "missing"', "missing"),
        (PEER + 'key-file = "empty"', "is empty"),
        (PEER + 'key-file = "binary"', "not UTF-8"),
        (PEER + 'tls-ca = "empty"', "holds no certificates"),
        (PEER + 'client-cert = "missing"', "cannot read the client certificate .*missing"),
        (PEER + 'client-key = "empty"', "client-key needs client-cert"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(CommandError, match=why):
        read(tmp_path, content)


def test_hub_that_authenticates_nobody_is_not_joined_by_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "peers.toml"
    path.write_text(PEER)
    assert main(["--memory", "--port", "0", "--federation", str(path)]) != 0
    assert "without --keys" in capsys.readouterr().err
