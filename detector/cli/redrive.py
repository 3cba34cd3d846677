"""``redrive``: puts dead letters back where they came from, or sends alerts again."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from pathlib import Path

import click

from detector.cli.command_group import OPERATOR_MUST_ACT
from detector.cli.options import config_option
from detector.cli.resending import resend_alerts
from detector.clock import SystemClock
from detector.compose import make_decoder, open_bundle
from detector.dead_letters.file import FILE_NAME
from detector.dead_letters.letter import Letter
from detector.dead_letters.put_back import sender
from detector.dead_letters.redrive import MOST_REDRIVES, Outcome, Selection
from detector.dead_letters.redrive import redrive as put_back_all
from detector.dead_letters.sources import FileLetters, LetterSource, TopicLetters
from detector.errors import ConfigError, RejectReason
from detector.events import Partition, RawBatch, TimestampType
from detector.kafka.scan import Scanner, scanner
from detector.phrases import escaped, listed
from detector.settings.load import Settings, load

_IN_KAFKA = "kafka:"
_LISTED = 10  # topics that a sentence names


@click.command()
@click.option(
    "--from",
    "place",
    metavar="PLACE",
    help="kafka:TOPIC, or a file of dead letters.  [default: the topic that is set,"
    " else the file]",
)
@click.option(
    "--topic", "topics", multiple=True, help="Only letters that came from this topic."
)
@click.option(
    "--reason",
    "reasons",
    multiple=True,
    type=click.Choice([reason.value for reason in RejectReason]),
    help="Only letters of this reason.  [default: all but late and duplicate]",
)
@click.option(
    "--alerts",
    is_flag=True,
    help="Alerts that receivers refused, to these receivers, and no records.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Also what would be rejected again, or came back too often; and alerts whose"
    " incident may be over.",
)
@click.option("--dry-run", is_flag=True, help="Send nothing, and say what would be.")
@config_option
def redrive(
    place: str | None,
    topics: tuple[str, ...],
    reasons: tuple[str, ...],
    alerts: bool,
    force: bool,
    dry_run: bool,
    config: Path | None,
) -> int:
    """Put rejected records back into the topics they came from, each once.

    Do it after the cause is corrected: the daemon then reads them as new records. Each
    goes to the partition it came from, with its key, bytes, headers and timestamp. A
    second run leaves out what was put back before. Each record is first read as the
    daemon would read it with these settings: what would be rejected again stays, and so
    does a record that came back three times. Late and duplicate points stay unless
    --reason names them.

    With --alerts, alerts are sent again that receivers refused, in their order and each
    once. The beginning of an incident is sent if its end is among them, or if the
    daemon lists it as open.

    \b
    Examples:
      streamwarden redrive --dry-run
      streamwarden redrive --from kafka:dead-letters --topic metrics
      streamwarden redrive --from state/dead-letters.ndjson --reason malformed
      streamwarden redrive --alerts
    """
    settings = load(config)
    if alerts:
        file = _alert_file(settings, place, reasons)
        lines, has_failed = resend_alerts(
            settings, config, file, set(topics), force, dry_run
        )
    else:
        most = math.inf if force else MOST_REDRIVES
        selection = Selection(frozenset(topics), frozenset(reasons), most)
        lines, has_failed = _put_back(settings, place, selection, force, dry_run)
    for line in lines:
        click.echo(line)
    return OPERATOR_MUST_ACT if has_failed else 0


def _put_back(
    settings: Settings,
    place: str | None,
    selection: Selection,
    force: bool,
    dry_run: bool,
) -> tuple[Sequence[str], bool]:
    """What became of the records, a line each, and whether any failed.

    Raises ConfigError.
    """
    fault = _no_fault if force else Trial(settings).fault
    with scanner(settings.kafka) as scan:
        source = _source(settings, scan, place)
        outcome = _run(settings, scan, source, selection, fault, dry_run)
    return list(report(outcome, source.name, dry_run)), bool(outcome.failed)


def _alert_file(settings: Settings, place: str | None, reasons: Sequence[str]) -> Path:
    """Raises ConfigError if the options are about records."""
    if reasons:
        raise ConfigError("--reason is about records: leave it out with --alerts")
    if place is None:
        return settings.recovery.dead_letter_directory / FILE_NAME
    if place.startswith(_IN_KAFKA):
        raise ConfigError("alerts are in the file of dead letters: name it with --from")
    return Path(place)


def _source(settings: Settings, scan: Scanner, place: str | None) -> LetterSource:
    """Raises ConfigError if there is no such place."""
    recovery = settings.recovery
    if place is None and recovery.dead_letter_topic is not None:
        return TopicLetters(scan, recovery.dead_letter_topic)
    if place is None:
        return FileLetters(scan, recovery.dead_letter_directory / FILE_NAME)
    if place.startswith(_IN_KAFKA):
        return TopicLetters(scan, place.removeprefix(_IN_KAFKA))
    return FileLetters(scan, Path(place))


def _run(
    settings: Settings,
    scan: Scanner,
    source: LetterSource,
    selection: Selection,
    fault: Callable[[Letter], str | None],
    dry_run: bool,
) -> Outcome:
    with contextlib.ExitStack() as stack:
        # before the ledger is read: it ends the transactions of another run
        put = None
        if not dry_run:
            put = stack.enter_context(sender(settings.kafka, scan, source))
        done = source.done()
        if selection.topics:
            came_from = {letter.partition.topic for letter in source.letters()}
            _check_topics(selection.topics, came_from, scan.topics())
        return put_back_all(
            source.letters(),
            done,
            selection,
            source.whole,
            fault,
            put,
        )


class Trial:
    """Reads records as the daemon would with these settings."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError, and BundleError."""
        self._decoder = make_decoder(open_bundle(settings), settings, _ignore)
        self._now = SystemClock().wall()

    def fault(self, letter: Letter) -> str | None:
        """Why the record would be rejected; None if it would not be.

        Raises Transient if a schema registry can't tell.
        """
        stamp = letter.timestamp
        raw = RawBatch(
            partition=letter.partition,
            offsets=[letter.offset],
            timestamps=[int(self._now * 1000) if stamp is None else stamp],
            timestamp_types=[TimestampType.CREATE_TIME],
            keys=[letter.key],
            values=[letter.value],
            headers=[letter.headers],
        )
        rejected = self._decoder.decode(raw).rejected
        return rejected[0].reason.value if rejected else None


