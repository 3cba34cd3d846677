"""A bundle that makes each metric a stream: what files, the pipeline and its alerts
make of records with any metrics.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest

from detector.alerting.policy import AlertTuning
from detector.cli.main import main
from detector.consumer.checkpoints import make_durable
from detector.data.per_metric import read_metrics
from detector.errors import BundleError, DataError, RejectReason
from detector.events import Partition
from detector.ingest.decoder import metric_decoder
from detector.ingest.formats.registry import FORMATS
from detector.metrics import Metrics
from detector.model.bundle import MANIFEST, Manifest, load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.build import build_pipeline
from detector.recovery.restore import restore
from detector.recovery.snapshot import Restored
from detector.recovery.store import load_last
from tests.fakes import (
    MemoryStore,
    PipelineRecorder,
    raw_batch,
    write_bundle,
    write_each_metric_bundle,
)

P = Partition("metrics", 0)


def read(
    folder: Path, text: str, name: str = "host-9.csv"
) -> dict[str, list[tuple[float, float]]]:
    """Each stream's points."""
    (folder / name).write_text(text)
    found: dict[str, list[tuple[float, float]]] = {}
    for table in read_metrics(folder):
        assert table.features == ("value",)
        for i, stream in enumerate(table.stream.tolist()):
            found.setdefault(table.streams[stream], []).append(
                (table.times[i], table.values[i, 0])
            )
    return found


# -- files -----------------------------------------------------------------------------


def test_each_cell_with_a_number_is_a_point(
    tmp_path: Path,
) -> None:
    found = read(
        tmp_path, "timestamp,stream,cpu,zone,mem,label\n1,a,5,east,,0\n2,b,6,west,7,1\n"
    )
    assert found == {"a/cpu": [(1, 5)], "b/cpu": [(2, 6)], "b/mem": [(2, 7)]}


def test_files_may_bring_different_metrics(tmp_path: Path) -> None:
    read(tmp_path, "timestamp,cpu\n1,5\n", "a.csv")
    assert read(tmp_path, "timestamp,disk,mem\n1,6,7\n", "b.csv") == {
        "a/cpu": [(1, 5)],
        "b/disk": [(1, 6)],
        "b/mem": [(1, 7)],
    }


def test_a_long_file_has_one_row_for_each_metric(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "timestamp,stream,feature,value\n1,a,cpu,5\n1,a,mem,\n2,b,cpu,6\n2,a,cpu,8\n",
    )
    assert found == {"a/cpu": [(1, 5), (2, 8)], "b/cpu": [(2, 6)]}


def test_extra_columns_of_a_long_file_are_ignored(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "timestamp,stream,feature,value,unit\n1,a,cpu,5,%\n1,a,disk,900,\n2,a,cpu,8,%\n",
    )
    assert found == {"a/cpu": [(1, 5), (2, 8)], "a/disk": [(1, 900)]}


def test_a_wide_file_may_have_a_metric_called_feature(tmp_path: Path) -> None:
    found = read(tmp_path, "timestamp,stream,feature,value,cpu\n1,a,3,5,7\n")
    assert found == {"a/feature": [(1, 3)], "a/value": [(1, 5)], "a/cpu": [(1, 7)]}


def test_each_point_has_the_label_of_its_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("timestamp,cpu,mem,label\n1,5,6,0\n2,7,,1\n")
    (table,) = read_metrics(tmp_path)
    assert table.label is not None
    assert table.label.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "timestamp,zone\n1,east\n",
            "no column of numbers beside timestamp (`zone` holds 'east')",
        ),
        ("timestamp,cpu\n1,low\n2,high\n", "'low'"),
        ("timestamp,feature,value\n1,,5\n", "the feature is empty"),
        ("when,cpu\n1,5\n", "no `timestamp` column"),
    ],
)
def test_unreadable_data_is_refused_by_file_and_row(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(DataError, match=r"host-9\.csv") as refused:
        read(tmp_path, text)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["timestamp,cpu\n", "timestamp,cpu\n1,\n", "timestamp,feature,value\n1,cpu,\n"],
)
def test_data_without_a_single_point_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="has no rows with a value"):
        read(tmp_path, text)


