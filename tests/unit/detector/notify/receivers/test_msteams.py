"""The msteams kind: one adaptive card for each post, within Teams' limits."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer

from detector.notify.labels import Labelling
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.msteams import Teams, TeamsSettings
from tests.fakes import FakeClock
from tests.unit.detector.notify.receivers import services
from tests.unit.detector.notify.receivers.posts import (
    ENDED,
    FIRED,
    HOSTILE,
    post,
    storm,
)


@pytest.fixture
def teams(httpserver: HTTPServer) -> services.Teams:
    return services.Teams(httpserver)


def receiver(teams: services.Teams) -> Teams:
    settings = TeamsSettings(name="room", url=SecretStr(teams.url))
    return settings.receiver(ReceiverContext(Labelling(), "http://us", FakeClock()))


def test_a_card_says_what_happened_and_links_to_the_page(
    teams: services.Teams,
) -> None:
    receiver(teams).deliver(post(FIRED))
    (card,) = teams.cards
    assert card["body"][0]["text"] == (
        "WARNING: web-1: requests per second dropped to 0, expected about 120"
    )
    assert card["actions"][0]["url"] == "http://us"
    facts = {fact["title"]: fact["value"] for fact in card["body"][-1]["facts"]}
    assert facts["host"] == "web-1"


def test_the_end_has_another_colour(teams: services.Teams) -> None:
    at = receiver(teams)
    at.deliver(post(FIRED))
    at.deliver(post(ENDED))
    colours = [card["body"][0]["color"] for card in teams.cards]
    assert colours == ["warning", "good"]


def test_a_storm_and_hostile_names_fit_into_a_message(teams: services.Teams) -> None:
    at = receiver(teams)
    at.deliver(storm(500))
    at.deliver(post(HOSTILE))
    assert "and 490 more" in json.dumps(teams.cards[0])
    assert "[a](http" not in teams.cards[1]["body"][0]["text"]


def test_labels_are_text_and_letters_of_any_size_fit(teams: services.Teams) -> None:
    tags = {"a": "[log in](http://e)", **{f"t{i}": "\u6f22" * 512 for i in range(8)}}
    alerts = [
        replace(FIRED, stream="\u6f22" * 1000 + str(i), tags=tags) for i in range(20)
    ]
    at = receiver(teams)
    at.deliver(post(*alerts))
    at.deliver(post(replace(FIRED, tags=tags)))
    facts = [fact["value"] for fact in teams.cards[1]["body"][-1]["facts"]]
    assert "\\[log in\\](http://e)" in facts
