"""``training fit``: history to a bundle, or a sentence that says why not."""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from detector.alerting.thresholds import (
    INITIAL_PENALTY,
    SETTLED_SHARE,
    effective_budget,
)
from detector.cli.main import main as detector
from detector.model.bundle import Manifest, load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.timestamps import WEEK
from training.cli import main as training
from training.fitting import build_bundle as build
from training.models.baselines import BASELINES

QUICK = ["--steps", "20", "--hidden", "6"]


def history(
    path: Path, streams: int = 3, rows: int = 400, seed: int = 0, extra: str = ""
) -> Path:
    """A wide CSV with a few per cent of anomalies and missing cells, and a flag that
    never moves.
    """
    rng = np.random.default_rng(seed)
    lines = ["timestamp,stream,cpu,mem,flag"]
    for s in range(streams):
        load = 50 + 10 * np.sin(np.arange(rows) / 30 + s)
        for t in range(rows):
            cpu = load[t] + rng.normal() + (200 if rng.random() < 0.02 else 0)
            mem = "" if rng.random() < 0.02 else f"{2 * load[t] + rng.normal():.5g}"
            lines.append(f"{1_700_000_000 + 60 * t},host-{s},{cpu:.5g},{mem},1")
    path.write_text("\n".join([*lines, extra]) + "\n")
    return path


class Fit(NamedTuple):
    """Data, the bundle that was fitted to it, and what the command said."""

    data: Path
    bundle: Path
    said: str


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    folder = tmp_path_factory.mktemp("fit")
    data = history(folder / "history.csv")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert (
            training(
                ["fit", "--data", str(data), "--out", str(folder / "bundle"), *QUICK]
            )
            == 0
        )
    return Fit(data, folder / "bundle", said.getvalue())


def test_the_bundle_is_what_the_daemon_opens(fitted: Fit) -> None:
    bundle = load_bundle(fitted.bundle)
    assert bundle.feature_names == ("cpu", "mem", "flag")
    assert set(bundle.rows) == {"host-0", "host-1", "host-2"}
    assert bundle.manifest.tick_interval == 60
    assert np.isfinite(bundle.trained).all()
    assert "<img" in (fitted.bundle / "report.html").read_text()


def replayed(bundle: Path, data: Path, tmp_path: Path) -> list[dict[str, str]]:
    """The rows of the scores."""
    scores = tmp_path / "s.csv"
    assert (
        detector(
            [
                "replay",
                "--bundle",
                str(bundle),
                "--data",
                str(data),
                "--scores",
                str(scores),
            ]
        )
        == 0
    )
    with scores.open() as file:
        return list(csv.DictReader(file))


def of_one_stream(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row for row in rows if row["stream"] == "host-0"]


def test_replay_runs_what_fit_wrote(fitted: Fit, tmp_path: Path) -> None:
    rows = replayed(fitted.bundle, fitted.data, tmp_path)
    assert len(rows) == 3 * 400


def test_a_replay_of_history_starts_where_training_did_and_a_later_one_goes_on(
    fitted: Fit, tmp_path: Path
) -> None:
    head, *rows = fitted.data.read_text().split()
    began = 1_700_000_000
    bundle = load_bundle(fitted.bundle)
    for shift, known in (
        (0, False),
        (150 * 60, False),
        (250 * 60, True),
        (400 * 60, True),
    ):
        moved = [
            f"{int(when) + shift},{rest}"
            for when, rest in (row.split(",", 1) for row in rows)
        ]
        (tmp_path / "later.csv").write_text("\n".join([head, *moved]) + "\n")
        scored = replayed(fitted.bundle, tmp_path / "later.csv", tmp_path)
        found = of_one_stream(scored)
        assert int(found[0]["timestamp"]) == began + shift
        assert [row["status"] == "warming" for row in found] == [
            not known and t < 120 for t in range(400)
        ], shift
    x = np.array([[*map(float, rows[0].split(",")[2:])]], np.float32)
    first = OnnxEngine(bundle).step(
        x, np.array([[60.0, began % 86_400, 1]], np.float32), bundle.first[:1]
    )
    assert float(
        of_one_stream(replayed(fitted.bundle, fitted.data, tmp_path))[0]["score"]
    ) == pytest.approx(float(first.score[0]), rel=1e-4)


