"""Errors, by who must act on them.

- The operator: ``ConfigError``, ``BundleError``, ``DataError``. One sentence with the
  remedy, and exit status 2.
- The producer: ``BadRecord``. Counted by reason and dead-lettered.
- Nobody: ``Transient`` and ``StoreError``. Retried.
- Whoever reads the dead letters: ``Permanent``, and ``Refused`` if it lasts.
"""

from __future__ import annotations

import enum


class DetectorError(Exception):
    """Any error that this project raises on purpose.

    Its text is a sentence for the person who must act.
    """


class ConfigError(DetectorError):
    """A setting is missing, malformed or contradicts another."""


class BundleError(DetectorError):
    """A bundle is absent, damaged or of another schema."""


class DataError(DetectorError):
    """A file of history can't be read as a table of streams."""


class StoreError(DetectorError):
    """State can't be written or read. Scoring goes on, nothing is committed, and it is
    tried again.
    """


class Transient(DetectorError):
    """A fault that may pass.

    Attributes:
        retry_after: seconds that the other side asks to wait, or None.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Permanent(DetectorError):
    """A fault that no retry helps. What it concerns is dead-lettered, and the text is
    the reason.
    """


class Refused(Permanent):
    """A refusal that may pass, as while a receiver is deployed again. It is tried again
    for a while before what it concerns is dead-lettered.
    """


class RejectReason(enum.StrEnum):
    """Why a record was not scored: metric label, log field and dead-letter field."""

    EMPTY = "empty"  # a value of zero bytes
    TOO_LARGE = "too_large"  # longer than the configured maximum
    ENCODING = "encoding"  # not UTF-8
    SCHEMA = "schema"  # the registry does not know its schema, or it does not fit
    MALFORMED = "malformed"  # not what its format says, or of no known format
    TYPE = "type"  # a field of another type than the contract's
    TIMESTAMP = "timestamp"  # unreadable, or no time between 2000 and 2100
    NO_STREAM = "no_stream"  # neither a stream field nor a key
    LONG_NAME = "long_name"  # a stream or a metric with too long a name
    NO_FEATURES = "no_features"  # every one of the bundle's features is missing
    INFINITE = "infinite"  # of a file's row: a value outside float32's finite range
    FUTURE = "future"  # ahead of the topic's own time
    DUPLICATE = "duplicate"  # the stream's previous timestamp and values again
    LATE = "late"  # before the stream's previous timestamp
    CAPACITY = "capacity"  # a new stream while the table holds its maximum


class MissingReason(enum.StrEnum):
    """Why one value of a record is not a number: metric label and log field."""

    NAN = "nan"  # not a number, or a stale marker
    INFINITE = "infinite"  # plus or minus infinity
    OVERFLOW = "overflow"  # finite, and outside float32's range
    TEXT = "text"  # text that is not a number, in a field that is a metric
    TYPE = "type"  # an array or an object where a number belongs
    QUALITY = "quality"  # the record's own quality flag says that it is bad


class ResetCause(enum.StrEnum):
    """Why states started anew: metric label and log field."""

    #: The graph returned what is not a number; counts streams.
    NOT_FINITE = "not_finite"
    #: Another bundle with other features computed the stored states; counts streams.
    OTHER_BUNDLE = "other_bundle"
    #: Another bundle with the same features took the streams over; counts streams.
    TAKEN_OVER = "taken_over"
    #: The page of streams that had fallen silent is gone; counts streams.
    PAGE_GONE = "page_gone"
    #: A page is missing, damaged or of an unknown schema at a start; counts pages.
    PAGE_UNREADABLE = "page_unreadable"
    #: The group has committed offsets and the store has no checkpoint for them, or one
    #: of an unknown schema; counts partitions.
    NO_CHECKPOINT = "no_checkpoint"


class BadRecord(DetectorError):
    """A record that breaks the contract of its format."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
