"""A bundle is verified before it runs, and a budget becomes a threshold."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.alerting.thresholds import FEEDBACK
from detector.errors import BundleError
from detector.model.bundle import BUILTIN, load_bundle
from detector.model.onnx_engine import OnnxEngine
from tests.fakes import TAIL, write_bundle


@pytest.mark.parametrize(
    ("budget", "threshold"),
    [(10.0, 1.0), (1.0, 3.0), (0.1, 5.0), (0.01, 7.0), (100.0, 1.0)],
)
def test_the_threshold_follows_from_the_budget(budget: float, threshold: float) -> None:
    assert TAIL.threshold(budget * math.exp(FEEDBACK)) == pytest.approx(threshold)


@given(st.floats(1e-6, 1e4), st.floats(1e-6, 1e4))
def test_a_smaller_budget_never_has_a_lower_threshold(a: float, b: float) -> None:
    assert (TAIL.threshold(a) - TAIL.threshold(b)) * (a - b) <= 0


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_is_positive(budget: float) -> None:
    with pytest.raises(ValueError, match="budget"):
        TAIL.threshold(budget)


def test_an_absent_bundle_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="`streamwarden fit "):
        load_bundle(tmp_path / "none")


@pytest.mark.parametrize("name", ["model.onnx", "streams.npz"])
def test_a_changed_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = write_bundle(tmp_path / "b")
    (path / name).write_bytes((path / name).read_bytes() + b"x")
    with pytest.raises(BundleError, match=name):
        load_bundle(path)


def test_a_manifest_without_a_zone_means_utc(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b", timezone="Asia/Kolkata")
    assert load_bundle(path).manifest.timezone == "Asia/Kolkata"
    manifest = json.loads((path / "manifest.json").read_bytes())
    del manifest["timezone"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert load_bundle(path).manifest.timezone == "UTC"


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b")
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(BundleError, match="schema 99"):
        load_bundle(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b")
    (path / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"no readable model\.onnx"):
        load_bundle(path)


def test_a_graph_of_another_width_is_refused(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b", features=("a", "b"))
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(
        json.dumps({**manifest, "features": [{"name": "a"}]})
    )
    with pytest.raises(BundleError, match="x of shape"):
        OnnxEngine(load_bundle(path))


@pytest.mark.parametrize(
    "broken",
    [
        lambda graph: b"",
        lambda graph: b"no graph",
        lambda graph: graph[: len(graph) // 2],
        lambda graph: graph.replace(b"Sigmoid", b"Nosuch!"),
    ],
    ids=["empty", "text", "cut", "unknown operator"],
)
def test_an_unloadable_graph_is_an_error_with_a_remedy(
    broken: Callable[[bytes], bytes],
) -> None:
    shipped = load_bundle(BUILTIN)
    assert broken(shipped.graph) != shipped.graph
    with pytest.raises(BundleError, match="train the bundle again"):
        OnnxEngine(replace(shipped, graph=broken(shipped.graph)))
