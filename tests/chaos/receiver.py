"""A webhook receiver that fails in many ways, and remembers what it acknowledged."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.chaos.oracle import Identity

#: Answers. Unreachable: nobody listens. Half open: it takes the post and does not
#: answer. Reset: the connection ends in the answer.
MODES = ("ok", "unreachable", "half open", "slow", "500", "503", "429", "reset")


class FailingReceiver:
    """Listens on loopback. ``mode`` is one of :data:`MODES`, and may change."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self._port = port
        self._mode = "ok"
        self._changed = threading.Event()
        self._lock = threading.Lock()
        self._taken: set[Identity] = set()
        self._server: ThreadingHTTPServer | None = None
        self._listen()

    @property
    def taken(self) -> frozenset[Identity]:
        """What was acknowledged."""
        with self._lock:
            return frozenset(self._taken)

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._mode = mode
        self._changed.set()  # lets go of the posts that it keeps waiting
        self._changed = threading.Event()
        if mode == "unreachable":
            self.close()
        elif self._server is None:
            self._listen()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, body: bytes) -> int | None:
        """The status, or None for a connection that just ends."""
        mode = self._mode
        if mode in ("half open", "slow"):
            self._changed.wait(0.3 if mode == "slow" else 60)
        if mode.isdecimal():
            return int(mode)
        if mode in ("reset", "half open"):
            return None
        found = {
            (a["fingerprint"], a["startsAt"], a["annotations"]["reason"])
            for a in json.loads(body)["alerts"]
        }
        with self._lock:
            self._taken |= found
        return 200

    def _listen(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                try:
                    status = receiver.answer(
                        self.rfile.read(int(self.headers["Content-Length"]))
                    )
                    if status is None:
                        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                        self.close_connection = True
                        return
                    self.send_response(status)
                    if status == 429:
                        self.send_header("Retry-After", "1")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, address: object) -> None:
                """A client that was killed leaves its connection as it is."""

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            daemon=True,
        ).start()
