"""Files that make no context of TLS are complained of in one line, which names the file."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from trio_hub.cli.command import CommandError
from trio_hub.cli.tls import connecting_context, serving_context

from ..certificates import Authority


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    authority = Authority()
    authority.ca.cert_pem.write_to_path(made / "ca.pem")
    of_hub = authority.ca.issue_cert("127.0.0.1")
    of_hub.private_key_and_cert_chain_pem.write_to_path(made / "hub.pem")
    (made / "empty").write_text("")
    return made


@pytest.mark.parametrize(
    ("cert", "key", "ca", "complaint"),
    [
        (None, "hub.pem", None, "--tls-key needs --tls-cert"),
        (None, None, "ca.pem", "--client-ca needs --tls-cert"),
        ("hub.pem", None, "empty", "the file .*empty holds no certificates"),
        ("hub.pem", None, "none", "cannot read the file of certificates .*none"),
        ("ca.pem", None, None, "the TLS certificate .*ca.pem and key .*ca.pem cannot be used"),
        ("hub.pem", "none", None, "cannot read the TLS key .*none"),
    ],
)
def test_what_a_hub_cannot_serve_with(
    folder: Path, cert: str | None, key: str | None, ca: str | None, complaint: str
) -> None:
    files = [None if it is None else folder / it for it in (cert, key, ca)]
    with pytest.raises(CommandError, match=complaint):
        serving_context(*files)


@pytest.mark.parametrize(
    ("ca", "cert", "key", "complaint"),
    [
        (None, None, "hub.pem", "client-key needs client-cert"),
        (None, "none", None, "cannot read the client certificate .*none"),
        ("ca.pem", "ca.pem", None, "the client certificate .*ca.pem and key .*ca.pem cannot be"),
        ("empty", None, None, "the file .*empty holds no certificates"),
    ],
)
def test_what_a_command_cannot_connect_with(
    folder: Path, ca: str | None, cert: str | None, key: str | None, complaint: str
) -> None:
    files = [None if it is None else folder / it for it in (ca, cert, key)]
    with pytest.raises(CommandError, match=complaint):
        connecting_context(*files)


def test_whom_a_hub_asks_for_certificates_and_whom_it_believes(folder: Path) -> None:
    assert serving_context(None, None, None) is None
    plain = serving_context(folder / "hub.pem", None, None)
    asking = serving_context(folder / "hub.pem", None, folder / "ca.pem")
    assert plain is not None
    assert plain.verify_mode is ssl.CERT_NONE
    assert asking is not None
    assert asking.verify_mode is ssl.CERT_OPTIONAL
    # None but those of the file: whom the system believes signs for anybody.
    assert len(asking.get_ca_certs()) == 1


def test_a_command_checks_the_hub_whatever_it_brings(folder: Path) -> None:
    assert connecting_context(None, None, None) is None
    for context in (
        connecting_context(None, folder / "hub.pem", None),
        connecting_context(folder / "ca.pem", None, None),
    ):
        assert context is not None
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
