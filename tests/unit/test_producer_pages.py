"""The pages of producers: what they say of their records is what becomes of them, with
nothing set but the mapping that a page shows.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from detector.compose import make_decoder
from detector.events import MetricKind, Partition, RawBatch, RecordBatch
from detector.ingest.formats.registry import AUTO, NAMES
from detector.model.bundle import BUILTIN, load_bundle
from detector.settings.load import Settings
from detector.state.counter_names import is_named_counter

FOLDER: Final = Path(__file__).parents[2] / "docs/producers"
INDEX: Final = FOLDER / "README.md"
PAGES: Final = sorted(page for page in FOLDER.glob("*.md") if page != INDEX)
BINARY: Final = {"prometheus", "schema-registry"}  # their records are no text
AT: Final = 1_700_000_000  # the second of all examples
HEADER: Final = "| stream | metric | value | scored as | labels |"
EXAMPLE: Final = re.compile(
    r"^A record(?P<how>[^\n]*):\n\n```\w+\n(?P<value>.*?)```\n\n(?P<table>(?:\|.*?\n)+)",
    re.MULTILINE | re.DOTALL,
)
TOML: Final = re.compile(r"```toml\n(.*?)```", re.DOTALL)
RATES: Final = (MetricKind.COUNTER, MetricKind.DELTA)


@dataclass(frozen=True, slots=True)
class Example:
    """A record of a page.

    Attributes:
        mapping: the one that the page shows before the record; empty: none.
        rows: of the table below the record, without its header.
    """

    page: str
    key: bytes | None
    value: bytes
    mapping: Mapping[str, Any]
    rows: Sequence[str]


def examples(page: Path) -> Iterator[Example]:
    text = page.read_text()
    end_of_last = 0
    for match in EXAMPLE.finditer(text):
        key = re.search(r"with the key `(.+?)`", match["how"])
        header, _, *rows = match["table"].splitlines()
        assert header == HEADER
        yield Example(
            page=page.stem,
            key=key[1].encode() if key else None,
            value=match["value"].encode(),
            mapping=mapping_in(text[end_of_last : match.start()]),
            rows=rows,
        )
        end_of_last = match.end()


def mapping_in(text: str) -> Mapping[str, Any]:
    for shown in map(tomllib.loads, TOML.findall(text)):
        for topic in shown["kafka"].get("topics", ()):
            if isinstance(topic, dict) and "mapping" in topic:
                return dict(topic["mapping"])
    return {}


EXAMPLES: Final = [example for page in PAGES for example in examples(page)]


def read(example: Example) -> RecordBatch:
    topic = {"name": example.page, "mapping": example.mapping}
    settings = Settings.model_validate({"kafka": {"topics": [topic]}})
    assert settings.kafka.format == AUTO
    decoder = make_decoder(load_bundle(BUILTIN), settings, lambda *field: None)
    partition = Partition(example.page, 0)
    key = [example.key]
    value = [example.value]
    return decoder.decode(RawBatch(partition, [0], [AT * 1000], [0], key, value, [()]))


def rows_of(batch: RecordBatch) -> Iterator[str]:
    kinds = batch.kinds
    if kinds is None:
        kinds = np.zeros(batch.values.shape, np.uint8)
    labels = batch.labels or [None] * len(batch.names)
    for i, name in enumerate(batch.names):
        whole = name.decode() if isinstance(name, bytes) else name
        stream, _, metric = whole.rpartition("/")
        shown_metric = metric.replace("%2F", "/")
        is_rate = kinds[i, 0] in RATES or is_named_counter(whole)
        cells = [
            f"`{stream}`",
            f"`{shown_metric}`",
            f"{batch.values[i, 0]:.10g}",
            "rate" if is_rate else "value",
            ", ".join(f"`{k}={v}`" for k, v in sorted((labels[i] or {}).items())),
        ]
        yield f"| {' | '.join(cells)} |".replace("|  |", "| |")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.page)
def test_a_record_of_a_page_becomes_what_its_table_says(example: Example) -> None:
    batch = read(example)
    assert not batch.rejected
    assert sorted(rows_of(batch)) == sorted(example.rows)
    assert set(np.floor(batch.times)) == {AT}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_a_record_and_what_does_not_work(page: Path) -> None:
    assert (page.stem in BINARY) != any(examples(page))
    assert "What does not work:" in page.read_text()


def test_the_index_lists_every_page_and_every_format() -> None:
    index = INDEX.read_text()
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", index)) == {p.stem for p in PAGES}
    listed = set(re.findall(r"`(\w+)`", index))
    assert listed >= {*NAMES} - {AUTO}
