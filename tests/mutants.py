"""Mutants of the rule of consent: each a change of one place in its source, which some history must bring to light.

`python -m tests.mutants` makes all of them, holds each against `decide` and the oracle on the same random histories,
whom these do not catch against the tests of single cases, and prints who survives. It knows the source by its syntax
alone, and takes minutes.
"""

import argparse
import ast
import resource
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from schemas.consent import ABOUT_PURPOSES, CLAUSE_OF_REASON, PERMISSIONS
from tests import oracle
from tests.agreement import MODES, any_policies, as_entry, as_record, crowd_of, reasons_of
from tests.histories import POLICIES, PURPOSES, rows, sealed, terms_of
from transforms.decision import decide

ROOT = Path(__file__).parent.parent
MODULES = ("transforms.ledger", "transforms.consent")  # whoever imports another comes after it
CASES = "tests/transforms/test_consent.py"
FEW = 4  # trials that most mutants do not survive
SECONDS = 20  # for one trial: a mutant may never come to an end

_COMPARED = {  # at the boundary, and the other way round
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}
_SWAPPED = {"minimum": "maximum", "bitwise_and": "bitwise_or", "logical_and": "logical_or", "min": "max"}
_SWAPPED |= {value: key for key, value in _SWAPPED.items()}
_SETS = {"PERMISSIONS": PERMISSIONS, "ABOUT_PURPOSES": ABOUT_PURPOSES}


_EQUIVALENT = {
    "a stop has no time from which it begins, so the test of the future holds for permissions alone": [
        "ledger.build: is_permission(read.kind) & (read.effective > read.known + FUTURE_LIMIT) -> "
        "read.effective > read.known + FUTURE_LIMIT",
    ],
    "chooses only whether subjects are sorted by all their bytes, which is slower and always right": [
        "ledger._sorted: new & ~first_of_runs(hashes) -> new",
        "ledger._sorted: new & ~first_of_runs(hashes) -> ~first_of_runs(hashes)",
        "ledger._sorted: ~first_of_runs(hashes) -> first_of_runs(hashes)",
    ],
    "chooses only which subjects' records are told apart by application": [
        "ledger._sorted: (entries.app != NO_APP) & (entries.mask & np.uint64(terms.per_application) != 0) -> "
        "entries.app != NO_APP",
        "ledger._sorted: (entries.app != NO_APP) & (entries.mask & np.uint64(terms.per_application) != 0) -> "
        "entries.mask & np.uint64(terms.per_application) != 0",
        "ledger._sorted: entries.mask & np.uint64(terms.per_application) -> entries.mask",
        "ledger._sorted: entries.mask & np.uint64(terms.per_application) -> np.uint64(terms.per_application)",
    ],
    "of one id permissions come first and a stop is of another kind than the first": [
        "ledger._one_permission_an_id: permission & alike -> alike",
    ],
    "looks at one subject or at some more than it must, each compared on all its bytes": [
        "ledger._numbers: place < end -> place <= end",
    ],
    "chooses only which records are decided together": [
        "ledger._sorted: entries.until < NEVER -> entries.until <= NEVER",
        "consent._distinct: asked.device < len(ledger.offsets) - 2 -> asked.device <= len(ledger.offsets) - 2",
        "consent._distinct: asked.device < len(ledger.offsets) - 2 -> asked.device >= len(ledger.offsets) - 2",
    ],
    "an entry is known at the very moment of its receipt, so that nothing changes after it": [
        "consent._settled: asked.received > last_known.take(subject) -> asked.received >= last_known.take(subject)",
    ],
    "a grant that suffices lifts every withdrawal and objection: no granted purpose has one that stands": [
        "consent._rule: opposable & unlifted(stops.of(Kind.withdraw), Kind.grant, Kind.lift_objection) -> "
        "unlifted(stops.of(Kind.withdraw), Kind.grant, Kind.lift_objection)",
        "consent._rule: opposable & unlifted(stops.of(Kind.object), Kind.grant, Kind.lift_objection) -> "
        "unlifted(stops.of(Kind.object), Kind.grant, Kind.lift_objection)",
        "consent._rule: terms.every & ~terms.consent -> terms.every",
    ],
}
EQUIVALENT = {name: why for why, names in _EQUIVALENT.items() for name in names}  # by `Mutant.name`


