"""The title of an alert: what a person reads first, and often alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detector.events import Alert, AnomalyKind, FeatureDeviation, Reason
from detector.notify.title import title
from tests.unit.detector.notify.alerts import fired

REQUESTS = FeatureDeviation("requests_per_second", "", 0.0, 122.5, 0.8)
CPU = FeatureDeviation("cpu", "%", 3.0, 41.0, 0.15)


def _alert(stream: str, *deviations: FeatureDeviation) -> Alert:
    return replace(fired(stream), deviations=deviations)


def test_it_names_the_place_the_metric_the_value_and_what_was_expected() -> None:
    words = "web-1: requests per second dropped to 0, expected about 120"
    assert title(_alert("web-1/requests_per_second", REQUESTS)) == words
    rise = replace(REQUESTS, observed=900.0)
    words = "web-1: requests per second rose to 900, expected about 120"
    assert title(_alert("web-1/requests_per_second", rise)) == words


def test_a_stream_of_several_metrics_leads_with_the_first_of_them() -> None:
    first = "web-1: requests per second dropped to 0, expected about 120"
    assert title(_alert("web-1", REQUESTS, CPU)) == first
    as_much = replace(CPU, contribution=0.5)
    assert title(_alert("web-1", REQUESTS, as_much)) == f"{first}; cpu deviates too"


def test_only_the_stream_s_own_metric_is_cut_off_its_name() -> None:
    assert title(_alert("rack/web-1", CPU)).startswith("rack/web-1: cpu dropped")
    assert title(_alert("rack/a%2Fb", replace(CPU, name="a/b"))).startswith("rack: a/b")
    assert title(_alert("/cpu", CPU)).startswith("/cpu: cpu dropped")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            AnomalyKind.FLATLINE,
            "h: cpu has stood still for longer than it used to, at 3 %",
        ),
        (
            AnomalyKind.TREND,
            "h: cpu moves as it did not before: 3 %, expected about 41 %",
        ),
    ],
)
def test_each_kind_of_anomaly_has_its_own_words(kind: AnomalyKind, words: str) -> None:
    assert title(_alert("h/cpu", replace(CPU, kind=kind))) == words


@pytest.mark.parametrize(
    ("reason", "single", "several"),
    [
        (
            Reason.RECOVERED,
            "h: cpu is back after 12 min: close to its own recent past again",
            "h is back after 12 min: close to its own recent past again",
        ),
        (
            Reason.ACCEPTED,
            "h: cpu stays at 3 %: accepted as the new normal after 12 min",
            "h stays as it is: accepted as the new normal after 12 min",
        ),
        (
            Reason.ENDED,
            "h: cpu no longer stands out after 12 min: its score is back to normal",
            "h no longer stands out after 12 min: its score is back to normal",
        ),
        (
            Reason.REPLACED,
            "h: cpu is no longer watched in this form: another bundle took over",
            "h is no longer watched in this form: another bundle took over",
        ),
        (
            Reason.LOST,
            "h: cpu is no longer followed: the store was lost, and with it its past",
            "h is no longer followed: the store was lost, and with it its past",
        ),
        (
            Reason.EXPIRED,
            "h: cpu is no longer reported after 12 min, though it may go on",
            "h is no longer reported after 12 min, though it may go on",
        ),
    ],
)
def test_the_end_says_what_became_of_it(
    reason: Reason, single: str, several: str
) -> None:
    alert = _alert("h/cpu", CPU)
    ended = replace(alert, reason=reason, ends_at=alert.starts_at + 720.0)
    assert title(ended) == single
    assert title(replace(ended, stream="h")) == several


def test_an_alert_without_a_deviation_still_names_its_stream() -> None:
    assert title(_alert("web-1/cpu")) == "web-1/cpu does not behave as it used to"


def test_what_comes_again_and_again_is_counted() -> None:
    again = replace(_alert("h/cpu", CPU), repeats=3, repeats_since=0.0)
    assert title(again).endswith("about 41 %, 3 times since 1970-01-01T00:00:00Z")