def test_a_known_stream_starts_with_a_penalty(fitted: Fit, tmp_path: Path) -> None:
    tail = load_bundle(fitted.bundle).manifest.tail
    trained_seconds = 400 * 60
    later = 1_700_000_000 + trained_seconds
    (tmp_path / "later.csv").write_text(
        f"timestamp,stream,cpu,mem,flag\n{later},host-0,50,100,1\n"
    )
    (row,) = replayed(fitted.bundle, tmp_path / "later.csv", tmp_path)
    threshold = float(row["threshold"])
    at_first = tail.threshold(effective_budget(1.0))
    settled = SETTLED_SHARE * (tail.threshold(1.0) - at_first)
    short = INITIAL_PENALTY * tail.score_scale * (1 - trained_seconds / WEEK)
    assert threshold == pytest.approx(at_first + max(settled, short), rel=1e-4)


def test_same_data_and_seed_are_the_same_bundle_and_name_no_path(
    fitted: Fit, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    assert (
        training(["fit", "--data", str(fitted.data), "--out", str(again), *QUICK]) == 0
    )
    for name in ("manifest.json", "model.onnx", "streams.npz", "report.html"):
        content = (again / name).read_bytes()
        assert content == (fitted.bundle / name).read_bytes()
        assert str(Path(__file__).parents[4]).encode() not in content


@pytest.mark.parametrize("kind", BASELINES)
def test_a_baseline_is_fitted_replayed_and_recorded_like_the_network(
    fitted: Fit, tmp_path: Path, kind: str
) -> None:
    data = fitted.data
    out = tmp_path / "b"
    assert (
        training(["fit", "--data", str(data), "--out", str(out), "--detector", kind])
        == 0
    )
    bundle = load_bundle(out)
    assert set(bundle.rows) == {"host-0", "host-1", "host-2"}
    assert bundle.manifest.provenance["settings"]["detector"] == kind
    rows = replayed(out, data, tmp_path)
    assert rows
    assert all(0 <= float(row["score"]) <= 12 for row in rows)


def test_an_existing_bundle_is_kept_unless_forced(
    fitted: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "b"
    shutil.copytree(fitted.bundle, out)
    before = load_bundle(out).digest
    arguments = [
        "fit",
        "--data",
        str(fitted.data),
        "--out",
        str(out),
        *QUICK,
        "--seed",
        "1",
    ]
    assert training(arguments) == 2
    assert "--force" in capsys.readouterr().err
    assert load_bundle(out).digest == before
    assert training([*arguments, "--force"]) == 0
    assert load_bundle(out).digest != before
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_an_interrupted_fit_leaves_nothing(
    fitted: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "verify", interrupted)
    assert (
        training(
            [
                "fit",
                "--data",
                str(fitted.data),
                "--out",
                str(tmp_path / "b"),
                "--detector",
                "ewma",
            ]
        )
        == 130
    )
    assert list(tmp_path.iterdir()) == []


def test_a_constant_feature_is_kept_and_said(fitted: Fit) -> None:
    assert "all 3 streams have constant `flag`: kept" in fitted.said
    assert "note: not compared with the baselines" in fitted.said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("timestamp,stream,cpu\n", "no rows"),
        (
            "timestamp,stream,cpu\n"
            + "".join(f"{60 * t + 1},a,\n" for t in range(200)),
            "no finite value",
        ),
        (
            "timestamp,stream,cpu\n"
            + "".join(
                f"{60 * t + 1},{s},1\n"
                for t in range(200)
                for s in "ab"[: 2 if t < 50 else 1]
                if t < 90
            ),
            "the longest, a, has 90",
        ),
        (
            "timestamp,stream,cpu,mem\n"
            + "".join(
                f"{60 * t + 1},{s},5,{len(s)}\n"
                for t in range(200)
                for s in ("a", "bb")
            ),
            "nothing in it varies",
        ),
        ("when,cpu\n1,2\n", "timestamp"),
    ],
)
def test_data_that_cannot_be_fitted_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    (tmp_path / "h.csv").write_text(content)
    assert (
        training(
            [
                "fit",
                "--data",
                str(tmp_path / "h.csv"),
                "--out",
                str(tmp_path / "b"),
                *QUICK,
            ]
        )
        == 2
    )
    assert said in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("more", "said"), [([], "3 features"), (["--detector", "pca"], "the detector pca")]
)
def test_lean_is_refused_where_it_leaves_nothing_out(
    fitted: Fit,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    said: str,
) -> None:
    assert (
        training(
            [
                "fit",
                "--data",
                str(fitted.data),
                "--out",
                str(tmp_path / "b"),
                "--lean",
                *more,
                *QUICK,
            ]
        )
        == 2
    )
    assert said in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_lean_bundle_of_one_metric_is_half_as_wide_and_runs(tmp_path: Path) -> None:
    rows = [
        f"{60 * t + 60},a,{5 + (t % 60) / 9 + (t * 7919 % 101) / 50}"
        for t in range(800)
    ]
    (tmp_path / "h.csv").write_text("\n".join(["timestamp,stream,cpu", *rows]) + "\n")
    assert (
        training(
            [
                "fit",
                "--data",
                str(tmp_path / "h.csv"),
                "--out",
                str(tmp_path / "b"),
                "--lean",
                "--allow-worse",
                *QUICK,
            ]
        )
        == 0
    )
    bundle = load_bundle(tmp_path / "b")
    assert bundle.manifest.state_size <= 280
    assert np.isfinite(
        OnnxEngine(bundle)
        .step(
            np.ones((1, 1), np.float32),
            np.ones((1, 3), np.float32),
            bundle.initial[None],
        )
        .score
    ).all()


