"""What is wrong with a policy pack: each fault with its place, the clause that it is about, and what to change."""

from dataclasses import asdict, dataclass

from schemas.yaml_files import Place, shown


class PackError(ValueError):
    """The policy pack cannot be used. The message names the pack, and of each fault the place and what to change."""

    def __init__(self, message: str, findings: "tuple[Finding, ...]" = ()) -> None:
        super().__init__(message)
        self.findings = findings


@dataclass(frozen=True)
class Finding:
    """One fault. `place` leads to the part of the pack; `at` is the file and line, where that is known."""

    rule: str  # the name of the rule that is broken, for machines
    place: Place
    clause: str
    message: str
    remedy: str
    at: str = ""

    def __str__(self) -> str:
        """In one line, and without what a terminal would act on, whatever a pack's own words are."""
        place = self._dotted or ("" if self.at else "pack")
        where = ": ".join(part for part in (self.at, place) if part)
        clause = f"[{self.clause}] " if self.clause else ""
        told = f"{where}: {clause}{self.message}" + (f"; {self.remedy}" if self.remedy else "")
        return "".join(each if each.isprintable() else "?" for each in told)

    def as_json(self) -> dict[str, str]:
        return asdict(self) | {"place": self._dotted}

    @property
    def _dotted(self) -> str:
        return ".".join(map(shown, self.place))