def _no_fault(letter: Letter) -> str | None:
    return None


def _ignore(field: str, partition: Partition, offset: int) -> None:
    """Fields that are no metrics are no concern here."""


def _check_topics(
    selected: Set[str], came_from: Set[str], present: Iterable[str]
) -> None:
    """Raises ConfigError if no letter can have come from a topic that is selected."""
    unknown = selected - came_from - set(present)
    if unknown:
        named = listed(sorted(map(escaped, unknown)), _LISTED)
        known = listed(sorted(map(escaped, came_from)), _LISTED) or "no topic"
        raise ConfigError(
            f"--topic: there is no topic {named}, and no letter came from it:"
            f" letters came from {known}"
        )


def report(outcome: Outcome, place: str, dry_run: bool) -> Iterator[str]:
    """What became of the letters, a line each; what is hostile in them is escaped."""
    yield f"{outcome.read:,} dead letters in {place}"
    said = "would be put back" if dry_run else "put back"
    total = outcome.put_back.total()
    by_topic = ", ".join(
        f"{count:,} to {escaped(topic)}"
        for topic, count in sorted(outcome.put_back.items())
    )
    yield f"{total:,} {said}" + (f": {by_topic}" if by_topic else "")
    if outcome.before:
        yield f"{outcome.before:,} were put back before"
    if outcome.repeated:
        yield f"{outcome.repeated:,} are about a record that has another letter"
    for reason, count in sorted(outcome.left_out.items()):
        yield f"{count:,} of reason {escaped(reason)} not selected"
    if outcome.not_whole:
        yield (
            f"{outcome.not_whole:,} are not whole: the letter has their first bytes, and"
            " the topic has the record no more"
        )
    for reason, count in sorted(outcome.again.items()):
        yield (
            f"{count:,} would be rejected again as {escaped(reason)}: correct the cause,"
            " or use --force"
        )
    if outcome.too_often:
        yield (
            f"{outcome.too_often:,} came back {MOST_REDRIVES} times: look at them, or use"
            " --force"
        )
    for cause, count in sorted(outcome.failed.items()):
        yield f"{count:,} failed: {escaped(cause)}"
