"""What the README, the docs and the deployment examples say exists, with the defaults
that they state.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from prometheus_client import generate_latest

from deploy import reference
from detector.cli.main import streamwarden
from detector.events import FeatureDeviation
from detector.metrics import Metrics
from detector.model.bundle import BUILTIN, load_bundle
from detector.notify.labels import Labelling
from detector.notify.payload import RECEIVER, OutgoingPost, body
from detector.notify.receivers.settings import BY_KIND
from detector.notify.routes import Routing
from detector.settings import load as settings
from tests.unit.detector.notify.alerts import fired
from training.cli import compare as compare_on_data

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = [*sorted((ROOT / "deploy").glob("*.*aml")), ROOT / "Dockerfile"]
SETTING = re.compile(r"DETECTOR_[A-Z]+__[A-Z_]+[A-Z]")
METRIC = re.compile(r"\b(detector_[a-z_]+)(?:\{([a-z_,]+)[=}])?")
README_LINES = 150


def effective(
    monkeypatch: pytest.MonkeyPatch, path: Path | None = None
) -> dict[str, str]:
    for name in [n for n in os.environ if n.startswith(settings.PREFIX)]:
        monkeypatch.delenv(name)
    return dict(settings.names_and_values(settings.load(path)))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*PAGES, *EXAMPLES], ids=name_of)
def test_every_named_setting_exists(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {name.removesuffix("_FILE") for name in SETTING.findall(path.read_text())}
    assert named <= effective(monkeypatch).keys()


@pytest.mark.parametrize("path", [*PAGES, *EXAMPLES], ids=name_of)
def test_every_named_metric_exists_with_its_labels(path: Path) -> None:
    shown = generate_latest(Metrics(["hook"]).registry).decode()
    for name, labels in METRIC.findall(path.read_text()):
        samples = [
            s for s in shown.splitlines() if re.match(rf"{name}(_count)?[{{ ]", s)
        ]
        assert samples, f"there is no metric {name}"
        for label in filter(None, labels.split(",")):
            assert f'{label}="' in samples[0], f"{name} has no label {label}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_link_and_named_test_exists(path: Path) -> None:
    text = path.read_text()
    links = [k for k in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in k]
    assert not [link for link in links if not (path.parent / link).exists()]
    tests = re.findall(r"`(tests/[\w/.]+)`", text)
    assert not [name for name in tests if not (ROOT / name).exists()]


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_named_make_target_exists(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`", path.read_text())) <= targets


def commands_in(path: Path) -> list[list[str]]:
    """The arguments of each ``streamwarden`` command that a page shows."""
    text = path.read_text().replace("\\\n", " ")
    shown = re.findall(rf"(?<![\w-])streamwarden ((?:{NAMES})\b[^`#\n]*)", text)
    return [shlex.split(arguments) for arguments in shown]


NAMES = "|".join(streamwarden.list_commands(click.Context(streamwarden)))


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_shown_command_parses(path: Path) -> None:
    if path.parent.name == "reference":
        return
    root = click.Context(streamwarden)
    for name, *arguments in commands_in(path):
        command = streamwarden.get_command(root, name)
        if name == "compare" and arguments and not arguments[0].startswith("-"):
            command = compare_on_data  # as the command itself decides
        assert command is not None
        context = click.Context(command, parent=root)
        command.make_parser(context).parse_args(arguments)


def test_the_pages_show_every_command() -> None:
    shown = {name for path in PAGES for name, *_ in commands_in(path)}
    assert shown >= set(NAMES.split("|"))


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) < README_LINES


def test_the_readme_states_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    held = effective(monkeypatch)
    rows = re.findall(
        r"^\| `(DETECTOR_\w+)` \| .*? \|(.*?)\|$", README.read_text(), re.MULTILINE
    )
    stated = {name: value.strip().strip("`") for name, value in rows}
    assert len(stated) >= 8
    for name, value in stated.items():
        number = re.fullmatch(r"[\d.]+", value)
        shown = f"{float(held[name]):g}" if number else held[name]
        assert shown == value, f"{name} is {held[name]}, the README says {value}"


def test_the_example_of_settings_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    example = effective(monkeypatch, ROOT / "deploy/streamwarden.toml")
    assert example["DETECTOR_LOG__FORMAT"] == "json"


def test_the_example_of_a_post_has_the_shape_of_a_post() -> None:
    text = (ROOT / "docs/alerts.md").read_text()
    blocks = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    example = json.loads(next(block for block in blocks if "groupKey" in block))
    deviations = (FeatureDeviation("cpu", "", 0.9, 0.3, 1.0),)
    at = 1767846300.0
    alert = replace(
        fired("host-050", starts=at),
        at=at + 60,
        score=7.59415,
        threshold=7.51821,
        deviations=deviations,
    )
    (target,) = Routing([RECEIVER]).targets(alert)
    group = target.group
    post = OutgoingPost(target.receiver, group.key, dict(group.labels), (alert,), "")
    made = body(post, Labelling())
    (entry,) = example["alerts"]
    assert example.keys() == set(made.__struct_fields__)
    assert entry.keys() == set(made.alerts[0].__struct_fields__)
    assert entry["annotations"].keys() == made.alerts[0].annotations.keys()
    for field in ("receiver", "status", "version", "groupKey", "groupLabels"):
        assert example[field] == getattr(made, field)
    for field in ("labels", "startsAt", "endsAt", "fingerprint"):
        assert entry[field] == getattr(made.alerts[0], field)


def tomls_of(page: str) -> list[str]:
    return re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def test_the_example_of_zones_decides_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (text,) = tomls_of("docs/score.md")
    (tmp_path / "example.toml").write_text(text)
    effective(monkeypatch)
    model = settings.load(tmp_path / "example.toml").model
    zones = model.zones(load_bundle(BUILTIN))
    noon = np.array([1_767_268_800.0])  # 2026-01-01T12:00:00Z
    hours_ahead = []
    for name in ("db-1/cpu", "us-1/cpu", "blr-1/cpu"):
        local = zones.local_times(noon, zones.zone_of(name))
        hours_ahead.append(float(local[0] - noon[0]) / 3600)
    assert hours_ahead == [1, -5, 5.5]


def test_the_examples_of_receivers_and_routes_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ""
    for number, text in enumerate(tomls_of("docs/alerts.md")):
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        found += effective(monkeypatch, file)["DETECTOR_ALERTING__RECEIVERS"]
    assert "name: pager" in found
    assert "kind: alertmanager" in found


def test_every_kind_of_receiver_is_described() -> None:
    text = (ROOT / "docs/alerts.md").read_text()
    assert {kind for kind in BY_KIND if f"| `{kind}` |" in text} == BY_KIND.keys()


def test_the_reference_is_what_the_code_says() -> None:
    """Run ``make docs`` if this fails."""
    assert reference.main(["--check"]) == 0


def test_every_setting_metric_reason_and_annotation_is_described() -> None:
    for name, page in reference.pages().items():
        rows = [row for row in page.splitlines() if row.startswith("| ")]
        silent = [row for row in rows if not row.split(" | ")[1].strip(" |")]
        assert not silent, f"{name} says nothing of {silent}"
