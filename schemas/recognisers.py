"""What identifies somebody in free text: one table, applied from top to bottom."""

from schemas.recogniser import MARKS, Recogniser
from schemas.recognisers_beside import BESIDE
from schemas.recognisers_files import FILES
from schemas.recognisers_forms import FORMS
from schemas.recognisers_keys import KEYED
from schemas.recognisers_national import NATIONAL
from schemas.recognisers_network import ADDRESSES, MACHINES
from schemas.recognisers_numbers import ACCOUNTS, NUMBERS
from schemas.recognisers_people import PEOPLE
from schemas.recognisers_said import SAID
from schemas.recognisers_secrets import SECRETS

__all__ = ["LABEL_RECOGNISERS", "MARKS", "RECOGNISERS", "Recogniser"]

# Keys go first: a key tells more than the shape of a value, and the value may hold blanks that a shape would not.
RECOGNISERS: tuple[Recogniser, ...] = (
    *(*SECRETS, *ACCOUNTS, *KEYED, *PEOPLE, *NATIONAL, *SAID, *FORMS),
    *(*ADDRESSES, *FILES, *MACHINES, *NUMBERS, *BESIDE),
)

# In a label there is no key beside a value, and no stack to keep: whatever is as long as an identifier goes. Four
# numbers between dots are a version there, where in a text they would be an address; groups of digits, a build.
LABEL_RECOGNISERS: tuple[Recogniser, ...] = (
    *(recogniser for recogniser in RECOGNISERS if recogniser.name not in ("ipv4", "national_phone")),
    Recogniser(
        name="long_hex",
        tag="ID",
        pattern=r"\b[0-9A-Fa-f]{12,}\b",
        replacement="<ID>",
        clause="1.1-a",
        examples=("build 001010123456789",),
        counter_examples=("build 20210301",),
        hint=r"[0-9A-Fa-f]{12}",
        accept=r"[0-9A-Fa-f]{12}|[0-9A-Fa-f]{16}|[0-9A-Fa-f]{32,}|[0-9]{14,15}",
    ),
    Recogniser(
        name="push_token",
        tag="TOKEN",
        pattern=r"[\w-]{4,}:[\w-]{20,}",
        replacement="<TOKEN>",
        clause="1.1-a",
        examples=("dGVzdA:APA91bExampleOnly_0123456789",),
        counter_examples=("android:library",),
        hint=r":[\w-]{20}",
    ),
)
