"""What a receiver costs the scoring: none, one that works, one that refuses
connections, one that takes them and never answers.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic import SecretStr

from deploy.harness.processes import free_ports
from detector.clock import SystemClock
from detector.events import RecordBatch
from detector.metrics import Metrics
from detector.model.onnx_engine import OnnxEngine
from detector.notify.delivery import Delivery, RetryPolicy
from detector.notify.outbox import Outbox
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.webhook import Webhook, WebhookSettings
from detector.notify.routes import Routing
from detector.notify.spill import SpillPolicy
from detector.pipeline.build import build_pipeline
from detector.recovery.snapshot import Restored
from detector.recovery.store_local import LocalStore
from detector.recovery.store_thread import StoreWorker
from detector.settings.alerting import AlertingSettings
from tests.benchmarks.bundles import P, poll_of
from tests.benchmarks.rounds import Row, medians
from tests.fakes import DeadLetterList, fake_bundle

STREAMS = 1024
TICKS = 2400
WARM_UP = 12
EVERY = 256  # streams for each that has a fault at any moment


def receivers(rounds: int) -> list[Row]:
    """Points scored a second while there are notifications to deliver (one in about
    1,500 points), against the same without any receiver.
    """
    with ExitStack() as stack:
        urls = {
            "none": None,
            "works": stack.enter_context(_working()),
            "refuses": f"http://127.0.0.1:{free_ports(1)[0]}/",
            "never answers": stack.enter_context(_half_open()),
        }
        rates = medians(rounds, *(_measure(url) for url in urls.values()))
    base = rates[0]
    return [
        {
            "receiver": name,
            "points/s": rate,
            "ratio": rate / base,
            "bar": 0.0 if name in ("none", "works") else 0.95,
        }
        for name, rate in zip(urls, rates, strict=True)
    ]


def _polls() -> list[RecordBatch]:
    """Noise, and for 4 ticks of each 12 a fault of one stream in :data:`EVERY`."""
    rng = np.random.default_rng(0)
    names = [b"host-%d" % i for i in range(STREAMS)]
    found = []
    for tick in range(TICKS):
        values = rng.normal(scale=0.3, size=(STREAMS, 1))
        shift = 7 * tick // 12 * 12
        if tick >= WARM_UP and tick % 12 < 4:
            faulty = (np.arange(STREAMS) + shift) % EVERY == 0
            values[faulty] += 40
        found.append(poll_of(names, values, tick))
    return found


def _measure(url: str | None) -> Callable[[], float]:
    polls = _polls()

    def rate() -> float:
        settings = AlertingSettings(cooldown_ticks=0)
        with TemporaryDirectory() as folder:
            # its graph costs little, so that what is measured is not hidden
            made = fake_bundle(Path(folder) / "bundle", ("value",))
            worker = StoreWorker(LocalStore(Path(folder) / "state"))
            hooks = {} if url is None else {"hook": _webhook(url)}
            outbox = Outbox(Routing(list(hooks)), SystemClock(), SpillPolicy(worker))
            metrics = Metrics(list(hooks))
            scorer = build_pipeline(
                made,
                OnnxEngine(made),
                settings.tuning(),
                outbox=outbox,
                metrics=metrics,
            )
            scorer.assign(P, Restored((), (), 0))
            delivery = Delivery(outbox, hooks, DeadLetterList(), RetryPolicy(), metrics)
            delivery.start()
            for poll in polls[:WARM_UP]:
                scorer.process([poll])
            began = time.perf_counter()
            for poll in polls[WARM_UP:]:
                scorer.process([poll])
            found = STREAMS * (TICKS - WARM_UP) / (time.perf_counter() - began)
            delivery.stop(0.01)
            worker.close(30)
        raised = sum(
            s.value
            for m in metrics.alerts.collect()
            for s in m.samples
            if s.name.endswith("_total")
        )
        assert raised > TICKS / 3, "the benchmark raises no alerts"
        return found

    return rate


def _webhook(url: str) -> Webhook:
    settings = WebhookSettings(name="hook", url=SecretStr(url))
    return Webhook(settings, ReceiverContext())


@contextmanager
def _half_open() -> Iterator[str]:
    """Connections are taken by the kernel, and nobody reads from them."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


@contextmanager
def _working() -> Iterator[str]:
    """In a process of its own, as a receiver is."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.receivers"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.terminate()


class _Accepting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Quiet."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Accepting)
    print(server.server_port, flush=True)
    server.serve_forever()