@dataclass(frozen=True, eq=False)
class Mutant:
    """One changed source; `change` tells it by the code itself, so that it outlives the moving of lines."""

    module: str
    category: str
    function: str
    change: str
    source: ast.Module
    place: int  # of the changed node, as `ast.walk` meets it
    edit: Callable[[ast.AST], ast.AST | None]

    @property
    def tree(self) -> ast.Module:
        """The changed source, made anew: few of the mutants are tried where many are listed."""
        copy = deepcopy(self.source)
        target = next(islice(ast.walk(copy), self.place, None))
        _replace(copy, target, self.edit(target) or target)
        return copy

    @property
    def name(self) -> str:
        return f"{self.module.rpartition('.')[2]}.{self.function}: {self.change}"


# --- making them ---


def mutants() -> list[Mutant]:
    """All mutants of all modules."""
    return [mutant for module in MODULES for mutant in _mutants_of(module)]


def _mutants_of(module: str) -> Iterator[Mutant]:
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    functions, unread = _functions(tree), _annotations(tree)
    for place, node in enumerate(ast.walk(tree)):
        for category, change in () if id(node) in unread else _changes(node):
            copy = deepcopy(node)
            before, after = ast.unparse(node), ast.unparse(change(copy) or copy)
            function = functions.get(id(node), "")
            yield Mutant(module, category, function, f"{before} -> {after}", tree, place, change)


def _functions(tree: ast.Module) -> dict[int, str]:
    """The innermost function around each node."""
    found = {}
    for function in ast.walk(tree):  # outer ones first
        if isinstance(function, ast.FunctionDef):
            found |= {id(node): function.name for node in ast.walk(function)}
    return found


def _annotations(tree: ast.Module) -> set[int]:
    """The nodes of types: nothing is computed with them."""
    roots = (getattr(node, name, None) for node in ast.walk(tree) for name in ("annotation", "returns"))
    return {id(node) for root in roots if root is not None for node in ast.walk(root)}


def _changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """(category, function that changes a copy of the node in place or returns what stands in its stead)."""
    if isinstance(node, ast.Compare):
        yield from _comparisons(node)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        yield "mask dropped", lambda copy: copy.left
        yield "mask dropped", lambda copy: copy.right
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        yield "mask dropped", lambda copy: ast.Pass()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        yield "mask dropped", lambda copy: copy.operand
    elif isinstance(node, ast.Call):
        yield from _kinds(node)
    elif isinstance(node, ast.Dict):
        yield from _reasons(node)
    elif isinstance(node, ast.Attribute) and node.attr in _SWAPPED:
        yield "fold swapped", lambda copy: setattr(copy, "attr", _SWAPPED[copy.attr])


def _comparisons(node: ast.Compare) -> Iterator[tuple[str, object]]:
    for place, operator in enumerate(node.ops):
        for other in _COMPARED.get(type(operator), ()):
            yield "comparison flipped", lambda copy, at=place, to=other: copy.ops.__setitem__(at, to())


def _kinds(node: ast.Call) -> Iterator[tuple[str, object]]:
    """Each `Kind.x` among the arguments goes, and each member of a set of kinds that is unpacked there."""
    for place, argument in enumerate(node.args):
        if isinstance(argument, ast.Attribute) and ast.unparse(argument.value) == "Kind":
            yield "kind ignored", lambda copy, at=place: copy.args.__delitem__(at)
        if isinstance(argument, ast.Starred) and (name := ast.unparse(argument.value)) in _SETS:
            for kind in sorted(_SETS[name]):
                fewer = f"*({name} - {{Kind.{kind.name}}})"
                star = ast.parse(f"f({fewer})", mode="eval").body.args[0]
                yield "kind ignored", lambda copy, at=place, to=star: copy.args.__setitem__(at, to)


def _reasons(node: ast.Dict) -> Iterator[tuple[str, object]]:
    for place, key in enumerate(node.keys):
        if isinstance(key, ast.Constant) and key.value in CLAUSE_OF_REASON:

            def without(copy: ast.Dict, at: int = place) -> None:
                del copy.keys[at], copy.values[at]

            yield "reason removed", without


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(each is old for each in value):
                value[next(at for at, each in enumerate(value) if each is old)] = new


# --- trying them ---


@dataclass(frozen=True)
class Trial:
    """A crowd, how to judge it, and what `decide` says of it, which the oracle has confirmed."""

    policies: dict
    records: list
    entries: list
    stops_known: str
    block: int | None
    expected: list


def trial(seed: int, people: int, policies: dict, stops_known: str, block: int | None = None) -> Trial:
    crowd, entries = crowd_of(seed, people)
    terms, expected = terms_of(policies), []
    for records, theirs in crowd:
        asked = [as_entry(each) for each in theirs]
        for one in records:
            made = as_record(one)
            reasons = {name: decide(made, name, asked, terms, stops_known).reason for name in PURPOSES}
            for name, reason in reasons.items():
                opened = oracle.decide(one, name, theirs, policies[name], stops_known == "all")
                assert opened == (reason is None)
            expected.append(reasons)
    return Trial(policies, [one for theirs, _ in crowd for one in theirs], entries, stops_known, block, expected)


