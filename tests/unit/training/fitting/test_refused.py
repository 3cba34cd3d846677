"""A refused fit keeps its work, and no stale work is taken."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from detector.alerting.rules import Rule, Rules
from detector.model.bundle import load_bundle
from training.cli import main as training
from training.fitting import build_bundle as build
from training.fitting.candidate import FittedModel
from training.fitting.provenance import recorded
from training.fitting.refused import FIT_DIGEST, find_refused, fit_digest
from training.history.history import load_history
from training.models.baselines import BASELINES
from training.settings import FitSettings
from training.synthetic.faults import KINDS


def history(path: Path, seed: int = 0) -> Path:
    """Two streams whose three metrics ride one slow wave."""
    rng = np.random.default_rng(seed)
    lines = ["timestamp,stream,cpu,mem,io"]
    for name in ("a", "b"):
        for t in range(1400):
            x = 50 + 20 * np.sin(t / 90) + rng.normal(0, 0.5, 3)
            cells = ",".join(f"{v:.5g}" for v in x)
            lines.append(f"{1_700_000_000 + 60 * t},{name},{cells}")
    path.write_text("\n".join(lines) + "\n")
    return path


class Refused(NamedTuple):
    """A folder with the data and a refused fit, and what the command said."""

    folder: Path
    out: str
    err: str

    def copied(self, to: Path) -> Path:
        shutil.copytree(self.folder, to, dirs_exist_ok=True)
        return to


def fit(folder: Path, *more: str) -> int:
    """A network that one step has taught nothing, fitted in ``folder``."""
    return training(
        [
            "fit",
            "--data",
            str(folder / "h.csv"),
            "--out",
            str(folder / "b"),
            "--steps",
            "1",
            "--hidden",
            "2",
            *more,
        ]
    )


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Refused:
    folder = tmp_path_factory.mktemp("refused")
    history(folder / "h.csv")
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        assert fit(folder) == 2
    return Refused(folder, out.getvalue(), err.getvalue())


@pytest.fixture
def no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def fitted(*given: object) -> FittedModel:
        raise AssertionError("a second fit")

    monkeypatch.setattr(build, "fit_model", fitted)


def test_a_worse_network_is_refused_and_its_bundle_waits_with_its_report(
    refused: Refused,
) -> None:
    assert "is worse than the best baseline" in refused.err
    assert f"the bundle waits in {refused.folder / 'b.refused'}" in refused.err
    assert "--allow-worse" in refused.err
    assert all(f"  {name}" in refused.out for name in ("lstm", *BASELINES))
    assert sorted(p.name for p in refused.folder.iterdir()) == ["b.refused", "h.csv"]
    waiting = load_bundle(refused.folder / "b.refused")
    recorded = waiting.manifest.provenance["held_out"]
    assert recorded["verdict"] == "worse than"
    assert set(recorded["detectors"]) == {"lstm", *BASELINES}
    assert set(recorded["detectors"]["lstm"]["vus_pr_by_kind"]) == set(KINDS)
    report = (refused.folder / "b.refused/report.html").read_text()
    assert "Against the plain baselines" in report


@pytest.mark.usefixtures("no_fit")
def test_to_allow_it_afterwards_takes_no_second_fit(
    refused: Refused, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = refused.copied(tmp_path)
    waiting = load_bundle(folder / "b.refused").digest
    assert fit(folder, "--allow-worse") == 0
    assert "not fitted again" in capsys.readouterr().out
    assert load_bundle(folder / "b").digest == waiting
    assert sorted(p.name for p in folder.iterdir()) == ["b", "h.csv"]


def test_to_allow_it_at_once_gives_the_same_bundle(
    refused: Refused, tmp_path: Path
) -> None:
    shutil.copy(refused.folder / "h.csv", tmp_path)
    assert fit(tmp_path, "--allow-worse") == 0
    for name in ("manifest.json", "model.onnx", "streams.npz", "report.html"):
        waiting = refused.folder / "b.refused" / name
        assert (tmp_path / "b" / name).read_bytes() == waiting.read_bytes()


def test_the_digest_is_of_all_that_a_fit_depends_on(refused: Refused) -> None:
    data = load_history(refused.folder / "h.csv", 0.65)
    settings = FitSettings(steps=1)
    versions = {"numpy": "2"}
    labelled = replace(data, labels={"a": np.array([[1.7e9, 1.7e9 + 60]])})
    digests = {
        fit_digest(data, settings, versions),
        fit_digest(replace(data, digest="0"), settings, versions),
        fit_digest(labelled, settings, versions),
        fit_digest(data, settings.model_copy(update={"seed": 1}), versions),
        fit_digest(data, settings, {"numpy": "3"}),
    }
    assert len(digests) == 5
    allowed = settings.model_copy(update={"allow_worse": True})
    assert fit_digest(data, allowed, versions) in digests
    rules = Rules((Rule("mute", stream=re.compile("test-.*"), is_muted=True),))
    ruled = replace(settings.alerting, rules=rules)
    with_rules = settings.model_copy(update={"alerting": ruled})
    assert fit_digest(data, with_rules, versions) in digests
    assert "rules" not in recorded(with_rules)["alerting"]


def test_a_damaged_bundle_is_not_taken(refused: Refused, tmp_path: Path) -> None:
    folder = refused.copied(tmp_path)
    bundle = load_bundle(folder / "b.refused")
    digest = str(bundle.manifest.provenance[FIT_DIGEST])
    assert find_refused(folder / "b", digest) is not None
    assert find_refused(folder / "b", "0" * 64) is None
    graph = folder / "b.refused/model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    assert find_refused(folder / "b", digest) is None


def test_stale_work_is_fitted_again_and_dropped(
    refused: Refused, tmp_path: Path
) -> None:
    folder = refused.copied(tmp_path)
    stale = load_bundle(folder / "b.refused").digest
    history(folder / "h.csv", seed=1)
    assert fit(folder, "--allow-worse") == 0
    assert load_bundle(folder / "b").digest != stale
    assert not (folder / "b.refused").exists()


@pytest.mark.usefixtures("no_fit")
def test_a_bundle_that_is_there_is_not_replaced_without_force(
    refused: Refused, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = refused.copied(tmp_path)
    shutil.copytree(folder / "b.refused", folder / "b")
    assert fit(folder, "--allow-worse") == 2
    assert "--force" in capsys.readouterr().err
    assert (folder / "b.refused").is_dir()
    assert fit(folder, "--allow-worse", "--force") == 0


def test_a_folder_of_that_name_that_is_no_bundle_is_left_alone(
    refused: Refused, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(refused.folder / "h.csv", tmp_path)
    (tmp_path / "b.refused").mkdir()
    (tmp_path / "b.refused/notes.txt").write_text("mine")
    assert fit(tmp_path) == 2
    assert "or write it all the same with --allow-worse" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "b.refused").iterdir()] == ["notes.txt"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.refused", "h.csv"]
