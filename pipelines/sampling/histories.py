"""What people do with their consents: a history is a few steps, each within its own span of time."""

from dataclasses import dataclass

# Spans in days before the sample begins, or, from 0 on, in shares of its period. The spans of a history's steps follow
# each other, so that its order is sure.
BEFORE, LATELY = (-45.0, -12.0), (-11.0, -1.0)
DURING, FIRST, MIDDLE, LAST = (0.0, 1.0), (0.0, 0.3), (0.35, 0.6), (0.65, 1.0)

ANYTHING = ("*",)
PROGRAMME = ("user_experience", "operations", "device_performance", "statistics")
PERSONAL = ("personalisation", "personalised_ads")


@dataclass(frozen=True)
class Step:
    """`of_app`: about one application, drawn from those that use location."""

    kind: str
    purposes: tuple[str, ...]
    span: tuple[float, float] = BEFORE
    subject: str = "device"
    of_app: bool = False
    guardian: bool = False


def _grant(*purposes: str, span: tuple[float, float] = BEFORE, subject: str = "device", guardian: bool = False) -> Step:
    return Step("grant", purposes, span, subject, guardian=guardian)


def _located(kind: str = "grant", purpose: str = "location_services", span: tuple[float, float] = BEFORE) -> Step:
    return Step(kind, (purpose,), span, of_app=True)


@dataclass(frozen=True)
class History:
    share: float  # of the subjects that have a history at all
    steps: tuple[Step, ...]


HISTORIES = (
    History(0.22, (_grant(*PROGRAMME), _grant("push"), _located(), _grant("promotion"))),
    History(
        0.16,
        (
            _grant(*PROGRAMME),
            _grant("research"),
            _grant("promotion"),
            _grant(*PERSONAL),
            _grant("push", *PERSONAL, subject="account"),
            _located(),
            _located(),
            _located(purpose="find_device"),
        ),
    ),
    History(0.14, (_grant("push", subject="account"), _located(), _located(), _grant("security"))),
    History(0.10, (_grant("operations", "device_performance"), _grant("research"), _grant("statistics"))),
    History(0.08, (_grant(*PERSONAL), _grant("promotion"), _grant("push"))),
    History(0.07, (_grant("user_experience", span=DURING), _located(span=DURING))),
    History(0.04, (_grant(*ANYTHING), _grant(*ANYTHING, subject="account"), _located())),
    History(0.035, (_grant(*PROGRAMME), _located(), Step("withdraw", ("user_experience",), DURING))),
    History(0.02, (_located(), _located(), _located("withdraw", span=DURING))),
    History(0.015, (_grant(*PROGRAMME), Step("withdraw", ANYTHING, FIRST), _grant(*PROGRAMME, span=LAST))),
    History(0.015, (_grant("promotion"), Step("object", ("promotion", "operations"), DURING))),
    History(
        0.015,
        (
            _grant(*PROGRAMME),
            Step("object", ("operations", "statistics"), FIRST),
            Step("lift_objection", ("operations",), LAST),
        ),
    ),
    History(
        0.01,
        (
            _located(purpose="find_device", span=FIRST),
            _located("withdraw", "find_device", MIDDLE),
            _grant("user_experience", span=LAST),
        ),
    ),
    History(0.01, (_grant(*PROGRAMME), Step("restrict", ANYTHING, FIRST), Step("lift_restriction", ANYTHING, LAST))),
    History(0.005, (_grant(*PERSONAL), Step("restrict", ANYTHING, DURING))),
    History(0.015, (_grant(*PROGRAMME), _grant("promotion"), Step("minor", ANYTHING, LATELY))),
    History(0.01, (Step("minor", ANYTHING, LATELY), _grant("user_experience", span=FIRST, guardian=True))),
    History(
        0.005,
        (Step("minor", ANYTHING, LATELY), Step("adult", ANYTHING, FIRST), _grant("user_experience", span=MIDDLE)),
    ),
    History(0.01, (_grant(*PROGRAMME), _grant("push"), Step("erase", ANYTHING, DURING))),
    History(
        0.01, (_grant("push", *PERSONAL, subject="account"), Step("close", ANYTHING, DURING, "account"), _grant("push"))
    ),
)

# What people who gave consent may have given besides, once for each edition of an application.
MORE = (_located(), _grant("user_experience"), _located(purpose="find_device"), _grant("push"), _located())
