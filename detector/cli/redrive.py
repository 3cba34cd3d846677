"""``redrive``: puts dead letters back into the topics they came from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from detector.cli.options import config_option
from detector.dead_letters.file import FILE_NAME
from detector.dead_letters.put_back import sender
from detector.dead_letters.redrive import Outcome, Selection
from detector.dead_letters.redrive import redrive as put_back_all
from detector.dead_letters.sources import FileLetters, LetterSource, TopicLetters
from detector.errors import RejectReason
from detector.kafka.scan import Scanner, scanner
from detector.phrases import escaped
from detector.settings.load import Settings, load

_IN_KAFKA = "kafka:"


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
@click.option("--dry-run", is_flag=True, help="Send nothing, and say what would be.")
@config_option
def redrive(
    place: str | None,
    topics: tuple[str, ...],
    reasons: tuple[str, ...],
    dry_run: bool,
    config: Path | None,
) -> int:
    """Put rejected records back into the topics they came from, each once.

    Do it after the cause is corrected: the daemon then reads them as new records. Each
    goes to the partition it came from, with its key, bytes, headers and timestamp. A
    second run leaves out what was put back before. Late and duplicate points would be
    rejected again, so they stay unless --reason names them.

    \b
    Examples:
      streamwarden redrive --dry-run
      streamwarden redrive --from kafka:dead-letters --topic metrics
      streamwarden redrive --from state/dead-letters.ndjson --reason malformed
    """
    settings = load(config)
    selection = Selection(frozenset(topics), frozenset(reasons))
    with scanner(settings.kafka) as scan:
        source = _source(settings, scan, place)
        outcome = _run(settings, scan, source, selection, dry_run)
    for line in report(outcome, source.name, dry_run):
        click.echo(line)
    return 0


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
    dry_run: bool,
) -> Outcome:
    with contextlib.ExitStack() as stack:
        # before the ledger is read: it ends the transactions of another run
        put = None
        if not dry_run:
            put = stack.enter_context(sender(settings.kafka, scan, source))
        done = source.done()
        return put_back_all(source.letters(), done, selection, source.whole, put)


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
    for cause, count in sorted(outcome.failed.items()):
        yield f"{count:,} failed: {escaped(cause)}"
