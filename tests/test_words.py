"""What the code puts into messages and shows of its objects, by its syntax: nothing that a record brought (1.1.1).

A message of `transforms`, where records are, names what is listed here and nothing else: whoever adds to the list has
looked at it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.clause("1.1.1")

ROOT = Path(__file__).parent.parent
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for package in ("schemas", "transforms", "pipelines")
    for path in sorted((ROOT / package).rglob("*.py"))
}
OURS = "ConfigurationError InputError KeyUnavailable PackError StepFailed StoreError Undelivered".split()  # noqa: SIM905

# Types, names of files and of keys, reasons: what messages of `transforms` are made of, beside words of ours.
NAMED = {
    "border": {"error"},  # of reading: an OSError, which names a file
    "canonical": {"values.type"},
    "cmac": {"tags.type", "values.type"},
    "discreet": {"_told(error)"},
    "envelope": {"bound_to", "path", "error.strerror"},
    "keyring": {
        "uri",
        "folder",
        "path.parent",
        "error.strerror",
        "description",
        "key",
        "name",
        "self._folder",
        "keystore",
    },
    "locate": {"', '.join(rules.signals)"},
    "locks": {"region", "kind", "key", "_SECRET"},
    "tallies": {"step", "outcome", "count"},
    "verdict": set(),  # reasons alone
}
# Exceptions that speak of files, settings and brokers, and whose own words are passed on.
QUOTED = {
    "pipelines/check.py": {"ConfigurationError"},
    "pipelines/command.py": {"Exception"},  # its type and its place
    "pipelines/deployment.py": {"ValidationError", "ValueError", "yaml.YAMLError"},
    "pipelines/following.py": {"Exception"},  # of a runner elsewhere, whose steps are discreet
    "pipelines/job.py": {"ValueError", "Exception"},  # before anything is read
    "pipelines/kafka_client.py": {"KafkaException", "TypeError", "ValueError"},
    "pipelines/ledger_topic.py": {"KafkaException", "TypeError", "ValueError"},
    "pipelines/manifest.py": {"OSError"},
    "pipelines/options.py": {"argparse.ArgumentError"},
    "pipelines/outbox.py": {"sqlite3.Error"},
    "pipelines/watch.py": {"OSError"},
    "schemas/pack_files.py": {"OSError", "ValidationError"},
    "schemas/yaml_files.py": {"yaml.YAMLError", "ValueError"},
    "transforms/border.py": {"OSError"},
    "transforms/discreet.py": {"Exception"},
    "transforms/arrow_json.py": {"pa.ArrowException"},  # looked into, and kept
}
# What these hold comes from a policy pack or from the code, or is a handle of a runner.
PLAIN = set("Sources Document Collected Variants Kind LedgerState _Asked FromSnapshot".split())  # noqa: SIM905
OF_RECORDS = ("pa.", "np.", "bytes", "Any", "Columns")


def named(node: ast.AST) -> Iterator[str]:
    """What is put into the messages that are raised, logged or counted below a node, beside literals."""
    for each in ast.walk(node):
        arguments = []
        if isinstance(each, ast.Raise) and isinstance(each.exc, ast.Call):
            arguments = [*each.exc.args, *(keyword.value for keyword in each.exc.keywords)]
        elif isinstance(each, ast.Call) and ast.unparse(each.func).startswith(("logging.", "Metrics.", "warnings.")):
            arguments = each.args
        for argument in arguments:
            yield from parts(argument)


def parts(argument: ast.expr) -> Iterator[str]:
    if isinstance(argument, ast.JoinedStr):
        yield from (ast.unparse(part.value) for part in argument.values if isinstance(part, ast.FormattedValue))
    elif not isinstance(argument, ast.Constant) and not ast.unparse(argument).startswith("Reason."):
        yield ast.unparse(argument)


def quoted(tree: ast.AST) -> Iterator[str]:
    """The types of caught exceptions of which more is passed on than their type, or what the system calls them."""
    for handler in (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.name):
        harmless = set()
        for node in ast.walk(handler):
            if isinstance(node, ast.Attribute | ast.Raise) or (isinstance(node, ast.Call) and _asks_type(node)):
                harmless |= {id(child) for child in ast.iter_child_nodes(node)}
        names = [node for node in ast.walk(handler) if isinstance(node, ast.Name) and node.id == handler.name]
        if any(id(name) not in harmless for name in names):
            yield from _types(handler.type)


def _asks_type(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in ("type", "isinstance")


def _types(node: ast.expr) -> list[str]:
    return [ast.unparse(each) for each in (node.elts if isinstance(node, ast.Tuple) else [node])]


@pytest.mark.parametrize("path", [path for path in TREES if path.startswith("transforms/")])
def test_a_message_of_transforms_names_what_is_listed(path):
    assert set(named(TREES[path])) <= NAMED.get(Path(path).stem, set())


@pytest.mark.parametrize("path", TREES)
def test_nobody_passes_on_what_a_library_said_of_a_record(path):
    assert set(quoted(TREES[path])) - set(OURS) <= QUOTED.get(path, set())


@pytest.mark.parametrize("path", TREES)
def test_no_message_trails_what_was_caught(path):
    raised = [
        ast.unparse(node)
        for handler in ast.walk(TREES[path])
        if isinstance(handler, ast.ExceptHandler)
        for node in ast.walk(handler)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        if node.cause is None or ast.unparse(node.cause) != "None"
    ]
    assert raised == []
    source = ast.unparse(TREES[path])
    assert not [word for word in ("logging.exception", "exc_info", "print_exc", "format_exc") if word in source]


@pytest.mark.parametrize("path", TREES)
def test_what_holds_data_has_no_repr(path):
    shown = {
        node.name
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.ClassDef)
        for decorator in map(ast.unparse, node.decorator_list)
        if decorator.startswith("dataclass") and "repr=False" not in decorator
        if any(holds_data(field) for field in node.body)
    }
    assert shown <= PLAIN


def holds_data(field: ast.stmt) -> bool:
    if not isinstance(field, ast.AnnAssign) or (field.value and "repr=False" in ast.unparse(field.value)):
        return False
    return any(word in ast.unparse(field.annotation) for word in OF_RECORDS)


def test_whatever_a_runner_calls_with_elements_is_discreet():
    steps, bare = 0, []
    for path, tree in TREES.items():
        mapped = {
            ast.unparse(node.args[0])
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("beam.FlatMap", "beam.Map", "beam.Filter")
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and (_is_step(node, tree) or node.name in mapped):
                steps += 1
                if "discreet" not in map(ast.unparse, node.decorator_list):
                    bare.append(f"{path}: {node.name}")
    assert steps > 20 and bare == []


def _is_step(function: ast.FunctionDef, tree: ast.AST) -> bool:
    timed = any(ast.unparse(each).startswith("on_timer") for each in function.decorator_list)
    return timed or (function.name in ("process", "finish_bundle") and _of_dofn(function, tree))


def _of_dofn(function: ast.FunctionDef, tree: ast.AST) -> bool:
    return any(isinstance(node, ast.ClassDef) and function in node.body for node in ast.walk(tree))


@pytest.mark.parametrize(
    ("finds", "source"),
    [
        (named, "raise ValueError(f'bad value {value}')"),
        (named, "raise KeyError(value)"),
        (named, "logging.error('%s', batch)"),
        (named, "Metrics.counter('douane', f'seen_{word}')"),
        (quoted, "try: f()\nexcept ValueError as error: raise Fault(f'{error}') from None"),
        (quoted, "try: f()\nexcept pa.ArrowInvalid as error: print(str(error))"),
    ],
)
def test_the_rules_find_what_they_are_for(finds, source):
    assert list(finds(ast.parse(source)))
