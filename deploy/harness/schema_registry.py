"""A schema registry for tests: the documented HTTP API of Confluent's, in memory.

No registry can be had as a package that runs here: Confluent's is not on Maven Central,
and Karapace pins other versions of the libraries that this project uses. What this one
speaks is held to Confluent's own Python client, which registers and resolves with it.

It has no compatibility rules and no compiler: Protobuf schemas are kept as the
serialised descriptors that clients send.

Source: Confluent's Schema Registry API reference.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec

from deploy.harness.loopback import LoopbackServer

_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_SUBJECT_NOT_FOUND: Final = 40401
_SCHEMA_NOT_FOUND: Final = 40403
Answer = tuple[int, Mapping[str, Any] | list[str]]


class SchemaRegistryServer(LoopbackServer):
    """Listens on loopback; a context manager that starts and ends it.

    Attributes:
        requests: method and path of each request, in order.
        failing: a status to answer every request with; None: none.
        authorization: the header that each request must have; None: none.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.failing: int | None = None
        self.authorization: str | None = None
        self._schemas: list[Mapping[str, Any]] = []  # schema of id i + 1
        self._subjects: dict[str, list[int]] = {}  # the ids of their versions
        self._lock = threading.Lock()
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        super().__init__(server, "schema-registry")

    @property
    def url(self) -> str:
        return self.address

    def register(self, subject: str, schema: Mapping[str, Any]) -> int:
        """The id of a schema, a new one if none is equal."""
        with self._lock:
            if schema not in self._schemas:
                self._schemas.append(dict(schema))
            schema_id = self._schemas.index(schema) + 1
            versions = self._subjects.setdefault(subject, [])
            if schema_id not in versions:
                versions.append(schema_id)
        return schema_id

    def answer(self, method: str, path: str, body: Mapping[str, Any]) -> Answer:
        """Status and body of an answer."""
        route = path.partition("?")[0]
        routes: list[tuple[str, str, Callable[..., Answer]]] = [
            ("GET", r"/schemas/ids/(\d+)", self._by_id),
            ("GET", r"/schemas/guids/([^/]+)", self._by_guid),
            ("GET", r"/subjects", lambda: (200, sorted(self._subjects))),
            ("GET", r"/subjects/([^/]+)/versions/([^/]+)", self._version),
            ("POST", r"/subjects/([^/]+)/versions", self._posted(body)),
            ("POST", r"/subjects/([^/]+)", self._posted(body)),
        ]
        for wanted, pattern, answer in routes:
            match = re.fullmatch(pattern, route)
            if match and method == wanted:
                return answer(*match.groups())
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _by_id(self, schema_id: str) -> Answer:
        index = int(schema_id) - 1
        if 0 <= index < len(self._schemas):
            return 200, self._described(index + 1)
        return 404, {"error_code": _SCHEMA_NOT_FOUND, "message": "Schema not found"}

    def _by_guid(self, guid: str) -> Answer:
        for schema_id in range(1, len(self._schemas) + 1):
            if _guid(schema_id) == guid:
                return 200, self._described(schema_id)
        return 404, {"error_code": _SCHEMA_NOT_FOUND, "message": "Schema not found"}

    def _version(self, subject: str, version: str) -> Answer:
        versions = self._subjects.get(subject, [])
        number = len(versions) if version == "latest" else int(version)
        if not 0 < number <= len(versions):
            return 404, {"error_code": _SUBJECT_NOT_FOUND, "message": "not found"}
        found = self._described(versions[number - 1])
        return 200, {**found, "subject": subject, "version": number}

    def _posted(self, body: Mapping[str, Any]) -> Callable[[str], Answer]:
        def answer(subject: str) -> Answer:
            schema_id = self.register(subject, body)
            version = self._subjects[subject].index(schema_id) + 1
            found = self._described(schema_id)
            return 200, {**found, "subject": subject, "version": version}

        return answer

    def _described(self, schema_id: int) -> Mapping[str, Any]:
        guid = _guid(schema_id)
        return {**self._schemas[schema_id - 1], "id": schema_id, "guid": guid}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._serve({})

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                self._serve(msgspec.json.decode(self.rfile.read(length)))

            def _serve(self, body: Mapping[str, Any]) -> None:
                registry.requests.append(f"{self.command} {self.path}")
                status = registry.failing or 200
                answer: Mapping[str, Any] | list[str] = {}
                given = self.headers.get("Authorization")
                if registry.authorization not in (None, given):
                    status = 401
                if status == 200:
                    status, answer = registry.answer(self.command, self.path, body)
                content = msgspec.json.encode(answer)
                self.send_response(status)
                self.send_header("Content-Type", _TYPE)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        return Handler


def _guid(schema_id: int) -> str:
    return str(uuid.UUID(int=schema_id))
