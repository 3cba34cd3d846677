"""``compare`` for people: one screen about two bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.cli.compare import lines_of
from detector.cli.main import main
from detector.pipeline.comparison import (
    ComparisonReport,
    RankOfStream,
    SideReport,
    ToldAlone,
)
from detector.web.control import Compared
from detector.web.facts import BundleName

ALONE = ToldAlone("web-1/cpu", 1_700_000_000.0, None, 5.25, 3.0)
FOUND = Compared(
    live=BundleName("old", "1", "a" * 64),
    shadow=BundleName("new", "2", "b" * 64),
    since=1_700_000_000.0,
    budget=1.0,
    report=ComparisonReport(
        streams=100,
        warm=98,
        points=123_456,
        stream_weeks=3.4,
        live=SideReport(12, 4, 1, 3.5, 3.14, [ALONE]),
        shadow=SideReport(9, 1, 0, None, None, []),
        rank_correlation=0.93,
        moved=[RankOfStream("web-2/cpu", 3, 17, 1.5, -0.5)],
    ),
)
SHOWN = """\
in force:  old 1 (aaaaaaaaaaaa)
in shadow: new 2 (bbbbbbbbbbbb), since 2023-11-14T22:13:20
compared:  123,456 points, 3.4 stream-weeks, 98 of 100 streams
           the shadow has not warmed up for the others

                                  in force   in shadow
incidents                               12           9
told by this one alone                   4           1
open now                                 1           0
a stream-week (budget 1)               3.5           –
microseconds a point                  3.14           –

Streams by how far their score got over their threshold: rank correlation 0.93 (1: the\
 same order)
  web-2/cpu: rank 3 in force (+1.50), 17 in shadow (-0.50)

Told in force alone, the newest first:
  2023-11-14T22:13:20 web-1/cpu: score 5.25, threshold 3.00"""


def test_a_person_reads_what_would_have_been_different() -> None:
    shown = "\n".join(lines_of(FOUND))
    assert shown.replace(".000Z", "").replace("20Z", "20") == SHOWN


def test_a_daemon_that_does_not_answer_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["compare", "--url", "http://127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("streamwarden: no daemon answers at http://127.0.0.1:1 (")
    assert said.endswith("start it, or name its address with --url\n")


def test_two_bundles_are_compared_on_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "none.csv"
    assert main(["compare", "builtin", "builtin", "--data", str(data)]) == 2
    assert str(data) in capsys.readouterr().err


def test_a_command_needs_the_daemon_s_token(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["promote"]) == 2
    assert "DETECTOR_WEB__TOKEN is not set" in capsys.readouterr().err
    assert main(["shadow"]) == 2
    assert "name a BUNDLE, or end the shadow" in capsys.readouterr().err
