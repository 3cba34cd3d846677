"""The shape of the house, read from the imports: who may know whom, and what must not exist."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("detector/**/*.py"), *ROOT.glob("training/**/*.py")])
PURE = ("ingest/decode", "model/streams", "alerting/decide", "alerting/payload", "recovery/snapshot")
# msgspec and numpy are codecs and arrays: no clock, no environment, no threads, no sockets
PURE_MAY = {"numpy", "numpy.typing", "msgspec", "detector.events", "detector.errors", *(f"detector.{p.replace('/', '.')}" for p in PURE)}
IMPURE = {"time", "os", "threading", "socket", "random", "asyncio", "subprocess", "io", "pathlib"}
ADAPTERS = {
    "detector.ingest.source_kafka",
    "detector.ingest.source_file",
    "detector.alerting.webhook",
    "detector.recovery.store_local",
    "detector.web.server",
    "detector.deadletter",
}
COMPOSERS = {"detector/app.py", "detector/check.py", "detector/replay.py"}  # the daemon, and the two commands that are not one


def imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def offences(path: Path, forbidden: set[str]) -> list[str]:
    return [f"{named(path)}:{line} imports {name}" for name, line in imports(path) if name in forbidden or name.split(".")[0] in forbidden]


@pytest.mark.parametrize("module", PURE)
def test_pure_parts_know_only_data(module: str) -> None:
    path = ROOT / "detector" / f"{module}.py"
    strange = [
        f"{module}:{line} imports {name}"
        for name, line in imports(path)
        if name.split(".")[0] in ("detector", "numpy", "msgspec") and name not in PURE_MAY
    ]
    assert not strange
    assert not offences(path, IMPURE)


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_each_module_keeps_to_its_room(path: Path) -> None:
    name, text = named(path), path.read_text()
    module = name.removesuffix(".py").replace("/", ".")
    if name.startswith("detector/"):
        assert not offences(path, {"training", "deploy", "tests", "torch"})
        if name not in COMPOSERS:
            assert not offences(path, ADAPTERS - {module})
    assert path.stem not in {"utils", "helpers", "common", "base", "manager", "misc"}
    assert len(text.splitlines()) <= 400, "a longer file must earn it"
    assert "pickle" not in {n for n, _ in imports(path)}
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)}
    if name != "detector/clock.py":
        assert not calls & {"time.time", "time.monotonic", "datetime.datetime.now", "datetime.now"}
    if name != "detector/config.py":
        assert "os.environ" not in text
        assert "getenv" not in text


def test_the_pipeline_knows_ports_and_no_adapter() -> None:
    assert not offences(ROOT / "detector/pipeline.py", ADAPTERS | {"detector.app", "kafka", "onnxruntime", "urllib3"})
    assert not offences(ROOT / "detector/loop.py", ADAPTERS | {"detector.app", "kafka", "onnxruntime", "urllib3"})
