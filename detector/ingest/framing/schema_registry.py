"""A client of a schema registry: schemas by their id or GUID, each fetched once.

A schema never changes, so what was fetched is kept. A registry that can't be reached,
that is overloaded, or that refuses the credentials is asked again: the fault is
Transient, and no record is lost meanwhile. Only a registry that answers "not found"
rejects a record. It is asked again for that schema after :data:`ASK_AGAIN` seconds,
since a follower may learn of a schema later than a producer does.

Source: Confluent's Schema Registry API reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import quote
from uuid import UUID

import msgspec
import urllib3

from detector.clock import Clock
from detector.errors import BadRecord, RejectReason, Transient
from detector.ingest.framing.registry_requests import PatientRequests
from detector.kafka.schema_registry_settings import SchemaRegistrySettings

SchemaId = int | UUID
ASK_AGAIN: Final = 30.0  # seconds until an unknown schema is asked for again
_MAX_UNKNOWN: Final = 1_000  # ids that are remembered as unknown
_NOT_FOUND: Final = 404
_FORBIDDEN: Final = 403
_REFUSED: Final = (401, _FORBIDDEN)
# Only these say that the request itself is wrong, and will be next time.
_BAD_REQUEST: Final = (400, 405, 406, 410, 422)
_ACCEPT: Final = "application/vnd.schemaregistry.v1+json, application/json"


class Reference(msgspec.Struct, frozen=True):
    """Another schema that a schema names."""

    name: str
    subject: str
    version: int


class Schema(msgspec.Struct, frozen=True, rename="camel"):
    """A schema as the registry gives it."""

    schema: str
    schema_type: str = "AVRO"  # which the registry leaves out
    references: Sequence[Reference] = ()


@dataclass(frozen=True, slots=True)
class _Unknown:
    detail: str
    until: float  # monotonic seconds


_decode = msgspec.json.Decoder(Schema).decode


class SchemaRegistry:
    """Asks a registry. Not thread-safe."""

    def __init__(
        self,
        settings: SchemaRegistrySettings,
        clock: Clock,
        patience: float | None = None,
    ) -> None:
        """``patience``: seconds that who asks waits for an answer; None: as long as the
        request takes. Raises ConfigError if a TLS file can't be used.
        """
        self._urls = settings.url
        self._headers: Mapping[str, str] = {
            "User-Agent": "streamwarden",
            "Accept": _ACCEPT,
            **settings.headers(),
        }
        self._clock = clock
        self._pool = urllib3.PoolManager(
            num_pools=len(settings.url),
            timeout=urllib3.Timeout(total=settings.timeout),
            retries=False,
            ssl_context=settings.tls(),
        )
        self._requests = PatientRequests[Schema](patience, clock)
        self._known: dict[str, Schema] = {}
        self._unknown: dict[str, _Unknown] = {}

    def schema(self, schema_id: SchemaId, serialized: bool = False) -> Schema:
        """Raises BadRecord if the registry does not know it, and Transient.

        ``serialized``: a Protobuf schema as a descriptor in base64, not as its text.
        """
        kind = "ids" if isinstance(schema_id, int) else "guids"
        return self._get(f"/schemas/{kind}/{schema_id}", serialized)

    def version(self, reference: Reference, serialized: bool = False) -> Schema:
        """The schema that another one names. Raises BadRecord or Transient."""
        subject = quote(reference.subject, safe="")
        path = f"/subjects/{subject}/versions/{reference.version}"
        return self._get(path, serialized)

    def close(self) -> None:
        """Close the connections; a further request opens another."""
        self._pool.clear()

    def _get(self, path: str, serialized: bool) -> Schema:
        target = f"{path}?format=serialized" if serialized else path
        found = self._known.get(target)
        if found is not None:
            return found
        unknown = self._unknown.get(target)
        if unknown is not None and self._clock.monotonic() < unknown.until:
            raise BadRecord(RejectReason.SCHEMA, unknown.detail)
        try:
            found = self._requests.get(target, partial(self._ask, target))
        except BadRecord as fault:
            self._remember(target, fault.detail)
            raise
        self._known[target] = found
        return found

    def _remember(self, target: str, detail: str) -> None:
        if len(self._unknown) >= _MAX_UNKNOWN:
            self._unknown.clear()
        until = self._clock.monotonic() + ASK_AGAIN
        self._unknown[target] = _Unknown(detail, until)

    def _ask(self, target: str) -> Schema:
        """The first address that answers. Raises BadRecord or Transient."""
        fault = Transient("no address")
        for url in self._urls:
            try:
                return self._ask_one(url, target)
            except Transient as error:
                fault = error
        raise fault

    def examine(self) -> None:
        """Whether schemas can be read now. Raises Transient that says what is wrong.

        It reads the subjects, and the schema of the first: who may read records may not
        be allowed to list subjects, so that alone is no fault.
        """
        faults = []
        for url in self._urls:
            try:
                self._examine_one(url)
            except Transient as error:
                faults.append(str(error))
            else:
                return
        raise Transient("; ".join(faults))

    def _examine_one(self, url: str) -> None:
        status, body = self._request(url, "/subjects")
        if status == _FORBIDDEN:
            status, body = self._request(url, "/schemas/ids/1")
            if status in (200, _NOT_FOUND):
                return
        subjects = _subjects(body) if status == 200 else None
        if subjects is None:
            raise Transient(_no_registry(_who(url), status))
        if subjects:
            path = f"/subjects/{quote(subjects[0], safe='')}/versions/latest"
            status, _ = self._request(url, path)
            if status in _REFUSED:
                raise Transient(_no_registry(_who(url), status))

    def _request(self, url: str, target: str) -> tuple[int, bytes]:
        """Status and body of an answer. Raises Transient if there is none."""
        try:
            answer = self._pool.request(
                "GET",
                f"{url}{target}",
                headers=self._headers,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise Transient(f"{_who(url)} can't be reached ({_kind(error)})") from None
        return answer.status, answer.data

    def _ask_one(self, url: str, target: str) -> Schema:
        who = _who(url)
        status, body = self._request(url, target)
        if status == _NOT_FOUND:
            detail = f"{who} does not know {_named(target)}"
            raise BadRecord(RejectReason.SCHEMA, detail)
        if status in _BAD_REQUEST:
            detail = f"{who} refused {_named(target)} with {status}"
            raise BadRecord(RejectReason.SCHEMA, detail)
        if status in _REFUSED:
            raise Transient(_no_registry(who, status))
        if status != 200:
            raise Transient(f"{who} answered {status}")
        try:
            return _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Transient(f"{who} gave an answer that is not a schema") from None


def _named(target: str) -> str:
    """``schema 7``, or the version of a subject."""
    path = target.partition("?")[0].split("/")
    if path[1] == "schemas":
        return f"schema {path[3]}"
    return f"version {path[4]} of subject {path[2]}"


def _who(url: str) -> str:
    """The registry by its host and port: an address may hold more."""
    return f"the schema registry {urllib3.util.parse_url(url).netloc}"


def _no_registry(who: str, status: int) -> str:
    """Why an answer is not that of a registry, and what to do."""
    if status in _REFUSED:
        return f"{who} answered {status}: check its user or bearer_token"
    if status in (200, _NOT_FOUND):
        return f"{who} does not answer as a schema registry: check the path of its url"
    return f"{who} answered {status}"


def _subjects(body: bytes) -> list[str] | None:
    """The names in an answer; None if it is no list of them."""
    try:
        return msgspec.json.decode(body, type=list[str])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _kind(error: Exception) -> str:
    return type(error).__name__.removesuffix("Error")
