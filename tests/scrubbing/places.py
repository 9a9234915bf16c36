"""Cards, accounts, papers, coordinates, addresses of pages and paths, made by formula."""

from random import Random

from tests.scrubbing import checkdigits
from tests.scrubbing.checkdigits import luhn
from tests.scrubbing.drawing import ALNUM, URLSAFE, digits, some, syllables


def card(rng: Random) -> str:
    start, length = rng.choice(
        (("4", 16), ("51", 16), ("2221", 16), ("37", 15), ("62", 16), ("2200", 16), ("3528", 16), ("6011", 16))
    )
    body = start + digits(rng, length - 1 - len(start))
    return body + luhn(body)


def written_card(rng: Random) -> str:
    number, sign = card(rng), rng.choice(" -")
    sizes = (4, 6, 5) if len(number) == 15 else (4, 4, 4, 4)
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    return sign.join(number[end - size : end] for end, size in zip(ends, sizes, strict=True))


def iban(rng: Random) -> str:
    country, bank, length = rng.choice(
        (("NL", "ABNA", 10), ("DE", "", 18), ("FR", "", 23), ("IE", "AIBK", 14), ("NO", "", 11), ("PL", "", 24))
    )
    account = bank + digits(rng, length)
    number = country + checkdigits.mod_97_10(country, account) + account
    return rng.choice((number, " ".join(number[i : i + 4] for i in range(0, len(number), 4))))


def passport(rng: Random) -> str:
    return rng.choice(
        (
            f"{some(rng, 'CFGHJK', 2)}{digits(rng, 7)}",
            f"E{digits(rng, 8)}",
            f"{digits(rng, 2)} {digits(rng, 7)}",
            digits(rng, 9),
        )
    )


def degree(rng: Random) -> str:
    return f"{rng.choice(('', '-'))}{rng.randint(10, 79)}.{digits(rng, 6)}"


def coordinates(rng: Random) -> str:
    return rng.choice((f"{degree(rng)},{degree(rng)}", f"{degree(rng)}, {degree(rng)}"))


def url_user(rng: Random) -> str:
    return f"{syllables(rng)}:{some(rng, ALNUM, 8, 12)}‹@›"


def url_query(rng: Random) -> str:
    name, other = syllables(rng), syllables(rng)
    return rng.choice(
        (
            f"‹?q=›{name}+{other}",
            f"‹?user=›{name}‹&page=2›",
            f"‹?utm_source=mail&uid=›{digits(rng, 9)}",
            f"‹?from=›{name}‹&to=›{other}",
        )
        + (
            f"‹?redirect=›https%3A%2F%2Fx.example%2F{name}",
            f"‹?search=›{name}%20{other}",
            f"‹?data=›{some(rng, URLSAFE, 24)}",
        )
    )


def url_fragment(rng: Random) -> str:
    return rng.choice(
        (
            f"‹access_token=›{some(rng, URLSAFE, 24)}",
            f"‹/›user/{syllables(rng)}{syllables(rng)}",
            f"{syllables(rng)}-{syllables(rng)}",
        )
    )


def user_path(rng: Random) -> str:
    name = rng.choice((syllables(rng), f"{syllables(rng)}.{syllables(rng)}", f"{syllables(rng)}{rng.randint(1, 99)}"))
    forms = (
        f"‹/home/›{name}",
        f"‹/Users/›{name}",
        f"‹C:\\Users\\›{name}",
        f"‹/data/user/0/›{syllables(rng)}",
        f"‹C:/Users/›{name}",
    )
    return rng.choice((*forms, f"‹/storage/emulated/›{rng.randint(100, 999)}"))


def content_account(rng: Random) -> str:
    who = f"{syllables(rng)}.{syllables(rng)}@{rng.choice(('gmail', 'example'))}.com"
    authority = rng.choice(("com.android.calendar", "com.google.android.gm", "com.example.mail.provider", "settings"))
    return rng.choice(
        (
            f"‹content://{authority}/›{who}‹/events›",
            f"‹content://{authority}/account/›{who}",
            f"‹content://›{who}‹/items/17›",
        )
    )
