"""IP addresses cut to their network; the address itself goes no further (1.1.2-log, 1.1-a)."""

import pyarrow as pa
import pyarrow.compute as pc

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = rf"^(?P<g0>{_OCTET})\.(?P<g1>{_OCTET})\.(?P<g2>{_OCTET})\.{_OCTET}$"
_GROUP = r"[0-9a-fA-F]{1,4}"
_GROUPS = rf"{_GROUP}(?::{_GROUP}){{0,6}}"
_WHOLE_IPV6 = rf"^(?:{_GROUP}:){{7}}{_GROUP}$"
_ELIDED_IPV6 = rf"^{_GROUPS}::(?:{_GROUPS})?$"
_FIRST_GROUPS = r"^(?P<g0>[^:]+):(?P<g1>[^:]*):(?P<g2>[^:]*)"
_NOTHING = pa.scalar(None, pa.string())


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
    first, second, third = pc.extract_regex(_shaped(addresses), _FIRST_GROUPS).flatten()
    # `a::b` leaves out groups behind the first: of what follows, only the sixth group from the end is the third.
    far = pc.and_(pc.equal(second, ""), pc.less(pc.count_substring(addresses, ":"), 7))
    groups = [_plain(group) for group in (first, second, pc.if_else(far, "", third))]
    groups[0] = pc.if_else(pc.equal(groups[0], "0"), _NOTHING, groups[0])
    return pc.binary_join_element_wise(pc.binary_join_element_wise(*groups[:kept], ":"), f"::/{kept * 16}", "")


def _shaped(addresses: pa.StringArray) -> pa.StringArray:
    """IPv6 addresses of a right form, others null: eight groups, or up to seven and two colons for the rest."""
    colons = pc.count_substring(addresses, ":")
    groups = pc.if_else(pc.ends_with(addresses, "::"), pc.subtract(colons, 1), colons)
    elided = pc.and_(pc.match_substring_regex(addresses, _ELIDED_IPV6), pc.less_equal(groups, 7))
    return pc.if_else(pc.or_(elided, pc.match_substring_regex(addresses, _WHOLE_IPV6)), addresses, _NOTHING)


def _plain(group: pa.StringArray) -> pa.StringArray:
    stripped = pc.utf8_lower(pc.ascii_ltrim(group, characters="0"))
    return pc.if_else(pc.equal(stripped, ""), "0", stripped)


def _like(column: pa.StringArray, word: str) -> pa.StringArray:
    return pc.if_else(column.is_valid(), word, _NOTHING)