# -- replay ----------------------------------------------------------------------------


def history(path: Path) -> Path:
    rows = ["timestamp,stream,cpu,mem"]
    for t in range(150):
        rows.append(f"{60 * (t + 1)},a,{40 if 20 <= t < 25 else 0},0")
        rows.append(f"{60 * (t + 1)},b,,0")
    rows += ["60,a,1,1"]  # late
    path.write_text("\n".join(rows) + "\n")
    return path


def test_replay_writes_a_row_for_each_metric_and_alerts_name_it(
    tmp_path: Path,
) -> None:
    bundle = write_each_metric_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv")
    outputs = [
        "--scores",
        str(tmp_path / "s.csv"),
        "--alerts",
        str(tmp_path / "a.ndjson"),
    ]
    assert main(["replay", "--bundle", str(bundle), "--data", str(data), *outputs]) == 0
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "stream",
        "timestamp",
        "score",
        "threshold",
        "status",
        "value",
    ]
    assert [(r["stream"], r["timestamp"]) for r in rows[:4]] == [
        ("a/cpu", "60"),
        ("a/mem", "60"),
        ("b/mem", "60"),
        ("a/cpu", "120"),
    ]
    assert len(rows) == 3 * 150 + 2
    assert [r["status"] for r in rows[-2:]] == ["dropped"] * 2
    assert {r["stream"] for r in rows if r["status"] == "firing"} == {"a/cpu"}
    fired, _ = [
        json.loads(line) for line in (tmp_path / "a.ndjson").read_text().splitlines()
    ]
    assert fired["labels"]["stream"] == "a/cpu"
    assert fired["annotations"]["observed"].startswith("cpu=40")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            "a",
            "holds no stream a: each metric is a stream of its own, host/metric:"
            " ask for a/cpu, a/mem",
        ),
        ("a/cpus", "the nearest are a/cpu"),
        ("host-9", "it holds a/cpu, a/mem, b/mem"),
    ],
)
def test_an_unknown_stream_is_refused_with_the_nearest_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: str, said: str
) -> None:
    data = history(tmp_path / "h.csv")
    assert (
        main(
            [
                "replay",
                "--bundle",
                "builtin",
                "--data",
                str(data),
                "--scores",
                str(tmp_path / "s.csv"),
                "--explain",
                f"{asked}@600",
            ]
        )
        == 2
    )
    assert said in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists()  # nobody waits for that


def test_replay_takes_the_configured_bundle_or_the_built_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = history(tmp_path / "h.csv")
    scores = tmp_path / "s.csv"
    command = ["replay", "--data", str(data), "--scores", str(scores)]
    monkeypatch.setenv("DETECTOR_MODEL__BUNDLE", str(write_bundle(tmp_path / "b")))
    assert main(command) == 0
    assert scores.read_text().splitlines()[1].startswith("a,60,")
    monkeypatch.setenv("DETECTOR_MODEL__BUNDLE", "")
    assert main(command) == 0
    assert scores.read_text().splitlines()[1].startswith("a/cpu,60,")
    monkeypatch.delenv("DETECTOR_MODEL__BUNDLE")
    assert main(command) == 0
    assert scores.read_text().splitlines()[1].startswith("a/cpu,60,")


# -- records ---------------------------------------------------------------------------


