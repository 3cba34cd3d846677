"""What a fit on one metric takes over from the package's bundle: the network it goes on
from and the rates beside its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from detector.model.bundle import BUILTIN, GRAPH, load_bundle
from training.cli import main as training
from training.errors import TrainingError
from training.fitting import pretrained as module
from training.fitting.pretrained import NETWORK, pretrained_for
from training.fitting.train import fit
from training.history.history import Split
from training.models.autoencoder import AutoencoderNetwork
from training.settings import FitSettings

MINUTE = 60.0


def weights() -> dict[str, torch.Tensor]:
    known = pretrained_for(FitSettings(), 1, MINUTE)
    assert known is not None
    assert known.weights is not None
    return dict(known.weights)


def test_the_pretrained_weights_are_those_of_the_built_in_graph() -> None:
    graph = onnx.load(BUILTIN / GRAPH).graph
    served = [
        numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.name == "bottleneck.weight"
    ]
    assert [
        np.array_equal(weight, weights()["bottleneck.weight"].numpy())
        for weight in served
    ] == [True]


def test_the_rates_of_many_metrics_are_known_per_point() -> None:
    slow = pretrained_for(FitSettings(), 2, MINUTE)
    fast = pretrained_for(FitSettings(), 2, 1.0)
    assert slow is not None
    assert fast is not None
    assert slow.weights is None
    assert fast.prior.tail.rate(4.0) == pytest.approx(60 * slow.prior.tail.rate(4.0))
    scores = np.array([1.0, 4.0])
    assert fast.prior.incidents_at(scores, 1.0) == pytest.approx(
        slow.prior.incidents_at(scores, MINUTE)
    )


def test_only_the_full_network_has_a_prior() -> None:
    assert pretrained_for(FitSettings(lean=True), 1, MINUTE) is None
    assert pretrained_for(FitSettings(detector="ewma"), 1, MINUTE) is None
    narrow = pretrained_for(FitSettings(hidden=8), 1, MINUTE)
    assert narrow is not None
    assert narrow.weights is None


def test_a_fit_that_does_no_better_keeps_the_pretrained_weights() -> None:
    start = weights()
    rng = np.random.default_rng(0)
    channels = [rng.normal(size=(400, 6)).astype(np.float32) for _ in range(3)]
    splits = [Split(200, 300)] * 3
    ruinous = FitSettings(steps=3, learning_rate=10.0)
    fitted = fit(channels, splits, ruinous, 16, lambda *_: None, start)
    assert fitted.start is not None
    assert fitted.start < fitted.curve[-1][2]
    assert all(
        torch.equal(value, start[name])
        for name, value in fitted.network.state_dict().items()
    )
    better = fit(channels, splits, FitSettings(steps=60), 16, lambda *_: None, start)
    assert min(v for _, _, v in better.curve) < fitted.start
    assert not torch.equal(
        better.network.state_dict()["output.bias"], start["output.bias"]
    )


def test_a_short_history_of_one_metric_keeps_the_built_in_thresholds(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(5)
    rows = [
        f"{1_700_000_000 + 300 * t},host-{s},{50 + rng.normal():.5g}"
        for s in range(3)
        for t in range(400)
    ]
    (tmp_path / "history.csv").write_text(
        "\n".join(["timestamp,stream,cpu", *rows]) + "\n"
    )
    assert (
        training(
            [
                "fit",
                "--data",
                str(tmp_path / "history.csv"),
                "--out",
                str(tmp_path / "bundle"),
                "--steps",
                "2",
                "--allow-worse",
            ]
        )
        == 0
    )
    own, package = (
        load_bundle(path).manifest for path in (tmp_path / "bundle", BUILTIN)
    )
    assert own.tail.threshold(0.5) == pytest.approx(
        package.tail.threshold(0.5), abs=package.tail.score_scale / 4
    )
    assert own.tail.stream_weeks < 0.2
    assert own.provenance["validation_loss"] <= own.provenance["last_validation_loss"]


def test_damaged_weights_are_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in BUILTIN.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / NETWORK).write_bytes(b"nothing")
    monkeypatch.setattr(module, "BUILTIN", tmp_path)
    said = "is not the file that its manifest was made for.*install the package again"
    with pytest.raises(TrainingError, match=rf"{NETWORK} {said}"):
        pretrained_for(FitSettings(), 1, MINUTE)


def test_what_is_packed_is_what_a_network_of_that_shape_takes() -> None:
    network = AutoencoderNetwork(6, 16, torch.zeros(6, 6))
    assert {name: tuple(value.shape) for name, value in weights().items()} == {
        k: tuple(v.shape) for k, v in network.state_dict().items()
    }
