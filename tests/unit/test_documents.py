"""What the README and the deployment examples say exists, and with the defaults that
they state.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import generate_latest

from detector.cli import main as cli
from detector.errors import RejectReason
from detector.events import Alert, FeatureDeviation, Partition, Reason, Severity
from detector.metrics import Metrics
from detector.model.bundle import BUILTIN, load_bundle
from detector.notify.payload import RECEIVER, OutgoingPost, body
from detector.notify.routes import Routing
from detector.settings import load as config
from training import cli as training_cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLES = [
    ROOT / "README.md",
    *sorted((ROOT / "deploy").glob("*.*aml")),
    ROOT / "Dockerfile",
]
SECRETS_AS_FILES = {"DETECTOR_ALERTING__WEBHOOK_SECRET_FILE"}


def effective(
    monkeypatch: pytest.MonkeyPatch, path: Path | None = None
) -> dict[str, str]:
    for name in [n for n in os.environ if n.startswith(config.PREFIX)]:
        monkeypatch.delenv(name)
    return dict(config.names_and_values(config.load(path)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_every_setting_that_is_named_exists(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = set(re.findall(r"DETECTOR_[A-Z]+__[A-Z_]+[A-Z]", path.read_text()))
    assert named <= effective(monkeypatch).keys() | SECRETS_AS_FILES


def test_the_readme_states_the_defaults_that_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = effective(monkeypatch)
    rows = re.findall(
        r"^\| `(DETECTOR_\w+)`(.*?) \| .*? \|(.*?)\|$", README, re.MULTILINE
    )
    assert len(rows) > 10
    for name, more, stated in rows:
        if "…" in more:
            continue  # several settings in one row
        held = settings[name]
        said = stated.strip().strip("`")
        same = (
            float(held) == float(said)
            if re.fullmatch(r"[\d.]+", said)
            else held == said
        )
        assert same, f"{name} is {held}, the README says {said}"


def test_the_example_of_settings_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        effective(monkeypatch, ROOT / "deploy/streamwarden.toml")[
            "DETECTOR_LOG__FORMAT"
        ]
        == "json"
    )


@pytest.mark.parametrize(
    "path",
    [ROOT / "README.md", ROOT / "deploy/prometheus-rules.yaml"],
    ids=lambda p: p.name,
)
def test_every_metric_that_is_named_exists_with_its_labels(path: Path) -> None:
    shown = generate_latest(Metrics(["hook"]).registry).decode()
    for name, labels in re.findall(
        r"\b(detector_[a-z_]+)(?:\{([a-z_,]+)[=}])?", path.read_text()
    ):
        samples = [
            line for line in shown.splitlines() if re.match(rf"{name}[{{ ]", line)
        ]
        assert samples, f"{name} is no metric"
        assert all(
            f'{label}="' in samples[0] for label in labels.split(",") if label
        ), f"{name} has no label {labels}"


def test_the_readme_lists_every_reason_to_reject_a_record() -> None:
    listed = README.split("Reasons: ")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == {
        reason.value for reason in RejectReason
    }


def test_the_readme_shows_the_payload_in_the_shape_it_has() -> None:
    example = json.loads(
        next(
            b
            for b in re.findall(r"```json\n(.*?)```", README, re.DOTALL)
            if "groupKey" in b
        )
    )
    deviations = (FeatureDeviation("cpu", "", 0.9, 0.3, 1.0),)
    at = 1767846300.0
    alert = Alert(
        Partition("t", 0),
        "host-050",
        Severity.WARNING,
        Reason.FIRED,
        at,
        None,
        at + 60,
        7.59415,
        7.51821,
        deviations,
    )
    (target,) = Routing([RECEIVER]).targets(alert)
    made = body(
        OutgoingPost(
            target.receiver, target.group.key, dict(target.group.labels), (alert,), ""
        ),
        "",
    )
    assert example.keys() == set(made.__struct_fields__)
    assert example["alerts"][0].keys() == set(made.alerts[0].__struct_fields__)
    assert (
        example["alerts"][0]["annotations"].keys() == made.alerts[0].annotations.keys()
    )
    for field in (
        "receiver",
        "status",
        "version",
        "groupKey",
        "groupLabels",
        "commonLabels",
    ):
        assert example[field] == getattr(made, field)
    for field in ("labels", "startsAt", "endsAt", "fingerprint"):
        assert example["alerts"][0][field] == getattr(made.alerts[0], field)


def test_every_target_and_file_that_the_readme_names_exists() -> None:
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    assert set(re.findall(r"`make ([a-z]+)`", README)) <= targets
    assert not [
        link
        for link in re.findall(r"\]\(([^)#]+)\)", README)
        if "://" not in link and not (ROOT / link).exists()
    ]


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name
)
def test_every_test_link_metric_and_setting_that_a_page_names_exists(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page.read_text()
    assert not [
        name
        for name in re.findall(r"`(tests/[\w/.]+)`", text)
        if not (ROOT / name).exists()
    ]
    assert not [
        link
        for link in re.findall(r"\]\(([^)#]+)\)", text)
        if "://" not in link and not (page.parent / link).exists()
    ]
    shown = generate_latest(Metrics().registry).decode()
    assert not [
        name
        for name in re.findall(r"`(detector_[a-z_]+)", text)
        if f"\n{name}" not in shown
    ]
    assert (
        set(re.findall(r"DETECTOR_[A-Z]+__[A-Z_]+[A-Z]", text))
        <= effective(monkeypatch).keys() | SECRETS_AS_FILES
    )


def test_every_command_that_a_page_shows_parses() -> None:
    parsers = {"detector": cli._parser(), "training": training_cli._parser()}
    text = "\n".join(
        page.read_text() for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    )
    shown = re.findall(r"python -m (detector|training) ([^`#\n]+)", text)
    assert {f"{program} {rest.split()[0]}" for program, rest in shown} >= {
        "detector replay",
        "training fit",
        "training evaluate",
        "training compare",
    }
    for program, rest in shown:
        parsers[program].parse_args(shlex.split(rest))
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= {
        flag
        for p in parsers.values()
        for flag in re.findall(r"--[a-z-]+", _all_help(p))
    }


def _all_help(parser: argparse.ArgumentParser) -> str:
    commands = next(
        a for a in parser._actions if isinstance(a, argparse._SubParsersAction)
    )
    return "".join(command.format_help() for command in commands.choices.values())


def test_the_zones_that_the_page_shows_load_and_decide_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(
        r"```toml\n(.*?)```", (ROOT / "docs/detection.md").read_text(), re.DOTALL
    )
    (tmp_path / "example.toml").write_text(example)
    effective(monkeypatch)
    model = config.load(tmp_path / "example.toml").model
    zones = model.zones(load_bundle(BUILTIN))
    noon = np.array([1_767_268_800.0])  # 2026-01-01T12:00:00Z
    ahead = [
        float(zones.local_times(noon, zones.zone_of(name))[0] - noon[0]) / 3600
        for name in ("db-1/cpu", "us-1/cpu", "blr-1/cpu")
    ]
    assert ahead == [1, -5, 5.5]


def test_the_receivers_and_routes_that_the_page_shows_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(
        r"```toml\n(.*?)```", (ROOT / "docs/alerting.md").read_text(), re.DOTALL
    )
    (tmp_path / "example.toml").write_text(example)
    assert (
        "pager"
        in effective(monkeypatch, tmp_path / "example.toml")[
            "DETECTOR_ALERTING__RECEIVERS"
        ]
    )