class House:
    """The daemon's decoder and pipeline without a daemon."""

    def __init__(self, path: Path) -> None:
        self.bundle = load_bundle(path)
        self.metrics = Metrics()
        self.recorder = PipelineRecorder()
        self.pipeline = build_pipeline(
            self.bundle,
            OnnxEngine(self.bundle),
            AlertTuning(),
            observer=self.recorder,
            metrics=self.metrics,
        )
        self.pipeline.assign(P, Restored((), (), 0))
        self.decoder = metric_decoder(FORMATS["json"])

    def feed(self, *records: Mapping[str, object], first: int = 0) -> None:
        """Offsets are counted from ``first``."""
        values = [json.dumps(record).encode() for record in records]
        raw = raw_batch(values, b"host", first, P)
        self.pipeline.process([self.decoder.decode(raw)])

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def names(self) -> set[str]:
        return {name for name in self.pipeline.table.names if name}

    def last(self, stream: str) -> float:
        return float(self.pipeline.table.times[self.pipeline.table.names.index(stream)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_each_metric_bundle(tmp_path / "bundle")


def test_records_and_points_are_counted_apart(path: Path) -> None:
    house = House(path)
    house.feed(
        {"timestamp": 60, "cpu": 1, "mem": 2},
        {"timestamp": 120, "cpu": 1, "zone": "x"},
        {"timestamp": 180},
    )
    assert house.value("detector_records_total") == 3
    assert house.value("detector_scored_total") == 3
    assert house.value("detector_unknown_fields_total") == 1
    assert house.value("detector_rejected_total", reason="no_features") == 1
    assert house.names() == {"host/cpu", "host/mem"}


def test_a_late_point_of_one_metric_is_rejected_alone(
    path: Path,
) -> None:
    house = House(path)
    house.feed(
        {"timestamp": 60, "cpu": 1, "mem": 2},
        {"timestamp": 120, "cpu": 1},
        {"timestamp": 120, "cpu": 1, "mem": 2},
        {"timestamp": 60, "mem": 2},
    )
    assert [(r.offset, r.reason, r.stream) for r in house.recorder.rejects] == [
        (2, RejectReason.DUPLICATE, "host/cpu"),
        (3, RejectReason.LATE, "host/mem"),
    ]
    assert house.value("detector_scored_total") == 4
    assert house.last("host/mem") == 120


def test_a_restart_skips_what_each_metric_has_read(path: Path) -> None:
    before = House(path)
    store = MemoryStore()
    records = [
        {"timestamp": 60.0 * (t + 1), "cpu": t % 3, **({"mem": t % 2} if t % 2 else {})}
        for t in range(20)
    ]
    before.feed(*records[:10])
    capture = before.pipeline.pages.capture(P)
    assert capture is not None
    make_durable(store, capture)
    before.feed(*records[10:], first=10)
    after = House(path)
    after.pipeline.assign(
        P,
        restore(
            after.bundle.digest, *load_last(store, P), after.bundle.manifest.state_size
        ),
    )
    after.feed(*records[5:], first=5)  # the committed offset was older than the pages
    assert after.value("detector_skipped_total") == 8
    for stream in ("host/cpu", "host/mem"):
        ours, theirs = (
            h.pipeline.table.states[h.pipeline.table.names.index(stream)]
            for h in (before, after)
        )
        assert np.array_equal(ours, theirs)
    assert not after.recorder.rejects


def test_an_alert_names_its_metric(path: Path) -> None:
    house = House(path)
    house.feed(
        *(
            {
                "timestamp": 60.0 * (t + 1),
                "cpu": 0,
                "disk/sda": 40 if 20 <= t < 25 else 0,
            }
            for t in range(150)
        )
    )
    fired, resolved = house.recorder.alerts
    assert {fired.stream, resolved.stream} == {"host/disk%2Fsda"}
    assert [d.name for d in fired.deviations] == ["disk/sda"]
    assert (fired.firing, resolved.firing) == (True, False)


def test_a_bundle_for_each_metric_has_one_feature(
    tmp_path: Path,
) -> None:
    path = write_bundle(tmp_path / "b")
    manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
    (path / MANIFEST).write_bytes(
        msgspec.json.encode(msgspec.structs.replace(manifest, each_metric=True))
    )
    with pytest.raises(BundleError, match="each metric a stream"):
        load_bundle(path)
