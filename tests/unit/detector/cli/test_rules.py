"""Rules by replay: the same data without and with each kind of rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detector.cli.main import main
from tests.fakes import write_bundle

START = 1_767_225_600


class Place:
    """Two hosts with two metrics; cpu of web-1 rises, mem of db-1 falls below zero."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = str(write_bundle(folder / "bundle"))
        self.data = folder / "history.csv"
        rows = ["timestamp,stream,cpu,mem"]
        for t in range(100):
            at = START + 60 * t
            rows.append(f"{at},web-1,{40 if t >= 95 else 0},0")
            rows.append(f"{at},db-1,0,{-40 if t >= 96 else 0}")
        self.data.write_text("\n".join(rows) + "\n")

    def config(self, *rules: str) -> str:
        file = self.folder / "rules.toml"
        tables = [f"[[alerting.rules]]\n{rule}\n" for rule in rules]
        file.write_text("\n".join(tables))
        return str(file)

    def incidents(self, *rules: str) -> dict[str, str]:
        """The streams that have an incident, and the worst severity of each."""
        alerts = self.folder / "alerts.ndjson"
        options = ["--config", self.config(*rules)] if rules else []
        data = ["--bundle", self.bundle, "--data", str(self.data)]
        assert main(["replay", *data, "--alerts", str(alerts), *options]) == 0
        found: dict[str, str] = {}
        for line in alerts.read_text().splitlines():
            labels = json.loads(line)["labels"]
            if found.get(labels["stream"]) != "critical":
                found[labels["stream"]] = labels["severity"]
        return found

    def effects(self, *rules: str) -> int:
        data = ["--bundle", self.bundle, "--data", str(self.data)]
        return main(["rules", "test", *data, "--config", self.config(*rules)])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_rules_both_hosts_have_an_incident(place: Place) -> None:
    assert place.incidents() == {"web-1": "critical", "db-1": "critical"}


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ('direction = "up"', {"web-1"}),
        ('direction = "down"', {"db-1"}),
        ("least_absolute = 50.0", set()),
        ("least_absolute = 30.0", {"web-1", "db-1"}),
        ("plausible = [0.0, 100.0]", {"db-1"}),
        ('metric = "mem"\nmute = true', {"web-1"}),
        ('stream = "web-.*"\nmute = true', {"db-1"}),
        ('stream = "web"\nmute = true', {"web-1", "db-1"}),
    ],
)
def test_a_rule_keeps_from_beginning_what_it_refuses(
    place: Place, rule: str, left: set[str]
) -> None:
    assert set(place.incidents(f'name = "r"\n{rule}')) == left


def test_a_cap_keeps_an_incident_a_warning(place: Place) -> None:
    rule = 'name = "calm"\nstream = "web-1"\nseverity = "warning"'
    assert place.incidents(rule) == {"web-1": "warning", "db-1": "critical"}


def test_the_first_rule_that_matches_counts(place: Place) -> None:
    exception = 'name = "web"\nstream = "web-1"\nleast_absolute = 1.0'
    everything = 'name = "rest"\nmute = true'
    assert set(place.incidents(exception, everything)) == {"web-1"}


def test_it_says_what_each_rule_would_have_changed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = (
        'name = "only upwards"\nmetric = "mem"\ndirection = "up"',
        'name = "calm"\nstream = "web-1"\nseverity = "warning"',
        'name = "nobody"\nstream = "mail-.*"\nmute = true',
    )
    assert place.effects(*rules) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 incidents without the rules, 1 with them"
    assert lines[1] == "only upwards: holds for 2 metrics; 1 incidents begin no more"
    assert "db-1: mem dropped to -40" in lines[2]
    assert lines[3] == "calm: holds for 1 metric; 1 stay a warning"
    assert "web-1: cpu rose to 40" in lines[4]
    assert lines[5].startswith("nobody: holds for no metric of this data")


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ('name = "r"', "it says nothing of incidents"),
        ('name = "r"\nstream = "("\nmute = true', "is not a regular expression"),
        ('name = "r"\nplausible = [2.0, 1.0]', "the first value is above the second"),
        ('name = "r"\ndirections = "up"', "directions"),
        ('name = "r"\ndirection = "sideways"', "should be 'up', 'down' or 'both'"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_named_with_its_place(
    place: Place, capsys: pytest.CaptureFixture[str], rule: str, fault: str
) -> None:
    assert place.effects(rule) == 2
    said = capsys.readouterr().err
    assert fault in said
    assert "rules" in said


def test_two_rules_of_one_name_are_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = 'name = "r"\nmute = true'
    assert place.effects(rule, rule) == 2
    assert "two rules are called r" in capsys.readouterr().err


def test_without_rules_it_says_where_to_write_them(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--bundle", place.bundle, "--data", str(place.data)]
    assert main(["rules", "test", *data]) == 2
    assert "[[alerting.rules]]" in capsys.readouterr().err
