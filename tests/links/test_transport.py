"""Which library speaks WebSocket, and that nobody can tell from the outside."""

from __future__ import annotations

from itertools import product

import pytest

from trio_hub.links import (
    TransportName,
    WsLink,
    choose_transport,
    serve_ws,
    transport as transports,
)

from .echo import EchoHub, running

BOTH: tuple[TransportName, ...] = ("trio-websocket", "websockets")


@pytest.mark.parametrize(("client", "server"), list(product(BOTH, BOTH)))
async def test_every_client_talks_with_every_server(
    client: TransportName, server: TransportName
) -> None:
    hub = EchoHub()
    async with serve_ws(hub, "127.0.0.1", 0, transport=server) as serving:
        assert serving.transport == server
        link = WsLink(serving.url, transport=client)
        async with link.connect() as endpoint, running(endpoint):
            for size in (0, 125, 126, 65_535, 65_536, 1_000_000):
                endpoint.push_nowait(b"x" * size)
                assert await endpoint.receive() == "x" * size
    assert hub.lost == ["closed by the peer: 1000 normal closure"]


def installed(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    real = transports.installed_version

    def version_of(distribution: str) -> str | None:
        return version if distribution == "websockets" else real(distribution)

    monkeypatch.setattr(transports, "installed_version", version_of)


def test_the_fastest_one_that_is_installed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_transport().name == "websockets"
    assert choose_transport("trio-websocket").name == "trio-websocket"
    installed(monkeypatch, None)
    assert choose_transport().name == "trio-websocket"


@pytest.mark.parametrize(
    ("version", "words"), [(None, "install trio_hub"), ("13.1", "14 or newer, and 13.1")]
)
def test_one_that_cannot_be_had_says_what_to_install(
    version: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, version)
    with pytest.raises(ImportError, match=words):
        choose_transport("websockets")
    assert choose_transport("auto").name == "trio-websocket"


def test_one_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="it can be auto, trio-websocket, websockets"):
        choose_transport("uwebsockets")
    with pytest.raises(ValueError, match="unknown transport"):
        WsLink("ws://host", transport="smoke-signals")  # type: ignore[arg-type]
