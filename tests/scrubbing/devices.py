"""Addresses of people, devices and networks, made by formula: whom they might belong to nobody knows."""

import re
from functools import cache
from random import Random
from string import ascii_uppercase
from string import digits as decimal

import yaml

from tests.scrubbing.checkdigits import luhn
from tests.scrubbing.drawing import URLSAFE, digits, hexadecimal, some, syllables
from tests.scrubbing.people import fill
from tests.scrubbing.texts import CORPORA


def email(rng: Random) -> str:
    first, last = syllables(rng), syllables(rng)
    local = rng.choice(
        (
            f"{first}.{last}",
            f"{first}_{last}{rng.randint(1, 99)}",
            f"{first[0]}{last}",
            f"{last}+{first}",
            digits(rng, 9),
        )
        + (
            f"{first}-{last}",
            f"{first.title()}.{last.title()}",
            f"{first}.ü{last}",
            f"{first}'{last}",
            f"почта.{rng.randint(1, 99)}",
        )
    )
    hosts = ("gmail.com", "163.com", "qq.com", "mail.ru", "mail.example.co.uk", "post.example.museum", "студия.рф")
    hosts += ("müller-gmbh.example", "xn--bcher-kva.example", "web.de", "uni-example.edu.cn", "example.photography")
    return f"{local}@{rng.choice(hosts)}"


def quoted_email(rng: Random) -> str:
    return f'"{syllables(rng)} {syllables(rng)}"@{rng.choice(("example.com", "post.example.org"))}'


@cache
def phones() -> dict[str, dict]:
    """Calling code, trunk prefix and forms of numbers, by country."""
    return yaml.safe_load((CORPORA / "phones.yaml").read_text(encoding="utf-8"))


def numbered(rng: Random, mask: str) -> str:
    return "".join(rng.choice(decimal) if place == "#" else place for place in mask)


def national(rng: Random) -> str:
    return numbered(rng, rng.choice(rng.choice(list(phones().values()))["forms"]))


def punctuated_phone(rng: Random) -> str:
    """National, in parentheses or in groups that something else than blanks alone keeps apart."""
    return next(number for number in iter(lambda: national(rng), "") if not number.replace(" ", "").isdigit())


def international(rng: Random) -> str:
    country = rng.choice(list(phones().values()))
    number, trunk = numbered(rng, rng.choice(country["forms"])), country["trunk"]
    number = re.sub(rf"^(\(?){trunk} *", r"\1", number.replace("/", " "))
    plain = "".join(filter(str.isdigit, number))
    code = country["code"]
    forms = (
        f"+{code}{plain}",
        f"+{code} {number.strip(' -')}",
        f"+{code}-{plain}",
        f"00{code} {plain}",
        f"‹tel:›+{code}{plain}",
    )
    return rng.choice(forms + ((f"+{code} (0){plain}",) if trunk == "0" else ()))


def imei(rng: Random) -> str:
    body = rng.choice(("35", "86", "01", "99")) + digits(rng, 12)
    return body + luhn(body)


def written_imei(rng: Random) -> str:
    mask = rng.choice(("##-######-######-#", "######-##-######-#", "## ###### ###### #", "######/##/######/#"))
    return fill(mask, imei(rng))


def imeisv(rng: Random) -> str:
    return rng.choice(("35", "86")) + digits(rng, 14)


def imsi(rng: Random) -> str:
    network = rng.choice(("26201", "20404", "46000", "40410", "25001", "310260", "23415"))
    return network + digits(rng, 15 - len(network))


def iccid(rng: Random) -> str:
    body = rng.choice(("8931", "8986", "8991", "897010", "8949")) + digits(rng, 14)
    return body[:18] + luhn(body[:18])


def meid(rng: Random) -> str:
    return rng.choice(
        (
            f"A0{hexadecimal(12)(rng)}".upper(),
            f"99{hexadecimal(12)(rng)}",
            f"{0xA0000000 + rng.getrandbits(24):010}{rng.getrandbits(24):08}",
        )
    )


def serial(rng: Random) -> str:
    return rng.choice(
        (
            hexadecimal(8)(rng),
            some(rng, ascii_uppercase + decimal, 10, 14),
            f"R{digits(rng, 2)}{some(rng, ascii_uppercase, 8)}",
        )
    )


def fcm_token(rng: Random) -> str:
    return f"{some(rng, URLSAFE, 22)}:APA91b{some(rng, URLSAFE, 134)}"


def mac(rng: Random) -> str:
    octets = [f"{octet:02x}" for octet in rng.randbytes(6)]
    plain = "".join(octets)
    forms = (
        ":".join(octets),
        "-".join(octets).upper(),
        ".".join(plain[i : i + 4] for i in (0, 4, 8)),
        ":".join(octets).upper(),
    )
    return rng.choice(forms)


def ssid(rng: Random) -> str:
    name = syllables(rng).title()
    return rng.choice(
        (
            f"Familie {name}",
            f"TP-LINK_{hexadecimal(4)(rng).upper()}",
            f"Café {name}",
            f"{name}的WiFi",
            f"HUAWEI-{hexadecimal(6)(rng).upper()}",
        )
        + (f"{name}_5G", f"{name}'s iPhone", f"FRITZ!Box 7590 {name}", f"DIRECT-{digits(rng, 2)}-{name}", f"Дом {name}")
    )


def ipv4(rng: Random) -> str:
    first = rng.choice((10, 192, 172, rng.randint(11, 126), rng.randint(128, 223)))
    return ".".join(map(str, (first, rng.randint(1, 254), rng.randint(0, 255), rng.randint(1, 254))))


def ipv6(rng: Random) -> str:
    groups = [f"{rng.randint(0x1000, 0xFFFF):x}" for _ in range(6)]
    whole = ":".join(("2a02", "0a44", *groups))
    forms = (
        whole,
        whole.upper(),
        f"2001:db8:{groups[0]}::{groups[1]}",
        f"2a00:1450:{groups[0]}:{groups[1]}::",
        f"::ffff:{ipv4(rng)}",
    )
    return rng.choice(
        (*forms, f"fe80::{groups[0]}:{groups[1]}:{groups[2]}:{groups[3]}‹%wlan0›", f"64:ff9b::{ipv4(rng)}")
    )


def uuid(rng: Random) -> str:
    text = rng.randbytes(16).hex()
    dashed = f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
    return rng.choice((dashed, dashed.upper(), f"{{{dashed}}}", f"‹urn:uuid:›{dashed}"))


def bluetooth_name(rng: Random) -> str:
    name = syllables(rng).title()
    return rng.choice(
        (
            f"{name}'s Buds Pro",
            f"Mi Band 7 {name}",
            f"{name} Auto",
            f"WH-1000XM4 {name}",
            f"{name}的耳机",
            f"Galaxy S21 von {name}",
        )
    )
