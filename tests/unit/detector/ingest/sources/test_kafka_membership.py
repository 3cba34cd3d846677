"""A place remembers its member, for itself alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from detector.ingest.sources.kafka_membership import Membership


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Membership]:
    membership = Membership(tmp_path, "group")
    yield membership
    membership.close()


def test_a_member_that_did_not_leave_is_known_to_the_next_process(
    kept: Membership, tmp_path: Path
) -> None:
    assert kept.left_behind() == ""
    kept.remember("member-1")
    kept.remember("member-2")
    kept.close()
    following = Membership(tmp_path, "group")
    assert following.left_behind() == "member-2"
    following.forget()
    assert following.left_behind() == ""
    following.close()


def test_a_member_of_another_group_is_none_of_ours(
    kept: Membership, tmp_path: Path
) -> None:
    kept.remember("member-1")
    kept.close()
    other = Membership(tmp_path, "another group")
    assert other.left_behind() == ""
    other.close()


def test_a_place_that_another_process_holds_keeps_nothing(
    kept: Membership, tmp_path: Path
) -> None:
    kept.remember("member-1")
    second = Membership(tmp_path, "group")
    second.remember("member-2")
    second.forget()
    assert not second.is_kept
    assert second.left_behind() == ""
    assert kept.left_behind() == "member-1"


@pytest.mark.parametrize("content", [b"", b"{", b'{"group": 1}', b"\xff"])
def test_a_damaged_file_is_no_member(
    kept: Membership, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "member.json").write_bytes(content)
    assert kept.left_behind() == ""


def test_a_place_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    membership = Membership(tmp_path / "file" / "state", "group")
    membership.remember("member-1")
    assert not membership.is_kept
    assert membership.left_behind() == ""
