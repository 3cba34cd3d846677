"""``notify --test``: a marked sample goes where alerts would, and its faults show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from detector.cli.main import streamwarden
from detector.errors import ConfigError
from tests.unit.detector.settings.files import written


def config(tmp_path: Path, server: HTTPServer) -> str:
    text = f"""
[alerting]
labels = {{site = "north"}}

[[alerting.receivers]]
name = "hook"
url = "{server.url_for("/hook/s3cret")}"

[[alerting.receivers]]
name = "other"
url = "{server.url_for("/other")}"
"""
    return str(written(tmp_path, text))


def run(*arguments: str) -> int:
    return int(streamwarden.main(["notify", *arguments], standalone_mode=False))


def test_the_sample_is_marked_and_it_ends(
    tmp_path: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    httpserver.expect_request("/hook/s3cret").respond_with_data()
    assert run("--test", "hook", "--config", config(tmp_path, httpserver)) == 0
    assert "hook: the sample is delivered" in capsys.readouterr().out
    posts = [json.loads(request.data) for request, _ in httpserver.log]
    assert [post["status"] for post in posts] == ["firing", "resolved"]
    for post in posts:
        (alert,) = post["alerts"]
        labels = alert["labels"]
        assert labels["stream"].startswith("streamwarden-test/")
        assert (labels["sample"], labels["site"]) == ("true", "north")


def test_a_fault_is_said_without_a_secret_and_the_others_are_tried(
    tmp_path: Path, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    httpserver.expect_request("/hook/s3cret").respond_with_data(status=404)
    httpserver.expect_request("/other").respond_with_data()
    assert run("--test", "all", "--config", config(tmp_path, httpserver)) == 2
    said = capsys.readouterr()
    assert "hook: NOT sent: localhost:" in said.err
    assert "404" in said.err
    assert "s3cret" not in said.err
    assert "other: the sample is delivered" in said.out


def test_a_name_that_no_receiver_has_is_told_with_those_that_are(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    with pytest.raises(ConfigError, match="there are: hook, other"):
        run("--test", "chat", "--config", config(tmp_path, httpserver))
