"""The shape of the house, read from the imports: who may know whom, and what must not
exist.

Each rule reads one module and yields ``file:line: what is wrong``. Every rule is also
shown an offender, so that none passes because it sees nothing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Set
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATHS = sorted(
    p
    for part in ("detector", "training", "deploy")
    for p in (ROOT / part).rglob("*.py")
)

PURE = (
    "ingest/decode",
    "ingest/decode_each",
    "ingest/stamps",
    "model/rows",
    "model/seed",
    "model/cold",
    "model/streams",
    "model/waves",
    "model/zones",
    "alerting/decide",
    "alerting/explain",
    "alerting/incidents",
    "alerting/lane",
    "alerting/levels",
    "alerting/payload",
    "alerting/rates",
    "alerting/routes",
    "alerting/stayed",
    "recovery/snapshot",
)
PURE_FILES = {f"detector/{p}.py" for p in PURE}
# numpy is arrays and msgspec a codec: neither has a clock, an environment, threads or
# sockets
PURE_MAY = {
    "detector.events",
    "detector.errors",
    *(f"detector.{p.replace('/', '.')}" for p in PURE),
}
PURE_LIBRARIES = {"numpy", "msgspec"}
IMPURE = {
    "time",
    "os",
    "threading",
    "socket",
    "random",
    "asyncio",
    "subprocess",
    "io",
    "pathlib",
    "secrets",
    "tempfile",
    "signal",
    "sys",
}

ADAPTERS = {
    "detector.ingest.sources.kafka_python",
    "detector.replay.chunks",
    "detector.model.onnx_engine",
    "detector.notify.receivers.webhook",
    "detector.recovery.store_local",
    "detector.recovery.store_kafka",
    "detector.web.server",
    "detector.dead_letters",
}
# the daemon, and the two commands that are not one
COMPOSERS = {"detector/app.py", "detector/cli/check.py", "detector/replay/replay.py"}
# what the engine's port speaks of stands beside the engine: a record of arrays and a
# pure function, never the Runtime itself
SPOKEN = {"detector.model.engine.Step", "detector.model.engine.clock_input"}
IN_THE_MIDDLE = {
    "detector/pipeline/pipeline.py",
    "detector/consumer/loop.py",
    "detector/ports.py",
}
LIBRARIES_OF_ADAPTERS = {
    "kafka",
    "onnxruntime",
    "urllib3",
    "starlette",
    "uvicorn",
    "pyarrow",
    "pydantic",
    "pydantic_settings",
}
OF_TRAINING = {"torch", "onnx", "onnxscript", "matplotlib", "jinja2"}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "base", "manager", "misc"}
READS_A_CLOCK = {
    "now",
    "utcnow",
    "today",
    "monotonic",
    "monotonic_ns",
    "time_ns",
    "perf_counter",
}

Rule = Callable[[str, str], Iterator[str]]


def imports(text: str) -> Iterator[tuple[str, int]]:
    """Every dotted name that is imported: ``from a import b`` is ``a.b``, since b may
    be a module.
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "relative imports hide who knows whom"
            yield from (
                (f"{node.module}.{alias.name}", node.lineno) for alias in node.names
            )


def within(name: str, modules: Set[str]) -> bool:
    return any(name == m or name.startswith(f"{m}.") for m in modules)


def offences(
    name: str, text: str, modules: Set[str], but: Set[str] = frozenset()
) -> Iterator[str]:
    for imported, line in imports(text):
        if within(imported, modules) and not within(imported, but):
            yield f"{name}:{line}: imports {imported}"


def pure_parts_know_only_data(name: str, text: str) -> Iterator[str]:
    if name not in PURE_FILES:
        return
    yield from offences(name, text, IMPURE)
    for imported, line in imports(text):
        if not within(
            imported, PURE_MAY | PURE_LIBRARIES | set(sys.stdlib_module_names)
        ):
            yield f"{name}:{line}: a pure part imports {imported}"


def only_composers_name_adapters(name: str, text: str) -> Iterator[str]:
    if not name.startswith("detector/") or name in COMPOSERS:
        return
    own = name.removesuffix(".py").replace("/", ".")
    yield from offences(
        name, text, ADAPTERS - {own}, but=SPOKEN if name in IN_THE_MIDDLE else set()
    )


def the_middle_knows_no_library_of_an_adapter(name: str, text: str) -> Iterator[str]:
    if name in IN_THE_MIDDLE:
        yield from offences(
            name,
            text,
            LIBRARIES_OF_ADAPTERS | {"detector.app", "detector.settings.load"},
        )


def the_daemon_knows_neither_training_nor_deploy_nor_torch(
    name: str, text: str
) -> Iterator[str]:
    if name.startswith("detector/"):
        yield from offences(name, text, {"training", "deploy", "tests"} | OF_TRAINING)


def torch_stays_in_training(name: str, text: str) -> Iterator[str]:
    if not name.startswith("training/"):
        yield from offences(name, text, OF_TRAINING)


