"""The pagerduty kind: one alert for each incident, which its end resolves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr, ValidationError
from pytest_httpserver import HTTPServer
from werkzeug import Response

from detector.errors import Refused, Transient
from detector.notify.labels import Labelling
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.pagerduty import PagerDuty, PagerDutySettings
from tests.fakes import FakeClock
from tests.unit.detector.notify.receivers import services
from tests.unit.detector.notify.receivers.posts import (
    ENDED,
    FIRED,
    HOSTILE,
    WORSE,
    backlog,
    post,
    storm,
)
from tests.unit.detector.notify.receivers.services import ROUTING_KEY


@pytest.fixture
def pagerduty(httpserver: HTTPServer) -> services.PagerDuty:
    return services.PagerDuty(httpserver)


def receiver(pagerduty: services.PagerDuty, key: str = ROUTING_KEY) -> PagerDuty:
    settings = PagerDutySettings(
        name="pager", routing_key=SecretStr(key), url=pagerduty.url
    )
    context = ReceiverContext(Labelling(), "http://us", FakeClock())
    return settings.receiver(context)


def test_an_incident_is_one_alert_from_its_beginning_to_its_end(
    pagerduty: services.PagerDuty,
) -> None:
    at = receiver(pagerduty)
    at.deliver(post(FIRED))
    ((state, payload),) = pagerduty.alerts.values()
    assert (state, payload["severity"], payload["source"]) == (
        "triggered",
        "warning",
        "web-1",
    )
    assert payload["summary"] == (
        "web-1: requests per second dropped to 0, expected about 120"
    )
    at.deliver(post(WORSE))
    ((state, payload),) = pagerduty.alerts.values()
    assert (state, payload["severity"]) == ("triggered", "critical")
    at.deliver(post(ENDED))
    ((state, _),) = pagerduty.alerts.values()
    assert state == "resolved"


def test_an_incident_that_begins_later_is_another_alert(
    pagerduty: services.PagerDuty,
) -> None:
    at = receiver(pagerduty)
    at.deliver(post(FIRED))
    at.deliver(post(replace(FIRED, starts_at=FIRED.starts_at + 3600)))
    assert len(pagerduty.alerts) == 2


def test_a_post_that_fails_half_way_is_sent_again_without_harm(
    pagerduty: services.PagerDuty,
) -> None:
    at = receiver(pagerduty)
    others = storm(3)
    pagerduty.fail_next = [Response(status=202), Response(status=500)]
    with pytest.raises(Transient):
        at.deliver(others)
    at.deliver(others)
    assert len(pagerduty.alerts) == 3


def test_a_wrong_key_is_a_refusal_that_does_not_show_it(
    pagerduty: services.PagerDuty,
) -> None:
    wrong = "f" * 32
    with pytest.raises(Refused) as fault:
        receiver(pagerduty, wrong).deliver(post(FIRED))
    assert "400" in str(fault.value)
    assert wrong not in str(fault.value)


def test_names_of_any_length_are_within_its_limits(
    pagerduty: services.PagerDuty,
) -> None:
    receiver(pagerduty).deliver(post(HOSTILE))
    assert len(pagerduty.alerts) == 1


def test_a_key_of_another_length_is_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="it has 5 characters; a routing key has"):
        PagerDutySettings(name="pager", routing_key=SecretStr("short"))


def test_the_summary_of_a_backlog_stays_open_for_nobody(
    pagerduty: services.PagerDuty,
) -> None:
    receiver(pagerduty).deliver(backlog())
    ((state, _),) = pagerduty.alerts.values()
    assert state == "resolved"
