"""What a rule that caps the severity leaves of an incident."""

from __future__ import annotations

import pytest

from detector.alerting.rules import NO_RULES, Rule, Rules
from detector.events import Reason, Severity
from detector.model.bundle import Bundle
from tests.unit.detector.pipeline.stage import Stage

CAPPED = Rules((Rule("capped", most_severe=Severity.WARNING),))
QUIET = [0.0] * 8
# the mean over two features of |x - running mean|: small, and falling
SMALL = [16.0] * 10
OUTAGE = [180.0] * 6


@pytest.mark.parametrize(
    ("rules", "severity"),
    [(NO_RULES, Severity.CRITICAL), (CAPPED, Severity.WARNING)],
    ids=["without a cap", "capped"],
)
def test_an_open_incident_hides_no_outage_whatever_caps_it(
    bundle: Bundle, rules: Rules, severity: Severity
) -> None:
    stage = Stage(bundle, rules=rules)
    stage.feed([*QUIET, *SMALL, *OUTAGE])
    told = [(alert.reason, alert.severity) for alert in stage.recorder.alerts]
    assert told == [(Reason.FIRED, severity), (Reason.RETURNED, severity)]
    assert [alert.repeats for alert in stage.recorder.alerts] == [1, 2]
