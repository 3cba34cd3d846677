"""Which member of the group this daemon is, kept so that a restart need not wait.

A killed member stays in its group until its session ends, and nobody reads its
partitions until then. So a daemon writes its member id beside its state before it joins
with it. The next one in the same place has that member removed from the group, as an
administrator would: LeaveGroup names a member since KIP-345. A broker gives the id
before the join since KIP-394, so a kill in the middle of a join is covered.

A lock holds the file for the life of a process. Two daemons that share a directory
never remove each other: the second one keeps no id.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import msgspec
import structlog
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient, MemberToRemove
from kafka.errors import KafkaError, NoError

from detector.kafka.client import connected
from detector.kafka.settings import KafkaSettings

_FILE = "member.json"
_LOCK = "member.lock"
# Milliseconds that the removal may take; after it the session's end does the same.
_TIMEOUT_MS = 3000


class _Member(msgspec.Struct):
    """What the file holds."""

    group: str
    member: str


class Membership:
    """The member id of this place. One instance for each process and directory."""

    def __init__(self, directory: Path, group: str) -> None:
        self._file = directory / _FILE
        self._group = group
        self._log = structlog.get_logger("kafka")
        self._lock = _take_lock(directory)
        self._remembered = ""

    @property
    def is_kept(self) -> bool:
        """Whether this process may write the file."""
        return self._lock is not None

    def left_behind(self) -> str:
        """The member id of a daemon that ended without leaving; "" if there is none."""
        if not self.is_kept:
            return ""
        try:
            found = msgspec.json.decode(self._file.read_bytes(), type=_Member)
        except (OSError, msgspec.MsgspecError):
            return ""
        return found.member if found.group == self._group else ""

    def remember(self, member: str) -> None:
        """This process is about to join, or has joined, as ``member``.

        Not synced to the disk: it must outlive this process and not its machine, whose
        restart takes longer than the session.
        """
        if not self.is_kept or not member or member == self._remembered:
            return
        temporary = self._file.with_suffix(".new")
        try:
            temporary.write_bytes(msgspec.json.encode(_Member(self._group, member)))
            temporary.replace(self._file)
        except OSError as error:
            self._log.warning("member_not_kept", cause=str(error))
        self._remembered = member

    def forget(self) -> None:
        """The member has left, or is gone."""
        self._remembered = ""
        if self.is_kept:
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another process have the file."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def watch_member_id(consumer: KafkaConsumer, membership: Membership) -> None:
    """Remember each member id that the group gives, before the client joins with it.

    kafka-python (3.0.12) tells nobody of it: its coordinator sets it in one method.
    """
    coordinator = consumer._coordinator
    reset = coordinator.reset_generation

    def reset_and_remember(*args: str, **kwargs: str) -> None:
        reset(*args, **kwargs)
        membership.remember(coordinator._generation.member_id)

    coordinator.reset_generation = reset_and_remember


def remove_left_behind(settings: KafkaSettings, membership: Membership) -> None:
    """Have the member of a killed daemon removed, if there is one.

    A fault is logged: the group itself drops the member when its session ends.
    """
    member = membership.left_behind()
    if not member:
        return
    log = structlog.get_logger("kafka")
    try:
        with _admin(settings) as admin:
            answers = admin.remove_group_members(
                settings.group_id,
                [
                    MemberToRemove(
                        member_id=member, reason="its daemon was started again"
                    )
                ],
            )
    except KafkaError as error:
        log.warning(
            "left_behind_member_stays",
            member=member,
            cause=f"{type(error).__name__}: {error}",
            note="the group drops it when its session ends",
        )
        return
    membership.forget()
    was_there = NoError in answers.values()
    log.info("left_behind_member_removed", member=member, was_there=was_there)


@contextlib.contextmanager
def _admin(settings: KafkaSettings) -> Iterator[KafkaAdminClient]:
    admin = connected(
        KafkaAdminClient,
        **settings.connection(),
        bootstrap_timeout_ms=_TIMEOUT_MS,
        request_timeout_ms=_TIMEOUT_MS,
    )
    try:
        yield admin
    finally:
        admin.close()


def _take_lock(directory: Path) -> TextIO | None:
    """The lock, or None if another process has it or the directory can't be used."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / _LOCK).open("w")
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    os.set_inheritable(lock.fileno(), False)
    return lock
