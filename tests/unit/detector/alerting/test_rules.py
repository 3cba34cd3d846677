"""Rules: which holds for a metric, and which values they let begin an incident."""

from __future__ import annotations

import re

import pytest

from detector.alerting.rules import Direction, Rule, Rules


@pytest.mark.parametrize(
    ("rule", "refused", "let_through"),
    [
        (Rule("r", direction=Direction.UP), (1.0, 5.0), (5.0, 1.0)),
        (Rule("r", direction=Direction.DOWN), (5.0, 1.0), (1.0, 5.0)),
        (Rule("r", least_absolute=2.0), (6.9, 5.0), (7.0, 5.0)),
        (Rule("r", least_relative=0.05), (100.0, 104.0), (100.0, 106.0)),
        (Rule("r", least_relative=0.05), (-100.0, -104.0), (-100.0, -106.0)),
        (Rule("r", plausible=(0.0, 80.0)), (80.0, 20.0), (80.1, 20.0)),
        (Rule("r", plausible=(0.0, 80.0)), (0.0, 20.0), (-0.1, 20.0)),
    ],
)
def test_a_rule_refuses_what_it_names_and_nothing_else(
    rule: Rule, refused: tuple[float, float], let_through: tuple[float, float]
) -> None:
    assert rule.refuses(*refused, is_still=False)
    assert not rule.refuses(*let_through, is_still=False)


def test_a_metric_that_stands_still_is_judged_by_its_value_alone() -> None:
    for rule in (Rule("r", direction=Direction.UP), Rule("r", least_relative=0.5)):
        assert not rule.refuses(4.9, 5.0, is_still=True)
    assert Rule("r", plausible=(0.0, 5.0)).refuses(4.9, 5.0, is_still=True)
    assert Rule("r", is_muted=True).refuses(4.9, 5.0, is_still=True)


def test_the_first_rule_that_matches_holds() -> None:
    rules = Rules(
        (
            Rule(
                "disks", metric=re.compile("disk.*"), labels={"host": re.compile("a")}
            ),
            Rule("web", stream=re.compile("web-.*")),
            Rule("rest"),
        )
    )

    def name(stream: str, metric: str, **labels: str) -> str:
        rule = rules.of(stream, metric, labels)
        assert rule is not None
        return rule.name

    assert name("web-1", "disk_used", host="a") == "disks"
    assert name("web-1", "disk_used", host="ab") == "web"
    assert name("web-1", "disk_used") == "web"
    assert name("db-web-1", "my_disk", host="a") == "rest"


def test_without_rules_none_holds() -> None:
    assert Rules().of("web-1", "cpu", {}) is None
    assert not Rules()
