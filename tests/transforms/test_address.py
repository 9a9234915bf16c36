from ipaddress import IPv4Address, IPv6Address, ip_network

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import unhurried
from transforms.address import networks

ipv6_addresses = st.integers(1 << 112, (1 << 128) - 1).map(IPv6Address)  # a first group that is not zero


def network(address: str, ipv4: int = 24, ipv6: int = 48) -> str | None:
    return networks(pa.array([address]), ipv4, ipv6)[0].as_py()


@unhurried
@given(st.lists(st.none() | st.ip_addresses(v=4)), st.sampled_from([8, 16, 24]))
def test_ipv4_is_cut_to_its_network(addresses, prefix):
    found = networks(pa.array([None if a is None else str(a) for a in addresses], pa.string()), prefix, 48)
    assert found.to_pylist() == [
        None if a is None else str(ip_network(f"{a}/{prefix}", strict=False)) for a in addresses
    ]


@unhurried
@given(st.lists(ipv6_addresses), st.sampled_from([16, 32, 48]), st.sampled_from([str.lower, str.upper]))
def test_ipv6_is_cut_to_its_network_however_it_is_written(addresses, prefix, case):
    expected = [ip_network((address, prefix), strict=False) for address in addresses]
    for spelling in (str, lambda address: address.exploded):
        found = networks(pa.array([case(spelling(address)) for address in addresses], pa.string()), 24, prefix)
        assert [ip_network(text) for text in found.to_pylist()] == expected


@unhurried
@given(ipv6_addresses)
def test_two_spellings_of_an_address_have_one_network(address):
    assert network(address.compressed) == network(address.exploded)


def test_two_colons_may_stand_for_one_group():
    assert ip_network(network("2001::db8:1:2:3:4:5")) == ip_network("2001:0:db8::/48")


@pytest.mark.clause("1.1.2-log")
@unhurried
@given(st.integers(0, 2**32 - 1), st.integers(1, 255))
def test_addresses_of_one_network_are_not_told_apart(number, step):
    address = IPv4Address(number)
    neighbour = IPv4Address(number & ~0xFF | (number + step) & 0xFF)
    assert network(str(address)) == network(str(neighbour))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.2.3.4",
        "1.2.3.4 ",
        "1.2.3.4\n",
        "1.2.3.4:80",
        "localhost",
        "::",
        "::1",
        "::ffff:1.2.3.4",
        "fe80::1%wlan0",
        "2001:db8",
        "12345::1",
        "2001:db8::g",
        "[2001:db8::1]",
        "٣.1.1.1",
    ],
)
def test_what_has_no_network_to_tell_becomes_null(address):
    assert network(address) is None


@pytest.mark.parametrize("address", ["a:b:c", "1:::::::", "1::2::3"])
def test_what_is_no_address_has_no_network(address):
    assert network(address) is None


@pytest.mark.parametrize("address", ["0:0:0:0:0:0:0:1", "0:0:0:0:0:ffff:102:304"])
def test_a_mapped_or_local_address_written_out_becomes_null(address):
    assert network(address) is None
