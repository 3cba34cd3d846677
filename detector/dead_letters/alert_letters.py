"""Sends dead-lettered alerts again, each once, to the receivers that refused them.

Theory of operation. The letters of a file are sent in their order, one post each, under
the Idempotency-Key of the first attempt. Each is noted in the ledger beside the file
after its receiver has it. A kill between the two sends one twice, under one key.

An alert that fires must not reach a receiver that will never hear of its end. So the
beginning of an incident is sent if its end is among the letters too, or if it is still
open. Otherwise its end was delivered, and it is left out.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from detector.dead_letters.letter import NotALetter
from detector.dead_letters.sources import DONE, LEDGER_NAME, json_lines
from detector.errors import ConfigError, Permanent, Transient
from detector.events import Alert
from detector.notify.payload import AlertBody, idempotency_key

KIND: Final = "notification"
SUMMARY: Final = "summary"
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Alert)

_Incident = tuple[str, str, float]  # receiver, stream, beginning


@dataclass(frozen=True, slots=True)
class AlertLetter:
    """An alert that a receiver refused."""

    receiver: str
    alert: Alert

    @property
    def name(self) -> str:
        """The same for each letter about it, and for no other."""
        partition = self.alert.partition
        return f"{self.receiver}/{partition}/{idempotency_key(self.alert)}"

    @property
    def incident(self) -> _Incident:
        return self.receiver, self.alert.stream, self.alert.starts_at


def to_line(letter: AlertLetter, cause: str, body: AlertBody) -> dict[str, Any]:
    """For JSON. A person reads the body; the whole alert is in base64."""
    whole = base64.b64encode(_encoder.encode(letter.alert)).decode()
    return {
        "kind": KIND,
        "reason": cause,
        "receiver": letter.receiver,
        "alert": body,
        "whole": whole,
    }


def summary_line(receiver: str, cause: str, body: AlertBody) -> dict[str, Any]:
    """For JSON, of a backlog's summary. A person reads it; it is not sent again.

    It tells of what is over, and each incident that is open has a notification too.
    """
    return {
        "kind": SUMMARY,
        "reason": cause,
        "receiver": receiver,
        "alert": body,
    }


def from_line(line: Mapping[str, Any]) -> AlertLetter:
    """Raises NotALetter if it is about a record, or of a version that kept less."""
    if line.get("kind") != KIND:
        raise NotALetter("it is about a record")
    try:
        alert = _decoder.decode(base64.b64decode(line["whole"], validate=True))
        return AlertLetter(str(line["receiver"]), alert)
    except (KeyError, TypeError, binascii.Error, msgspec.MsgspecError) as error:
        raise NotALetter(f"a field is missing or wrong ({error})") from error


class Ledger(Protocol):
    """Remembers which letters were sent."""

    def done(self) -> Collection[str]:
        """Names of all letters that were sent."""
        ...

    def note(self, letter: AlertLetter) -> None:
        """Its receiver has it."""
        ...


class AlertFile:
    """Letters in a file, with the ledger beside it. Implements Ledger."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError if there is no such file."""
        self.name = str(path)
        rotated = path.with_suffix(".1.ndjson")
        self._files = [each for each in (rotated, path) if each.exists()]
        self._ledger = path.with_name(LEDGER_NAME)
        self.unreadable = 0
        self.summaries = 0
        if not self._files:
            raise ConfigError(f"{path} does not exist: name the file of dead letters")

    def letters(self) -> Iterator[AlertLetter]:
        """In order; summaries, and those of a version that kept less, are counted."""
        for line in (line for file in self._files for line in json_lines(file)):
            self.summaries += line.get("kind") == SUMMARY
            if line.get("kind") != KIND:
                continue
            try:
                yield from_line(line)
            except NotALetter:
                self.unreadable += 1

    def done(self) -> set[str]:
        if not self._ledger.exists():
            return set()
        lines = json_lines(self._ledger)
        noted = [line for line in lines if line.get("state") == DONE]
        return {name for line in noted for name in line.get("names", ())}

    def note(self, letter: AlertLetter) -> None:
        line = json.dumps({"state": DONE, "names": [letter.name], "ends": {}})
        try:
            with self._ledger.open("a") as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(
                f"{self._ledger} can't be written ({error.strerror}): it notes what was"
                " sent, so make its directory writable"
            ) from None


@dataclass(slots=True)
class Resent:
    """What became of the letters that were read.

    Attributes:
        read: letters, repeated ones included.
        sent: by receiver.
        before: sent by an earlier run.
        over: begin an incident that is over, as far as is known.
        failed: by the cause.
        waiting: not tried, because their receiver is down, by receiver.
    """

    read: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    before: int = 0
    over: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)


def resend(
    letters: Iterable[AlertLetter],
    ledger: Ledger,
    is_open: Callable[[Alert], bool],
    deliver: Callable[[AlertLetter], None] | None,
) -> Resent:
    """Send letters in their order.

    Args:
        is_open: whether an incident is known to be open.
        deliver: sends one; raises Transient or Permanent. None for a dry run.
    """
    result = Resent()
    done = set(ledger.done())
    every = list(letters)
    result.read = len(every)
    ends = _ends(every)
    for letter in every:
        if letter.name in done:
            result.before += 1
        elif not _is_safe(letter, ends, done, is_open):
            result.over += 1
        elif letter.receiver in result.waiting:
            result.waiting[letter.receiver] += 1
        elif deliver is None or _delivered(letter, deliver, result):
            result.sent[letter.receiver] += 1
            done.add(letter.name)
            if deliver is not None:
                ledger.note(letter)
    return result


def _ends(letters: Sequence[AlertLetter]) -> dict[_Incident, str]:
    """The name of the letter that ends each incident."""
    return {each.incident: each.name for each in letters if not each.alert.firing}


def _is_safe(
    letter: AlertLetter,
    ends: Mapping[_Incident, str],
    done: Collection[str],
    is_open: Callable[[Alert], bool],
) -> bool:
    """Whether its receiver hears, or heard, of the incident's end if it has one."""
    if not letter.alert.firing:
        return True
    end = ends.get(letter.incident)
    return is_open(letter.alert) if end is None else end not in done


def _delivered(
    letter: AlertLetter, deliver: Callable[[AlertLetter], None], result: Resent
) -> bool:
    try:
        deliver(letter)
    except Transient:
        result.waiting[letter.receiver] += 1
        return False
    except Permanent as error:
        result.failed[str(error)] += 1
        return False
    return True