def training_knows_no_deploy(name: str, text: str) -> Iterator[str]:
    if name.startswith("training/"):
        yield from offences(name, text, {"deploy", "tests"})


def the_clock_alone_reads_clocks(name: str, text: str) -> Iterator[str]:
    # the demo plays the world, which has clocks
    if name == "detector/clock.py" or name.startswith("deploy/"):
        return
    yield from offences(name, text, {"time"})
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in READS_A_CLOCK
        ):
            called = ast.unparse(node.func)
            if called.split(".")[0] in {"time", "datetime", "date"}:
                yield f"{name}:{node.lineno}: calls {called}"


def settings_alone_read_the_environment(name: str, text: str) -> Iterator[str]:
    # the demo starts processes with an environment of their own
    if name == "detector/settings/load.py" or name.startswith("deploy/"):
        return
    yield from offences(name, text, {"os.environ", "os.getenv", "os.environb"})
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {
            "os.environ",
            "os.getenv",
            "os.environb",
        }:
            yield f"{name}:{node.lineno}: reads {ast.unparse(node)}"


def nothing_that_runs_code_when_it_is_loaded(name: str, text: str) -> Iterator[str]:
    yield from offences(name, text, {"pickle", "dill", "joblib", "marshal", "shelve"})


def modules_are_named_for_what_they_do(name: str, text: str) -> Iterator[str]:
    if Path(name).stem in FORBIDDEN_NAMES:
        yield f"{name}:1: a name that says nothing"


def files_stay_under_400_lines(name: str, text: str) -> Iterator[str]:
    if (lines := text.count("\n")) > 400:
        yield f"{name}:{lines}: a longer file must earn it"


OFFENDERS: list[tuple[Rule, str, str]] = [
    (pure_parts_know_only_data, "detector/alerting/decide.py", "import time"),
    (
        pure_parts_know_only_data,
        "detector/alerting/decide.py",
        "from os import environ",
    ),
    (
        pure_parts_know_only_data,
        "detector/ingest/formats/json_wide.py",
        "import kafka.errors",
    ),
    (
        pure_parts_know_only_data,
        "detector/recovery/snapshot.py",
        "from detector.recovery import store_local",
    ),
    (
        only_composers_name_adapters,
        "detector/cli/main.py",
        "from detector.ingest import source_kafka",
    ),
    (
        only_composers_name_adapters,
        "detector/web/server.py",
        "from detector.recovery.store_local import LocalStore",
    ),
    (
        only_composers_name_adapters,
        "detector/pipeline/pipeline.py",
        "from detector.model.onnx_engine import Runtime",
    ),
    (
        the_middle_knows_no_library_of_an_adapter,
        "detector/consumer/loop.py",
        "from kafka.errors import KafkaError",
    ),
    (
        the_daemon_knows_neither_training_nor_deploy_nor_torch,
        "detector/model/bundle.py",
        "import training.fitting.calibrate",
    ),
    (torch_stays_in_training, "deploy/demo/train.py", "from torch import nn"),
    (
        training_knows_no_deploy,
        "training/fitting/train.py",
        "from deploy.demo import generator",
    ),
    (
        the_clock_alone_reads_clocks,
        "detector/consumer/loop.py",
        "from time import monotonic",
    ),
    (
        the_clock_alone_reads_clocks,
        "training/fitting/train.py",
        "import datetime\ndatetime.datetime.now()",
    ),
    (
        settings_alone_read_the_environment,
        "detector/app.py",
        "import os\nos.environ['A']",
    ),
    (
        settings_alone_read_the_environment,
        "training/settings.py",
        "from os import getenv",
    ),
    (
        nothing_that_runs_code_when_it_is_loaded,
        "training/fitting/export.py",
        "import pickle",
    ),
    (modules_are_named_for_what_they_do, "detector/utils.py", ""),
    (files_stay_under_400_lines, "detector/app.py", "x = 1\n" * 401),
]
RULES = list(dict.fromkeys(rule for rule, _, _ in OFFENDERS))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: Rule) -> None:
    found = [
        offence
        for path in PATHS
        for offence in rule(path.relative_to(ROOT).as_posix(), path.read_text())
    ]
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    OFFENDERS,
    ids=[f"{r.__name__}-{n}" for r, n, _ in OFFENDERS],
)
def test_the_rule_sees_an_offender(rule: Rule, name: str, text: str) -> None:
    assert [o for o in rule(name, text) if o.startswith(f"{name}:")]


def test_the_pure_parts_and_adapters_that_the_rules_name_exist() -> None:
    later = {"detector.recovery.store_kafka"}
    named = {ROOT / p for p in PURE_FILES | COMPOSERS | IN_THE_MIDDLE} | {
        ROOT / f"{a.replace('.', '/')}.py" for a in ADAPTERS - later
    }
    assert not sorted(str(p.relative_to(ROOT)) for p in named if not p.exists())
