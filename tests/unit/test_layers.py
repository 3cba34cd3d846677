"""What import-linter cannot say of the house; its contracts are in ``.importlinter``.

Each rule reads one module and yields ``file:line: what is wrong``. Every rule is also
shown an offender, so that no rule passes because it sees nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("detector", "training", "deploy")
PATHS = sorted(path for part in PACKAGES for path in (ROOT / part).rglob("*.py"))
LONGEST_FILE = 400  # lines

CLOCKS = {
    "now",
    "utcnow",
    "today",
    "monotonic",
    "monotonic_ns",
    "time_ns",
    "perf_counter",
}
ENVIRONMENT = {"os.environ", "os.getenv", "os.environb"}
RUN_CODE_WHEN_LOADED = {"pickle", "dill", "joblib", "marshal", "shelve"}
SAY_NOTHING = {"utils", "util", "helpers", "common", "base", "manager", "misc"}

Rule = Callable[[str, str], Iterator[str]]


def imports(text: str) -> Iterator[tuple[str, int]]:
    """Every dotted name that is imported, with its line.

    ``from a import b`` is ``a.b``, since b may be a module.
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module
            assert module, "a relative import hides who knows whom"
            yield from ((f"{module}.{a.name}", node.lineno) for a in node.names)


def imports_any(name: str, text: str, modules: set[str]) -> Iterator[str]:
    for imported, line in imports(text):
        if any(imported == m or imported.startswith(f"{m}.") for m in modules):
            yield f"{name}:{line}: imports {imported}"


def only_the_clock_reads_clocks(name: str, text: str) -> Iterator[str]:
    # the demo plays the world, which has clocks
    if name == "detector/clock.py" or name.startswith("deploy/"):
        return
    yield from imports_any(name, text, {"time"})
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called = ast.unparse(node.func)
        module = called.split(".")[0]
        if node.func.attr in CLOCKS and module in {"time", "datetime", "date"}:
            yield f"{name}:{node.lineno}: calls {called}"


def only_settings_read_the_environment(name: str, text: str) -> Iterator[str]:
    # the demo starts processes, which have an environment of their own
    if name == "detector/settings/load.py" or name.startswith("deploy/"):
        return
    yield from imports_any(name, text, ENVIRONMENT)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ENVIRONMENT:
            yield f"{name}:{node.lineno}: reads {ast.unparse(node)}"


def nothing_runs_code_when_it_is_loaded(name: str, text: str) -> Iterator[str]:
    yield from imports_any(name, text, RUN_CODE_WHEN_LOADED)


def torch_stays_in_training(name: str, text: str) -> Iterator[str]:
    if not name.startswith("training/"):
        yield from imports_any(name, text, {"torch", "onnx", "onnxscript"})


def no_package_knows_the_demo_or_the_tests(name: str, text: str) -> Iterator[str]:
    if not name.startswith("deploy/"):
        yield from imports_any(name, text, {"deploy", "tests"})


def a_name_says_what_a_module_does(name: str, text: str) -> Iterator[str]:
    if Path(name).stem in SAY_NOTHING:
        yield f"{name}:1: a name that says nothing"


def no_private_name_crosses_a_module(name: str, text: str) -> Iterator[str]:
    for imported, line in imports(text):
        package, _, last = imported.rpartition(".")
        private = last.startswith("_") and not last.startswith("__")
        if private and package.split(".")[0] in PACKAGES:
            yield f"{name}:{line}: imports the private {imported}"


def a_constant_is_set_once(name: str, text: str) -> Iterator[str]:
    known: set[str] = set()
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        names = {ast.unparse(target) for target in targets}
        for again in names & known:
            yield f"{name}:{node.lineno}: sets {again} again"
        known |= {constant for constant in names if constant.isupper()}


def files_stay_short(name: str, text: str) -> Iterator[str]:
    lines = text.count("\n")
    if lines > LONGEST_FILE:
        yield f"{name}:{lines}: longer than {LONGEST_FILE} lines"


OFFENDERS: list[tuple[Rule, str, str]] = [
    (only_the_clock_reads_clocks, "detector/a.py", "from time import monotonic"),
    (only_the_clock_reads_clocks, "training/a.py", "import datetime\ndatetime.now()"),
    (only_settings_read_the_environment, "detector/a.py", "import os\nos.environ['A']"),
    (only_settings_read_the_environment, "training/a.py", "from os import getenv"),
    (nothing_runs_code_when_it_is_loaded, "training/a.py", "import pickle"),
    (torch_stays_in_training, "deploy/demo/a.py", "from torch import nn"),
    (no_package_knows_the_demo_or_the_tests, "training/a.py", "import deploy.demo"),
    (a_name_says_what_a_module_does, "detector/utils.py", ""),
    (no_private_name_crosses_a_module, "detector/a.py", "from detector.b import _c"),
    (a_constant_is_set_once, "detector/a.py", "A = 1\nB: int = 2\nA = 1"),
    (files_stay_short, "detector/a.py", "x = 1\n" * (LONGEST_FILE + 1)),
]
RULES = list(dict.fromkeys(rule for rule, _, _ in OFFENDERS))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: Rule) -> None:
    found: list[str] = []
    for path in PATHS:
        name = path.relative_to(ROOT).as_posix()
        found.extend(rule(name, path.read_text()))
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    OFFENDERS,
    ids=[f"{r.__name__}-{n}" for r, n, _ in OFFENDERS],
)
def test_the_rule_sees_an_offender(rule: Rule, name: str, text: str) -> None:
    assert [found for found in rule(name, text) if found.startswith(f"{name}:")]
