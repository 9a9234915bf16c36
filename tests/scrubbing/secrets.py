"""Credentials, made by formula; none of them opens anything."""

import base64
import json
from random import Random
from string import ascii_uppercase

from tests.scrubbing.drawing import ALNUM, URLSAFE, digits, hexadecimal, some, syllables


def _base64url(content: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).rstrip(b"=").decode()


def jwt(rng: Random) -> str:
    header = _base64url({"alg": rng.choice(("HS256", "RS256", "ES256")), "typ": "JWT"})
    return f"{header}.{_base64url({'sub': digits(rng, 10), 'name': syllables(rng)})}.{some(rng, URLSAFE, 43)}"


def bearer(rng: Random) -> str:
    return rng.choice(
        (some(rng, URLSAFE, 24, 60), f"{some(rng, ALNUM, 20)}.{some(rng, ALNUM, 12)}", f"{hexadecimal(40)(rng)}")
    )


def basic(rng: Random) -> str:
    return base64.b64encode(f"{syllables(rng)}:{some(rng, ALNUM, 9, 14)}".encode()).decode()


def aws_key_id(rng: Random) -> str:
    return rng.choice(("AKIA", "ASIA")) + some(rng, ascii_uppercase + "234567", 16)


def aws_key(rng: Random) -> str:
    return some(rng, ALNUM + "/+", 40)


def gcp(rng: Random) -> str:
    return rng.choice(
        (f"AIza{some(rng, URLSAFE, 35)}", f"ya29.{some(rng, URLSAFE, 90)}", f"GOCSPX-{some(rng, URLSAFE, 28)}")
    )


def slack(rng: Random) -> str:
    bot = f"xoxb-{digits(rng, 12)}-{digits(rng, 12)}-{some(rng, ALNUM, 24)}"
    team, channel = some(rng, ascii_uppercase, 8), some(rng, ascii_uppercase, 8)
    hook = f"‹https://hooks.slack.com/services/›T{team}/B{channel}/{some(rng, ALNUM, 24)}"
    return rng.choice(
        (
            bot,
            f"xoxp-{bot[5:]}",
            hook,
            f"xapp-1-A{some(rng, ascii_uppercase, 10)}-{digits(rng, 13)}-{hexadecimal(64)(rng)}",
        )
    )


def github(rng: Random) -> str:
    fine = f"github_pat_{some(rng, ALNUM, 22)}_{some(rng, ALNUM, 59)}"
    return rng.choice((f"gh{rng.choice('pousr')}_{some(rng, ALNUM, 36)}", fine))


def private_key(rng: Random) -> str:
    name = rng.choice(
        ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
    )
    body = base64.b64encode(rng.randbytes(rng.randint(120, 400))).decode()
    lines = "\n".join(body[i : i + 64] for i in range(0, len(body), 64))
    return f"‹-----BEGIN {name}-----›\n{lines}\n‹-----END {name}-----›"


def cookie(rng: Random) -> str:
    name = rng.choice(("session", "JSESSIONID", "_ga", "remember_user", "laravel_session", "uid"))
    return f"‹{name}=›{some(rng, ALNUM, 16, 32)}‹{rng.choice(('; Path=/; HttpOnly', '', '; Max-Age=3600; Secure'))}›"


def secret(rng: Random) -> str:
    return rng.choice(
        (some(rng, ALNUM, 8, 24), some(rng, ALNUM + "!#%*+~^", 10, 16), f"{syllables(rng)}{rng.randint(100, 9999)}!")
    )
