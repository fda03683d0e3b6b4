"""Options: the same from the command line and from a file, and every fault named."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from trio_hub.cli.command import CommandError
from trio_hub.cli.federation import FederationSettings
from trio_hub.cli.options import merge
from trio_hub.cli.serve import OPTIONS


def merged(tmp_path: Path, content: str, *words: str) -> dict[str, object]:
    path = tmp_path / "hub.toml"
    path.write_text(content)
    parser = argparse.ArgumentParser()
    for option in OPTIONS:
        option.add_to(parser)
    return merge(OPTIONS, vars(parser.parse_args(words)), path)


def test_every_option_can_stand_in_the_file(tmp_path: Path) -> None:
    said = merged(
        tmp_path,
        """
        host = "::1"
        port = 0
        memory = true
        keys = "k.toml"
        jwt-keys = "jwks.json"
        jwt-issuer = "us"
        jwt-audience = "hub"
        jwt-name-claim = "name"
        client-ca = "agents.pem"
        client-crl = "agents.crl"
        client-cert-name = "san-uri"
        client-cert-prefix = "spiffe://x/"
        tls-cert = "/abs/c.pem"
        tls-key = "t.pem"
        allow-unauthenticated = true
        operators = ["ops", "night.shift"]
        allow-unauthenticated-operators = true
        transport = "trio-websocket"
        max-connections = 500
        max-connections-per-address = 50
        behind-proxy = true
        metrics-host = "::1"
        metrics-port = 9100
        retain-ended = "30d"
        retain-ended-max = 100
        retain-records = "90d"
        retain-records-max = 100_000
        retain-records-bytes = 50_000_000
        archive = "old"
        log-level = "error"
        log-format = "json"
        [federation]
        name = "east"
        """,
    )
    assert said == {
        "host": "::1",
        "port": 0,
        "data": None,
        "memory": True,
        "keys": tmp_path / "k.toml",
        "jwt_keys": tmp_path / "jwks.json",
        "jwt_issuer": "us",
        "jwt_audience": "hub",
        "jwt_name_claim": "name",
        "client_ca": tmp_path / "agents.pem",
        "client_crl": tmp_path / "agents.crl",
        "client_cert_name": "san-uri",
        "client_cert_prefix": "spiffe://x/",
        "tls_cert": Path("/abs/c.pem"),
        "tls_key": tmp_path / "t.pem",
        "allow_unauthenticated": True,
        "operators": ["ops", "night.shift"],
        "allow_unauthenticated_operators": True,
        "transport": "trio-websocket",
        "max_connections": 500,
        "max_connections_per_address": 50,
        "behind_proxy": True,
        "metrics_host": "::1",
        "metrics_port": 9100,
        "retain_ended": "30d",
        "retain_ended_max": 100,
        "retain_records": "90d",
        "retain_records_max": 100_000,
        "retain_records_bytes": 50_000_000,
        "archive": tmp_path / "old",
        "federation": FederationSettings(name="east", peers=()),
        "log_level": "error",
        "log_format": "json",
    }


def test_nothing_said_means_the_defaults() -> None:
    said = merge(OPTIONS, {}, None)
    assert (said["host"], said["port"], said["memory"]) == ("127.0.0.1", 8765, False)
    assert (said["log_level"], said["log_format"]) == ("info", "text")


@pytest.mark.parametrize(
    ("content", "words", "memory", "data"),
    [
        ("memory = true", ("--data", "here"), False, Path("here")),
        ('data = "there"', ("--memory",), True, None),
    ],
    ids=["data over memory", "memory over data"],
)
def test_where_to_keep_things_on_the_command_line_overrules_the_file(
    tmp_path: Path, content: str, words: tuple[str, ...], memory: bool, data: Path | None
) -> None:
    said = merged(tmp_path, content, *words)
    assert (said["memory"], said["data"]) == (memory, data)


def test_a_flag_of_the_file_can_be_taken_back(tmp_path: Path) -> None:
    said = merged(tmp_path, "allow-unauthenticated = true", "--no-allow-unauthenticated")
    assert said["allow_unauthenticated"] is False


def test_every_bad_field_of_a_file_is_named(tmp_path: Path) -> None:
    content = 'host = ""\nport = true\nkeys = 1979-05-27\nlog-level = "loud"\nmemroy = true\n'
    with pytest.raises(CommandError) as caught:
        merged(tmp_path, content)
    assert str(caught.value).partition("hub.toml: ")[2].split("; ") == [
        "host: expected a text that is not empty",
        "port: expected a whole number, got true or false",
        "keys: expected a string, got a date or time",
        "log-level: expected one of debug, info, warning, error",
        "memroy: there is no such option",
        "did you mean memory?",
    ]


def test_a_file_cannot_both_keep_and_not_keep(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="data and memory: only one"):
        merged(tmp_path, 'memory = true\ndata = "x"')


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"port = \nhost", "line 1"),
        (b"port = 1\nport = 2\n", "line 2"),
        (b"\xff", "UTF-8"),
    ],
    ids=["no value", "twice", "no text"],
)
def test_a_file_that_is_no_toml_is_refused_with_the_place(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "hub.toml").write_bytes(content)
    with pytest.raises(CommandError, match=said):
        merge(OPTIONS, {}, tmp_path / "hub.toml")
