"""Sources whose records come out as one stream, and the fields that tell them apart.

A record with a key, or with a field ``stream``, is named by that alone. If several
machines write under one key, their points are one stream, and no model fits it. A field
that names a machine or a device tells them apart if one stream has two texts in it.
Any other text does so only if its texts come back again and again: one that changes
now and then is the state of one machine, and one that is new each time is an id. Pure.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from detector.errors import BadRecord
from detector.events import Partition, RecordBatch
from detector.ingest.json_objects.implied import names_a_source, telling
from detector.ingest.json_objects.json_text import documents
from detector.ingest.json_objects.paths import Fields
from detector.ingest.json_objects.recognise import unwrapped
from detector.ingest.messages import Messages

Texts = Mapping[str, str]  # by the path of the field
_Record = tuple[Partition, int]

#: A state changes at fewer of its points than one in this number; by judgement.
_CHANGES_EACH: Final = 3
_LEAST_RECURRING: Final = 2  # texts that come back


@dataclass(frozen=True, slots=True)
class Merged:
    """Streams that hold points of several sources.

    Attributes:
        fields: paths that tell the sources apart, together.
        streams: how many sources each stream holds, the most first.
    """

    fields: Sequence[str]
    streams: Mapping[str, int]


def merged_streams(
    messages: Sequence[Messages], decoded: Sequence[RecordBatch]
) -> Merged | None:
    """What is merged in a sample of generic records; None if nothing is.

    ``decoded``: the same records, with each metric a stream.
    """
    by_stream = _texts_of_streams(dict(_texts(messages)), decoded)
    fields = _telling_fields(by_stream)
    sources = {
        stream: len({_of(fields, texts) for texts in of_stream})
        for stream, of_stream in by_stream.items()
    }
    several = Counter({name: count for name, count in sources.items() if count > 1})
    return Merged(fields, dict(several.most_common())) if several else None


def _texts(messages: Sequence[Messages]) -> Iterator[tuple[_Record, list[Texts]]]:
    """What may tell the source of each record, for each object in it."""
    for batch in messages:
        of_record: dict[int, list[Texts]] = defaultdict(list)
        for message, value in enumerate(batch.values):
            texts = [dict(telling(unwrapped(fields))) for fields in _objects(value)]
            of_record[batch.offset(message)].extend(texts)
        for offset, found in of_record.items():
            yield (batch.raw.partition, offset), found


def _objects(value: bytes | Fields) -> Iterator[Fields]:
    found: Iterable[Any] = [value]
    if isinstance(value, bytes):
        found = ()
        with contextlib.suppress(BadRecord, RecursionError):
            found = documents(value)
    for document in found:
        elements = document if isinstance(document, list) else [document]
        yield from (each for each in elements if isinstance(each, Mapping))


def _texts_of_streams(
    texts: Mapping[_Record, list[Texts]], decoded: Sequence[RecordBatch]
) -> Mapping[str, list[Texts]]:
    """The texts of each stream's records, in the order of the log."""
    by_stream: dict[str, list[Texts]] = defaultdict(list)
    for batch in decoded:
        seen: set[tuple[str | bytes, int]] = set()
        for point in zip(batch.names, batch.offsets.tolist(), strict=True):
            if point in seen:
                continue
            seen.add(point)
            name, offset = point
            stream = name.decode(errors="replace") if isinstance(name, bytes) else name
            by_stream[stream].extend(texts.get((batch.partition, offset), ()))
    return by_stream


def _telling_fields(by_stream: Mapping[str, list[Texts]]) -> list[str]:
    """The fewest fields that tell all sources apart, those that name one first."""
    candidates = {
        path
        for texts in by_stream.values()
        for path in {path for each in texts for path in each}
        if _tells_apart(path, [each.get(path, "") for each in texts])
    }
    fields: list[str] = []
    most = _sources([], by_stream)
    for path in sorted(candidates, key=lambda path: (not names_a_source(path), path)):
        count = _sources([*fields, path], by_stream)
        if count > most:
            fields.append(path)
            most = count
    return fields


def _tells_apart(path: str, texts: Sequence[str]) -> bool:
    counts = Counter(texts)
    if len(counts) < 2:
        return False
    if names_a_source(path):
        return True
    recurring = sum(count > 1 for count in counts.values())
    changes = sum(before != after for before, after in pairwise(texts))
    return recurring >= _LEAST_RECURRING and changes * _CHANGES_EACH > len(texts)


def _sources(fields: Sequence[str], by_stream: Mapping[str, list[Texts]]) -> int:
    return sum(
        len({_of(fields, texts) for texts in of_stream})
        for of_stream in by_stream.values()
    )


def _of(fields: Sequence[str], texts: Texts) -> tuple[str, ...]:
    return tuple(texts.get(path, "") for path in fields)
