"""What the tests of links start from."""

from __future__ import annotations

import pytest

from tests.certificates import Authority
from trio_hub.links.transport import TransportName


@pytest.fixture(params=["trio-websocket", "websockets"])
def transport(request: pytest.FixtureRequest) -> TransportName:
    name: TransportName = request.param
    return name


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()