def trials(crowds: int, people: int = 60) -> Iterator[Trial]:
    """Fixed trials in both modes, under the usual policies and any, some in tiny blocks."""
    for seed in range(crowds):
        policies = any_policies(seed) if seed % 3 == 2 else POLICIES
        yield trial(seed, people, policies, MODES[seed % 2], block=7 if seed % 4 == 1 else None)


def caught(mutant: Mutant | None, by: list[Trial]) -> bool:
    """Whether a mutant fails, does not end, or says something else; None is the rule as it is."""
    with _loaded(mutant) as modules:
        return modules is None or not all(_same(modules, each) for each in by)


def _same(modules: dict[str, ModuleType], one: Trial) -> bool:
    consent, ledger = modules["transforms.consent"], modules["transforms.ledger"]
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    block, many = consent.BLOCK, consent.MANY
    try:
        if one.block:  # small blocks, and every subject as if it had very many entries
            consent.BLOCK, consent.MANY, ledger.MANY = one.block, 0, 0
        terms = terms_of(one.policies)
        held = ledger.Ledger.build(sealed(one.entries), terms)
        verdict = consent.judge(rows(one.records), held, terms, one.stops_known)
        return reasons_of(verdict, len(one.records)) == one.expected
    except Exception:  # whatever it is, it is no verdict
        return False
    finally:
        consent.BLOCK, consent.MANY, ledger.MANY = block, many, many
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def _loaded(mutant: Mutant | None) -> Iterator[dict[str, ModuleType] | None]:
    """Copies of the modules, one of them mutated; None if they do not even load. The true ones come back after."""
    before = {name: sys.modules[name] for name in MODULES}
    handler = signal.signal(signal.SIGALRM, _too_long)
    try:
        yield _copies(mutant)
    finally:
        sys.modules.update(before)
        signal.signal(signal.SIGALRM, handler)


def _copies(mutant: Mutant | None) -> dict[str, ModuleType] | None:
    for name in MODULES:
        path = ROOT / f"{name.replace('.', '/')}.py"
        mutated = mutant is not None and mutant.module == name
        tree = mutant.tree if mutated else ast.parse(path.read_text(encoding="utf-8"))
        sys.modules[name] = module = ModuleType(name)
        try:
            exec(compile(ast.fix_missing_locations(tree), str(path), "exec"), module.__dict__)
        except Exception:
            return None
    return {name: sys.modules[name] for name in MODULES}


def fails_a_case(mutant: Mutant) -> bool:
    """Whether a test of a single case fails in a copy of the source with this mutant in it."""
    with TemporaryDirectory() as folder:
        for name in ("schemas", "transforms", "tests"):
            shutil.copytree(ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        Path(folder, f"{mutant.module.replace('.', '/')}.py").write_text(ast.unparse(mutant.tree), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-xq", "-p", "no:cacheprovider", "-k", "not any_small", CASES]
        return subprocess.run(command, cwd=folder, capture_output=True, timeout=600).returncode == 1


def _too_long(*_) -> None:
    raise TimeoutError


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--crowds", type=int, default=60, help="of 60 people each, that a survivor has seen")
    options = arguments.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # a mutant may ask for any amount of memory
    few, many = list(trials(FEW)), list(trials(options.crowds))[FEW:]
    assert not caught(None, few + many), "the rule itself does not agree"
    made, fate = mutants(), {}
    for mutant in made:
        if caught(mutant, few) or caught(mutant, many):
            fate[mutant] = "histories"
        elif mutant.name in EQUIVALENT:
            fate[mutant] = "equivalent"
        else:
            fate[mutant] = "cases" if fails_a_case(mutant) else "nobody"
    columns = ("histories", "cases", "equivalent", "nobody")
    print(f"{'caught by':<20}{'mutants':>10}" + "".join(f"{each:>12}" for each in columns))
    for category, number in Counter(each.category for each in made).items():
        found = Counter(by_whom for each, by_whom in fate.items() if each.category == category)
        print(f"{category:<20}{number:>10}" + "".join(f"{found[each]:>12}" for each in columns))
    for mutant, by_whom in fate.items():
        if by_whom != "histories":
            why = f" ({EQUIVALENT[mutant.name]})" if by_whom == "equivalent" else ""
            print(f"  {by_whom}: {mutant.name}{why}", flush=True)
    return 1 if "nobody" in fate.values() else 0


if __name__ == "__main__":
    sys.exit(main())