def test_files_that_differ_in_their_features_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.csv").write_text("timestamp,cpu\n1,2\n")
    (tmp_path / "d/b.csv").write_text("timestamp,mem\n1,2\n")
    assert (
        training(
            ["fit", "--data", str(tmp_path / "d"), "--out", str(tmp_path / "b"), *QUICK]
        )
        == 2
    )
    assert "cpu, mem" in capsys.readouterr().err


def test_an_unknown_setting_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text("stepz = 3\n")
    assert (
        training(
            [
                "fit",
                "--data",
                "x",
                "--out",
                str(tmp_path / "b"),
                "--config",
                str(tmp_path / "c.toml"),
            ]
        )
        == 2
    )
    assert "stepz" in capsys.readouterr().err


def test_the_fit_calibrates_with_the_rules_of_the_daemon(
    fitted: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def manifest(name: str) -> Manifest:
        out = tmp_path / name
        command = ["fit", "--data", str(fitted.data), "--out", str(out)]
        assert training([*command, "--detector", "ewma"]) == 0
        return load_bundle(out).manifest

    default = manifest("default")
    monkeypatch.setenv("DETECTOR_ALERTING__BREACHING_STEPS", "3")
    patient = manifest("patient")
    assert patient.tail != default.tail
    recorded = patient.provenance["settings"]["alerting"]
    assert recorded["breach_steps"] == 3
    assert default.provenance["settings"]["alerting"]["breach_steps"] == 1


def test_a_bundle_holds_no_array_that_nothing_reads(fitted: Fit) -> None:
    with np.load(fitted.bundle / "streams.npz") as arrays:
        assert set(arrays) == {"initial", "names", "rows", "seen", "first", "began"}
