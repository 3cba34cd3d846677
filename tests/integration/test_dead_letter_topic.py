"""Dead letters in a topic of a real Kafka, and `redrive`."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from deploy.harness.broker import Broker
from deploy.harness.processes import start_process
from detector.cli.main import main
from tests.integration.conftest import Start
from tests.integration.stage import (
    DaemonProcess,
    Record,
    await_all_committed,
    eventually,
    produce,
)

HEADERS = [("trace", b"\x01"), ("trace", b"")]
AT = 1_700_000_000_123  # epoch milliseconds


@pytest.fixture
def letters(topic: str) -> str:
    """The name of the topic of dead letters, which the daemon makes."""
    return f"{topic}-dead"


def produce_bad(
    broker: Broker, topic: str, values: Sequence[bytes], partition: int = 0
) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    for value in values:
        producer.send(
            topic,
            value,
            key=b"k\xff",
            headers=HEADERS,
            partition=partition,
            timestamp_ms=AT,
        )
    producer.flush(timeout=30)
    producer.close()


def read_all(broker: Broker, topic: str) -> list[ConsumerRecord]:
    consumer = KafkaConsumer(
        bootstrap_servers=broker.bootstrap, isolation_level="read_committed"
    )
    numbers = consumer.partitions_for_topic(topic) or ()
    tps = [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(tps)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(tps)
    found: list[ConsumerRecord] = []

    def read() -> bool:
        for records in consumer.poll(timeout_ms=200).values():
            found.extend(records)
        return all(consumer.position(tp) >= ends[tp] for tp in tps)

    eventually(read, f"{topic} is read to its end")
    consumer.close()
    return found


class Redriven(NamedTuple):
    status: int
    output: str


Redrive = Callable[..., Redriven]


@pytest.fixture
def redrive(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Redrive:
    """Runs the command in this process."""
    monkeypatch.setenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap)
    monkeypatch.setenv("DETECTOR_KAFKA__GROUP_ID", f"group-{uuid.uuid4().hex[:12]}")

    def run(*arguments: str) -> Redriven:
        status = main(["redrive", *arguments])
        captured = capsys.readouterr()
        return Redriven(status, captured.out + captured.err)

    return run


def await_letters(daemon: DaemonProcess, count: int) -> None:
    daemon.await_value(
        "detector_dead_letters_total", count, place="topic", outcome="written"
    )


@pytest.mark.parametrize("partitions", [2])
def test_a_dead_letter_is_the_record_with_its_place_and_reason(
    broker: Broker, topic: str, letters: str, start: Start
) -> None:
    daemon = start(RECOVERY__DEAD_LETTERS=f"kafka:{letters}")
    long = b"x" * 100_000
    produce_bad(broker, topic, [b"{}", long], partition=1)
    await_letters(daemon, 2)
    first, second = read_all(broker, letters)
    assert (first.key, first.value) == (b"k\xff", b"{}")
    assert (second.key, second.value) == (b"k\xff", long)
    assert list(first.headers[:2]) == HEADERS
    about = dict(second.headers)
    assert about["streamwarden.reason"] == b"malformed"
    assert about["streamwarden.topic"] == topic.encode()
    assert about["streamwarden.partition"] == b"1"
    assert about["streamwarden.offset"] == b"1"
    assert about["streamwarden.timestamp"] == str(AT).encode()
    assert daemon.value("detector_dead_letters_total", place="file") == 2


def test_redrive_puts_each_record_back_once(
    broker: Broker, topic: str, letters: str, start: Start, redrive: Redrive
) -> None:
    daemon = start(RECOVERY__DEAD_LETTERS=f"kafka:{letters}")
    produce_bad(broker, topic, [b"one", b"two"])
    await_letters(daemon, 2)
    daemon.stop()
    place = f"--from=kafka:{letters}"
    # their cause lasts: they would come back for ever
    outcome = redrive(place).output
    assert "0 put back" in outcome
    assert "2 would be rejected again as malformed" in outcome
    everything = (place, "--force")
    dry = redrive(*everything, "--dry-run").output
    assert f"2 would be put back: 2 to {topic}" in dry
    assert len(read_all(broker, topic)) == 2
    assert f"2 put back: 2 to {topic}" in redrive(*everything).output
    again = redrive(*everything)
    assert again.status == 0
    assert "0 put back" in again.output
    assert "2 were put back before" in again.output
    *_, third, fourth = read_all(broker, topic)
    assert (third.value, fourth.value) == (b"one", b"two")
    assert (third.key, third.timestamp) == (b"k\xff", AT)
    assert list(third.headers[:2]) == HEADERS
    assert third.headers[2][0] == "streamwarden.redriven"
    assert third.headers[3] == ("streamwarden.redrives", b"1")
    assert len(read_all(broker, topic)) == 4


def test_a_letter_that_a_restart_repeats_is_put_back_once(
    broker: Broker, topic: str, letters: str, start: Start, redrive: Redrive
) -> None:
    settings = {
        "RECOVERY__DEAD_LETTERS": f"kafka:{letters}",
        "RECOVERY__INTERVAL": "1000",
    }
    before = start(**settings)
    produce_bad(broker, topic, [b"one"])
    await_letters(before, 1)
    place = f"--from=kafka:{letters}"
    assert "1 put back" in redrive(place, "--force").output
    before.kill()  # without a checkpoint: the record is read and rejected again
    after = start(**settings)
    await_letters(after, 2)  # the record, and the one that was put back
    after.kill()
    outcome = redrive(place, "--force").output
    assert "1 put back" in outcome
    assert [r.value for r in read_all(broker, topic)] == [b"one"] * 3
    assert "0 put back" in redrive(place, "--force").output


def test_redrive_takes_letters_from_the_file_and_the_rest_from_the_log(
    broker: Broker, topic: str, start: Start, redrive: Redrive, tmp_path: Path
) -> None:
    daemon = start()
    long = b"y" * 10_000  # the file keeps 4,096 of them
    produce_bad(broker, topic, [b"short", long])
    daemon.await_value("detector_rejected_total", 2)
    daemon.stop()
    file = str(tmp_path / "a" / "dead-letters.ndjson")
    assert "2 put back" in redrive("--from", file, "--force").output
    assert "2 were put back before" in redrive("--from", file, "--force").output
    *_, third, fourth = read_all(broker, topic)
    assert (third.value, fourth.value) == (b"short", long)
    assert list(third.headers[:2]) == HEADERS


def test_a_run_that_died_before_its_note_put_nothing_back_twice(
    broker: Broker, topic: str, start: Start, redrive: Redrive, tmp_path: Path
) -> None:
    daemon = start()
    produce_bad(broker, topic, [b"one", b"two"])
    daemon.await_value("detector_rejected_total", 2)
    daemon.stop()
    file = tmp_path / "a" / "dead-letters.ndjson"
    redrive("--from", str(file), "--force")
    ledger = file.with_name("dead-letters.redriven.ndjson")
    begun = [line for line in ledger.read_text().splitlines() if "begun" in line]
    ledger.write_text("\n".join(begun) + "\n")
    assert "2 were put back before" in redrive("--from", str(file), "--force").output
    assert len(read_all(broker, topic)) == 4


def test_late_points_stay_unless_they_are_asked_for(
    broker: Broker, topic: str, letters: str, start: Start, redrive: Redrive
) -> None:
    daemon = start(RECOVERY__DEAD_LETTERS=f"kafka:{letters}")
    value = json.dumps({"timestamp": 1_700_000_000, "cpu": 1}).encode()
    produce(broker, topic, [Record(b"a", value)] * 2)
    await_letters(daemon, 1)
    place = f"--from=kafka:{letters}"
    assert "1 of reason duplicate not selected" in redrive(place).output
    assert "1 put back" in redrive(place, "--reason", "duplicate").output
    assert read_all(broker, topic)[2].value == value


def test_a_run_that_is_killed_put_nothing_back_twice(
    broker: Broker, topic: str, letters: str, redrive: Redrive, tmp_path: Path
) -> None:
    count = 4000  # eight transactions
    broker.create_topic(letters)
    about = {"topic": topic, "partition": "0", "reason": "type"}
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, linger_ms=20)
    for n in range(count):
        of_letter = [*about.items(), ("offset", str(n))]
        headers = [(f"streamwarden.{k}", v.encode()) for k, v in of_letter]
        producer.send(letters, b"%d" % n, headers=headers)
    producer.close()
    # numbers are no records, and would be rejected again
    all_of_them = (f"--from=kafka:{letters}", "--force")
    command = [sys.executable, "-m", "detector", "redrive", *all_of_them]
    killed = start_process(command, tmp_path / "killed.log")
    eventually(lambda: _end(broker, topic) > 0, "it has begun")
    killed.kill()
    killed.wait()
    redrive(*all_of_them)
    values = [int(record.value) for record in read_all(broker, topic)]
    assert sorted(values) == list(range(count))


def _end(broker: Broker, topic: str) -> int:
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap)
    tp = TopicPartition(topic, 0)
    end = int(consumer.end_offsets([tp])[tp])
    consumer.close()
    return end


def test_a_letter_of_a_partition_that_is_gone_fails_alone(
    broker: Broker, topic: str, letters: str, redrive: Redrive
) -> None:
    broker.create_topic(letters)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    for where in ("0", "7"):
        about = {"topic": topic, "partition": where, "offset": "0", "reason": "type"}
        headers = [(f"streamwarden.{k}", v.encode()) for k, v in about.items()]
        producer.send(letters, b"{}", headers=headers)
    producer.send(letters, b"not a letter")
    producer.close()
    outcome = redrive(f"--from=kafka:{letters}", "--force")
    assert "2 dead letters" in outcome.output
    assert "1 put back" in outcome.output
    assert f"1 failed: {topic}/7 does not exist any more" in outcome.output


def test_a_topic_that_refuses_letters_stops_nothing_and_is_counted(
    broker: Broker, topic: str, letters: str, start: Start
) -> None:
    broker.create_topic(letters, config={"max.message.bytes": "1000"})
    daemon = start(RECOVERY__DEAD_LETTERS=f"kafka:{letters}")
    produce_bad(broker, topic, [b"z" * 5000])
    daemon.await_value(
        "detector_dead_letters_total", 1, place="topic", outcome="failed"
    )
    value = json.dumps({"timestamp": 1_700_000_000, "cpu": 1}).encode()
    produce(broker, topic, [Record(b"a", value)])
    daemon.await_value("detector_scored_total", 1)
    daemon.await_value("detector_checkpoints_total", 1, outcome="written")
    assert "dead_letter_not_written" in daemon.log_text()


def test_letters_are_in_the_topic_before_the_offset_is_committed(
    broker: Broker, topic: str, letters: str, start: Start
) -> None:
    count = 20_000
    daemon = start(RECOVERY__DEAD_LETTERS=f"kafka:{letters}", RECOVERY__INTERVAL="0.05")
    produce_bad(broker, topic, [b"%d" % n for n in range(count)])
    await_letters(daemon, count // 10)
    daemon.kill()
    again = start(RECOVERY__DEAD_LETTERS=f"kafka:{letters}")
    await_all_committed(broker, topic, again.settings["KAFKA__GROUP_ID"], 1)
    again.stop()
    kept = {dict(r.headers)["streamwarden.offset"] for r in read_all(broker, letters)}
    assert len(kept) == count


def test_letters_of_a_topic_that_nobody_knows_are_refused(
    broker: Broker, topic: str, letters: str, start: Start, redrive: Redrive
) -> None:
    daemon = start(RECOVERY__DEAD_LETTERS=f"kafka:{letters}")
    produce_bad(broker, topic, [b"one"])
    await_letters(daemon, 1)
    refused = redrive(f"--from=kafka:{letters}", "--topic", "metrcis")
    assert refused.status == 2
    assert (
        f"no topic metrcis, and no letter came from it: letters came from {topic}"
        in (refused.output)
    )
