"""A real Prometheus server on loopback, and the small exporter that it scrapes.

Prometheus is Debian's package, which `scripts/test` installs. What a test changes in the exporter
is in the server after two more scrapes have begun: one that reads the new number, and the next,
which begins when the one before has been stored. So nothing here sleeps: scrapes are the events.
"""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

PROGRAM = "prometheus"
INTERVAL_S = 0.5  # between scrapes, and between evaluations of the rules; a scrape may last as long
PATIENCE_S = 60.0  # for anything that takes a moment; much more than it needs
REQUESTS_A_SCRAPE = 100
GOOD = {"error_rate": 0.001, "kube_daemonset_status_updated_number_scheduled": 1.0}
RULES = {
    "groups": [
        {
            "name": "rollout",
            "rules": [
                {"alert": "ErrorsHigh", "expr": "error_rate > 0.9"},
                {
                    "alert": "DaemonSetOutdated",
                    "expr": "kube_daemonset_status_updated_number_scheduled < 1",
                },
            ],
        }
    ]
}


class Exporter(ThreadingHTTPServer):
    """Numbers that a test turns good and bad.

    Beside the gauges it has the counters `requests_total` and `errors_total`, which grow with each
    scrape by a fixed number of requests and the share of them that the gauge `error_rate` says.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Metrics)
        self._changed = threading.Condition()
        self._gauges: dict[str, float] = {}
        self._counters = {"requests_total": 0.0, "errors_total": 0.0}
        self.broken = False
        self.scrapes = 0
        self.reset()

    def reset(self) -> bool:
        """Make all numbers good again; returns whether any was not."""
        with self._changed:
            bad = self.broken or self._gauges != GOOD
            self.broken = False
            self._gauges = dict(GOOD)
            return bad

    def set(self, name: str, value: float) -> None:
        """Change a gauge, or add one; the name may carry labels."""
        with self._changed:
            self._gauges[name] = value

    def remove(self, name: str) -> None:
        """Take a gauge away."""
        with self._changed:
            del self._gauges[name]

    def break_down(self) -> None:
        """Answer scrapes with an error until `reset`: all series end."""
        with self._changed:
            self.broken = True

    def scraped(self, times: int = 2) -> None:
        """Wait until so many more scrapes have begun, whatever comes of them."""
        with self._changed:
            goal = self.scrapes + times
            if not self._changed.wait_for(lambda: self.scrapes >= goal, PATIENCE_S):
                raise AssertionError("Prometheus has stopped scraping")

    def page(self) -> str | None:
        """Count a scrape and return what it reads; None for an error."""
        with self._changed:
            self.scrapes += 1
            self._counters["requests_total"] += REQUESTS_A_SCRAPE
            self._counters["errors_total"] += REQUESTS_A_SCRAPE * self._gauges["error_rate"]
            self._changed.notify_all()
            if self.broken:
                return None
            numbers = {**self._gauges, **self._counters}
        return "".join(f"{name} {value}\n" for name, value in numbers.items())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when Prometheus hangs up at its end."""


class _Metrics(BaseHTTPRequestHandler):
    server: Exporter

    def do_GET(self) -> None:
        page = self.server.page()
        body = (page or "").encode()
        self.send_response(500 if page is None else 200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name above us
        """Say nothing."""


class Prometheus:
    """The server as a process; it can be stopped and started again on the same port."""

    def __init__(self, directory: Path, exporter: Exporter) -> None:
        self.exporter = exporter
        self._directory = directory
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._write_configuration()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until what it scrapes can be asked for."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    PROGRAM,
                    f"--config.file={self._directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self.exporter.scraped()
        except AssertionError:
            log_text = (self._directory / "log").read_text(errors="replace")
            raise AssertionError(f"prometheus does not scrape: {log_text[-2000:]}") from None

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)
            self._process = None

    def ask(self, path: str, **parameters: str) -> Any:
        """Return `data` of an answer of its API."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        with urlopen(f"{self.url}/api/v1/{path}{query}", timeout=PATIENCE_S) as answer:  # noqa: S310 - loopback
            return json.load(answer)["data"]

    def scraped(self, times: int = 2) -> None:
        """Wait until so many more scrapes have begun; two, and the numbers of now are stored.

        On a busy machine a scrape may take too long, and then all series end: one more is waited
        for.
        """
        self.exporter.scraped(times)
        while not (self.exporter.broken or self._well()):
            self.exporter.scraped(1)

    def _well(self) -> bool:
        """Whether the last scrape that has ended came to something."""
        return all(target["health"] == "up" for target in self.ask("targets")["activeTargets"])

    def until(self, condition: Callable[[], bool]) -> None:
        """Look again after each scrape until something holds."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, "it never came to hold"
            self.exporter.scraped(1)

    def until_firing(self, alert: str) -> None:
        """Wait until an alert fires."""

        def fires() -> bool:
            active = self.ask("alerts")["alerts"]
            return any(a["labels"]["alertname"] == alert and a["state"] == "firing" for a in active)

        self.until(fires)

    def _write_configuration(self) -> None:
        interval = f"{round(INTERVAL_S * 1000)}ms"
        rules = self._directory / "rules.yml"
        rules.write_text(yaml.safe_dump(RULES))
        target = f"127.0.0.1:{self.exporter.server_port}"
        configuration = {
            "global": {
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "evaluation_interval": interval,
            },
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "exporter", "static_configs": [{"targets": [target]}]}],
        }
        (self._directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))


def installed() -> bool:
    """Whether this machine has the program."""
    return shutil.which(PROGRAM) is not None


@contextmanager
def running(directory: Path) -> Iterator[Prometheus]:
    """Run exporter and server, and end both."""
    exporter = Exporter()
    thread = threading.Thread(target=exporter.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server = Prometheus(directory, exporter)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        exporter.shutdown()
        thread.join()
        exporter.server_close()


def _free_port() -> int:
    """Return a free port that nobody is given by chance, not even while Prometheus is down.

    Systems hand out ports from 32768 on (Linux), or from 49152 on (IANA).
    """
    while True:
        port = random.randrange(10_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
