"""IP addresses cut to their network; the address itself goes no further (1.1.2-log, 1.1-a)."""

import pyarrow as pa
import pyarrow.compute as pc

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = rf"^(?P<g0>{_OCTET})\.(?P<g1>{_OCTET})\.(?P<g2>{_OCTET})\.{_OCTET}$"
_HEX = r"[0-9a-fA-F]"
_IPV6_SHAPE = rf"^(?:{_HEX}{{0,4}}:){{2,7}}{_HEX}{{0,4}}$"
_IPV6 = rf"^(?P<g0>{_HEX}{{1,4}}):(?P<g1>{_HEX}{{0,4}}):(?P<g2>{_HEX}{{0,4}})"


def networks(addresses: pa.StringArray, ipv4_prefix: int, ipv6_prefix: int) -> pa.StringArray:
    """Each address's network in CIDR notation, or null where there is none to be told.

    Prefixes are 8, 16 or 24 bits and 16, 32 or 48 bits: whole groups of the text. IPv6 addresses that begin with zeros
    (loopback, mapped IPv4) and those with a zone become null.
    """
    return pc.coalesce(_ipv4(addresses, ipv4_prefix // 8), _ipv6(addresses, ipv6_prefix // 16))


def _ipv4(addresses: pa.StringArray, kept: int) -> pa.StringArray:
    groups = pc.extract_regex(addresses, _IPV4).flatten()
    octets = [*groups[:kept], *(_like(groups[0], "0") for _ in range(4 - kept))]
    return pc.binary_join_element_wise(pc.binary_join_element_wise(*octets, "."), f"{kept * 8}", "/")


def _ipv6(addresses: pa.StringArray, kept: int) -> pa.StringArray:
    shaped = pc.if_else(pc.match_substring_regex(addresses, _IPV6_SHAPE), addresses, pa.scalar(None, pa.string()))
    first, second, third = pc.extract_regex(shaped, _IPV6).flatten()
    elided = pc.equal(second, "")  # `a::b`: what follows the two colons stands at the far end
    groups = [first, second, pc.if_else(elided, "", third)]
    plain = [_plain(group) for group in groups[:kept]]
    return pc.binary_join_element_wise(pc.binary_join_element_wise(*plain, ":"), f"::/{kept * 16}", "")


def _plain(group: pa.StringArray) -> pa.StringArray:
    stripped = pc.utf8_lower(pc.ascii_ltrim(group, characters="0"))
    return pc.if_else(pc.equal(stripped, ""), "0", stripped)


def _like(column: pa.StringArray, word: str) -> pa.StringArray:
    return pc.if_else(column.is_valid(), word, pa.scalar(None, pa.string()))
