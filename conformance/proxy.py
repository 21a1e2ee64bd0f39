"""The proxy under test: a command, configured by ``ZDM_*`` environment variables only, and judged by its log as well.

Any command will do: the installed program, another build of it, the reference, a wrapper. What is asked of it is the
documented surface: the variables, ``/health/readiness``, ``/metrics``, SIGTERM, log lines with ``level=`` on stderr,
and ``/api/v1/target`` for scenarios about the toggle.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from conformance.awaiting import await_true
from conformance.backends.interface import Clusters, Credentials, Node
from conformance.client import Entry
from conformance.metrics import Metrics
from conformance.ports import free_port
from conformance.target import Target

COMPLAINT = re.compile(r"level=\"?(warn|warning|error|fatal|panic)\b|^Traceback |^Unhandled |^panic:|^fatal error:")
START_SECONDS = 90.0
STOP_SECONDS = 20.0


def environment_of(clusters: Clusters) -> dict[str, str]:
    """What the proxy must know of the clusters. It requires user names even where no cluster asks for them."""
    environment: dict[str, str] = {}
    for prefix, node in (("ZDM_ORIGIN", clusters.origin), ("ZDM_TARGET", clusters.target)):
        credentials = node.credentials or Credentials("unused", "unused")
        environment |= {
            f"{prefix}_CONTACT_POINTS": node.address,
            f"{prefix}_PORT": str(node.port),
            f"{prefix}_USERNAME": credentials.username,
            f"{prefix}_PASSWORD": credentials.password,
        }
    return environment


def client_credentials(origin: Node, target: Node) -> Credentials | None:
    """What an application must send: the target's credentials, or the origin's where only the origin asks."""
    return target.credentials or origin.credentials


class Proxy:
    """One process on its own ports. Whoever creates it calls ``end``; in between it may be started and killed often.

    ``settings`` are all its ``ZDM_*`` variables; a scenario gives its own where it makes the proxy
    (``own_proxy(2, ZDM_STATE_FILE=...)``), and may change the dict between ``stop`` and ``start``.

    ``mark`` and ``complaints`` are for the scenario that runs: what was logged at warning level or above since the mark
    and was not announced by ``expect``; what the run's settings bring about is in ``always_expected``.
    ``target`` is the toggle, which announces its own lines.
    """

    def __init__(
        self,
        command: Sequence[str],
        settings: Mapping[str, str],
        address: str,
        log: Path,
        port: int = 0,
        terminal: int | None = None,
    ) -> None:
        """``terminal`` is a file descriptor that the log is copied to while it grows."""
        self.command = list(command)
        self.address = address
        self.port = port or free_port(address)
        self.metrics_port = free_port(address)
        self.log = log
        self._terminal = terminal
        self.settings = {
            **settings,
            "ZDM_PROXY_LISTEN_ADDRESS": address,
            "ZDM_PROXY_LISTEN_PORT": str(self.port),
            "ZDM_METRICS_ADDRESS": address,
            "ZDM_METRICS_PORT": str(self.metrics_port),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.always_expected: list[str] = []
        self._mark = 0
        self._expected: list[re.Pattern[str]] = []
        self.target = Target(self.url, self.expect)

    def entry(self, credentials: Credentials | None) -> Entry:
        return Entry(self.address, self.port, credentials)

    def start(self, await_ready: bool = True) -> None:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("ZDM_")}
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, env=inherited | self.settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            if self._terminal is not None:
                follow = ["tail", "-c", f"+{log.tell() + 1}", "-f", f"--pid={self._process.pid}", str(self.log)]
                subprocess.Popen(follow, stdout=self._terminal)
        if await_ready:
            await_true(self.is_ready, f"the proxy is ready\n{self.tail()}", START_SECONDS)

    def is_ready(self) -> bool:
        assert self.is_running(), f"the proxy ended with exit code {self.exit_code()}\n{self.tail()}"
        try:
            return requests.get(self.url("/health/readiness"), timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def url(self, path: str) -> str:
        return f"http://{self.address}:{self.metrics_port}{path}"

    def ready_report(self) -> tuple[int, dict[str, Any]]:
        """Status and body of ``/health/readiness``."""
        answer = requests.get(self.url("/health/readiness"), timeout=5)
        return answer.status_code, answer.json()

    def metrics(self) -> Metrics:
        """One scrape, for several values of the same moment."""
        answer = requests.get(self.url("/metrics"), timeout=20)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        return Metrics(answer.text)

    def metric(self, name: str, **labels: str) -> float:
        """Scrapes now: ``proxy.metric("zdm_target_enabled")``, ``proxy.metric("zdm_...", cluster="target")``.

        The sum of all samples that have these labels; see ``Metrics.value``.
        """
        return self.metrics().value(name, **labels)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_SECONDS)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def restart(self, await_ready: bool = True) -> None:
        """Stops it as an operator would, where it runs, and starts it with the same settings on the same ports."""
        if self.is_running():
            code = self.stop()
            assert code == 0, f"the proxy ended with exit code {code}\n{self.tail()}"
        self.start(await_ready)

    def end(self) -> None:
        """Stops it as an operator would; a proxy that does not stop by itself is killed, and that is a failure."""
        if not self.is_running():
            return
        try:
            code = self.stop()
            assert code == 0, f"the proxy ended with exit code {code}\n{self.tail()}"
        finally:
            self.kill()

    def mark(self) -> None:
        self._mark = self.log.stat().st_size if self.log.exists() else 0
        self._expected = []
        self.expect(*self.always_expected)

    def expect(self, *patterns: str) -> None:
        """Announces that lines matching one of these (anywhere, case ignored) may be logged as warnings or errors."""
        self._expected += [re.compile(pattern, re.IGNORECASE) for pattern in patterns]

    def lines(self, part: str) -> list[str]:
        """The log lines of any level since the mark that have this part (case counts, no pattern)."""
        return [line for line in self._text_since_mark().splitlines() if part in line]

    def complaints(self) -> list[str]:
        return list(self._complaints())

    def _complaints(self) -> Iterator[str]:
        for line in self._text_since_mark().splitlines():
            if COMPLAINT.search(line) and not any(pattern.search(line) for pattern in self._expected):
                yield line

    def _text_since_mark(self) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._mark)
            return log.read().decode(errors="replace")

    def tail(self, lines: int = 20) -> str:
        return "\n".join(self._text_since_mark().splitlines()[-lines:])
