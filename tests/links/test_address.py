"""What peers are counted by."""

from __future__ import annotations

import pytest

from trio_hub.links.address import address_of


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("10.0.0.1:50000", "10.0.0.1"),
        ("[2001:db8:1:2:3:4:5:6]:50000", "2001:db8:1:2::/64"),
        ("[fe80::1%eth0]:50000", "fe80::/64"),
        ("[::ffff:10.0.0.1]:50000", "10.0.0.1"),
        ("local", "local"),
        ("unknown", "unknown"),
    ],
)
def test_an_address_counts_without_its_port_and_as_the_network_of_one_household(
    peer: str, address: str
) -> None:
    assert address_of(peer) == address
