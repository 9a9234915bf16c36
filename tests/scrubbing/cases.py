"""The labelled cases: values of each kind in their contexts, what looks like them and is nothing, clean traces, and
traces with a value planted in them. The same seed gives the same cases."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random

import yaml

from tests.scrubbing.checkdigits import luhn
from tests.scrubbing.disguises import disguised, needs_key
from tests.scrubbing.drawing import digits, some
from tests.scrubbing.people import PEOPLE
from tests.scrubbing.texts import CORPORA, Labelled, Part, Role, clean, parse, traces
from tests.scrubbing.values import KINDS

_FAMILIES = ("people", "said", "devices", "network", "places", "secrets")
_FILLER = re.compile(r"«(int|hex|HEX|ver)(\d+)»|«(bare|dated)»")
# Names of people's own making: where they end, only a sign after them can say.
_NAMES = {"ssid", "bluetooth_name"}
_NUMBERS = {"phone", "imei", "imeisv", "meid", "imsi", "iccid", "card", "iban", "passport", *PEOPLE}


@dataclass(frozen=True)
class Contexts:
    """Where values of a kind stand: templates with a key before the value, templates without, and what looks alike."""

    keyed: tuple[str, ...]
    alone: tuple[str, ...]
    negatives: tuple[str, ...]


@cache
def contexts() -> dict[str, Contexts]:
    """By kind."""
    frames = _corpus("frames")
    said = {kind: entry for family in _FAMILIES for kind, entry in _corpus(family).items() if kind in KINDS}
    found = {}
    for kind, entry in said.items():
        around = frames["any"] + (frames["number"] if kind in _NUMBERS else [])
        keyed = tuple(frame.replace("{key}", key) for key in entry.get("keys", ()) for frame in around)
        found[kind] = Contexts(keyed, tuple(entry.get("contexts", ())), tuple(entry["negatives"]))
    return found


def _corpus(name: str) -> dict:
    return yaml.safe_load((CORPORA / f"{name}.yaml").read_text(encoding="utf-8"))


def positives(kind: str, rng: Random, count: int) -> list[Labelled]:
    """Different texts, each a value of the kind in its context."""
    found = {}
    while len(found) < count:
        case = labelled(*_drawn(kind, rng))
        found.setdefault(case.text, case)
    return list(found.values())


def plain(kind: str, rng: Random) -> str:
    """A text with a value of the kind in its context."""
    return labelled(*_drawn(kind, rng)).text


def negatives(kind: str, rng: Random, count: int) -> list[Labelled]:
    """Different texts that look as if there were a value of the kind in them."""
    found, templates = {}, contexts()[kind].negatives
    for place in range(count * 50):
        text = _FILLER.sub(lambda filler: _filled(kind, rng, filler), templates[place % len(templates)])
        found.setdefault(text, clean(text))
        if len(found) == count:
            return list(found.values())
    raise ValueError(f"{kind}: too few different negatives")


def clean_traces() -> list[Labelled]:
    """All texts without anybody in them."""
    return [clean(template) for template in traces()]


def planted(kind: str, rng: Random, disguise: str | None) -> Labelled:
    """A trace with a value of the kind in it: in a place that it has for one, or in a line or tail of its own."""
    trace = rng.choice(traces())
    places = [part for part in parse(trace) if part.kind == kind]
    if places and not needs_key(kind, disguise):
        maker = KINDS[kind].alone or KINDS[kind].keyed
        return labelled(trace, maker(rng), kind, rng, disguise)
    template, value, *_ = _drawn(kind, rng, disguise)
    case = labelled(template, value, kind, rng, disguise)
    lines = trace.split("\n")
    place = rng.randint(0, len(lines))
    before, after = "\n".join(lines[:place]), "\n".join(lines[place:])
    tail = place > 0 and "\n" not in template and not lines[place - 1].endswith("»") and rng.random() < 0.5
    around = clean(before + (": " if tail else "\n" * (place > 0))), clean("\n" * (place < len(lines)) + after)
    return Labelled((*around[0].parts, *case.parts, *around[1].parts), case.secrets)


def labelled(
    template: str, value: str, kind: str = "", rng: Random | None = None, disguise: str | None = None
) -> Labelled:
    """The template with the value, disguised or not, in its place; other places hold what stands there otherwise."""
    plain = tuple(part.text for part in parse(value, Role.SECRET) if part.role is Role.SECRET)
    written = value if disguise is None else disguised(rng, value, disguise)
    parts: list[Part] = []
    for part in parse(template):
        if part.role is not Role.PLACE:
            parts.append(part)
        elif part.kind == kind or not part.kind:
            parts += parse(written, Role.SECRET)
            kind = None  # one value a text
        else:
            parts.append(Part(Role.COARSE, part.text))
    encoded = (written,) if disguise in ("base64", "base64url") else ()
    return Labelled(tuple(parts), plain + encoded)


def _drawn(kind: str, rng: Random, disguise: str | None = None) -> tuple[str, str]:
    """A template and a value that may stand in it."""
    made, where = KINDS[kind], contexts()[kind]
    keyed_only = needs_key(kind, disguise) or not where.alone
    for _ in range(1000):
        if where.keyed and (keyed_only or rng.random() < 0.5):
            template, maker = rng.choice(where.keyed), made.keyed
        else:
            template, maker = rng.choice(where.alone), made.alone or made.keyed
        value = maker(rng)
        if _fits(kind, template, value, disguise):
            return template, value
    raise ValueError(f"{kind}: no context")


def _fits(kind: str, template: str, value: str, disguise: str | None) -> bool:
    before, after = template.split("«»")
    if before[-1:] in ("'", '"') and before[-1] in value:
        return False
    if kind in _NAMES and after[:1] == " ":
        return False
    html, escaped = disguise == "HTML escapes", disguise in (r"\u escapes", r"\x escapes")
    return not (html and "&" in template) and not (escaped and "\\" in template)


def _filled(kind: str, rng: Random, filler: re.Match) -> str:
    what, size, alike = filler.groups()
    if alike == "bare":
        number = PEOPLE[kind](rng)
        return _no_card(lambda: PEOPLE[kind](rng)) if number.isdigit() else _number(rng, len(number))
    if alike == "dated":  # no day and no month begins with an 8 or a 9
        return f"{some(rng, '89', 6)}{rng.choice('-/')}{some(rng, '89', 4)}"
    if what == "int":
        return _number(rng, int(size))
    if what == "ver":
        return ".".join(str(rng.randint(0, 30)) for _ in range(int(size)))
    return some(rng, "0123456789abcdef" if what == "hex" else "0123456789ABCDEF", int(size))


def _number(rng: Random, size: int) -> str:
    return _no_card(lambda: rng.choice("123456789") + digits(rng, size - 1))


def _no_card(draw: Callable[[], str]) -> str:
    """A number that is not by accident that of a card or a device as well."""
    while True:
        number = draw()
        if len(number) < 13 or luhn(number[:-1]) != number[-1]:
            return number
