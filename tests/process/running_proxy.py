"""The proxy as a running program: started with an environment, asked by HTTP, judged by what it logs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Protocol

import requests

from tests.process.awaiting import free_port, until
from tests.process.connection import CqlConnection
from tests.process.programs import Program, proxy_command

PROXY = "127.0.80.10"

_TROUBLE = re.compile(r"level=(warning|error) ")
_WITHOUT_CREDENTIALS = "ControlConn: authentication is NOT enabled"


_START = 45.0


class Reachable(Protocol):
    """A cluster, or a `Link` to one."""

    host: str
    port: int


class Proxy:
    """One run of the program, on ports of its own.

    With the setting `in_file` it is configured by a file, with `options` it is started with these.
    """

    def __init__(self, origin: Reachable, target: Reachable, directory: Path, settings: dict[str, Any]) -> None:
        self.host = PROXY
        self.port = int(settings.get("proxy_listen_port", 0)) or free_port(PROXY)
        self.metrics_port = free_port(PROXY)
        environment = {
            "ZDM_PROXY_LISTEN_ADDRESS": PROXY,
            "ZDM_PROXY_LISTEN_PORT": str(self.port),
            "ZDM_METRICS_ADDRESS": PROXY,
            "ZDM_METRICS_PORT": str(self.metrics_port),
            # a process for each CPU would be started with each proxy; test_workers and the shared proxy have several
            "ZDM_WORKERS": os.environ.get("ZDM_TEST_WORKERS", "1"),
        }
        for name, cluster in (("ORIGIN", origin), ("TARGET", target)):
            user, password = getattr(cluster, "login", ("", ""))
            environment[f"ZDM_{name}_CONTACT_POINTS"] = cluster.host
            environment[f"ZDM_{name}_PORT"] = str(cluster.port)
            environment[f"ZDM_{name}_USERNAME"] = user
            environment[f"ZDM_{name}_PASSWORD"] = password
            # requests are to take the link as well, and not the address that the node has behind it
            environment[f"ZDM_{name}_ENABLE_HOST_ASSIGNMENT"] = "false"
        in_file = settings.pop("in_file", False)
        options = settings.pop("options", [])
        environment |= {f"ZDM_{key.upper()}": str(value) for key, value in settings.items()}
        self._file = directory / "zdm.yaml"
        self._in_file = {name.removeprefix("ZDM_").lower(): value for name, value in environment.items()}
        if in_file:
            self.rewrite()
        arguments = ["--config", str(self._file)] if in_file else []
        self.program = Program(proxy_command() + arguments + options, {} if in_file else environment, directory)
        self.exit_code = 0
        """What it is to end with."""
        self._http = requests.Session()
        self._announced: list[str] = []
        self._tolerated = [_WITHOUT_CREDENTIALS]
        self._judged = 0

    def rewrite(self, **settings: object) -> None:
        """Change keys in its file."""
        self._in_file |= {key: str(value) for key, value in settings.items()}
        plain = re.compile(r"\d+|true|false")
        lines = (
            f"{key}: {value if plain.fullmatch(value) else json.dumps(value)}\n" for key, value in self._in_file.items()
        )
        self._file.write_text("".join(lines), encoding="utf-8")

    # Its HTTP side

    def get(self, path: str) -> requests.Response:
        return self._http.get(f"http://{PROXY}:{self.metrics_port}{path}", timeout=10)

    def post(self, path: str) -> requests.Response:
        return self._http.post(f"http://{PROXY}:{self.metrics_port}{path}", timeout=20)

    def answers_http(self) -> bool:
        try:
            return self.get("/health/liveness").ok
        except requests.ConnectionError:
            assert self.program.is_running, self.log()
            return False

    def is_ready(self) -> bool:
        return self.answers_http() and self.get("/health/readiness").status_code == 200

    def wait_until_ready(self) -> Proxy:
        """Several processes start, which on a busy machine takes its time."""
        try:
            until(self.is_ready, "the proxy is ready", _START)
        except AssertionError as late:
            raise AssertionError(f"{late}; its log:\n{self.log()}") from None
        return self

    def metric(self, line: str) -> float:
        """The value of one sample, by its name and labels without the prefix: `failed{a="b"}`."""
        found = re.search(rf"^zdm_{re.escape(line)} (\S+)$", self.get("/metrics").text, re.MULTILINE)
        assert found is not None, f"no sample {line}"
        return float(found[1])

    def resident_bytes(self) -> int:
        """Memory that it and its workers have in use, as the kernel sees it."""
        return sum(self._resident_bytes(pid) for pid in (self.program.pid, *self.children()))

    def children(self) -> list[int]:
        """Its worker processes, where it has some; in no particular order."""
        pid = self.program.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    @staticmethod
    def _resident_bytes(pid: int) -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    # Its clients

    def cpu_seconds(self) -> float:
        """The processor time the program and its workers have used, which a busy machine makes longer by little."""
        return sum(self._cpu_seconds(pid) for pid in (self.program.pid, *self.children()))

    @staticmethod
    def _cpu_seconds(pid: int) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def connect(self, version: int = 4) -> CqlConnection:
        """A connection on which nothing has been said."""
        return CqlConnection(PROXY, self.port, version)

    def client(self, user: str = "", password: str = "", version: int = 4) -> CqlConnection:
        """A connection whose handshake is done."""
        return self.connect(version).ready(user, password)

    # What it says

    def log(self) -> str:
        return self.program.stderr()

    def said(self, pattern: str) -> str:
        """Waits for a line; the line."""
        return until(lambda: next(iter(self._lines(pattern)), ""), f"{pattern} in the log")

    def announces(self, pattern: str) -> None:
        """A warning or error that this test provokes: it must come."""
        self._announced.append(pattern)

    def tolerates(self, pattern: str) -> None:
        """A warning or error that may come, depending on who is faster."""
        self._tolerated.append(pattern)

    def judge(self) -> None:
        """AssertionError for a warning or error that was not announced, or announced and never said.

        Only of what was said since the last judgement, after which nothing is announced any more.
        """
        if self.program.is_running:
            self.answers_http()  # what went before it in the program's own order is in the log now
        whole = self.log()
        lines, self._judged = whole[self._judged :].splitlines(), len(whole)
        announced, self._announced = self._announced, []
        known, self._tolerated = announced + self._tolerated, [_WITHOUT_CREDENTIALS]
        troubles = [line for line in lines if _TROUBLE.search(line)]
        strange = [line for line in troubles if not any(re.search(pattern, line) for pattern in known)]
        assert not strange, "warnings and errors that nobody announced:\n" + "\n".join(strange)
        traces = [line for line in lines if not line.startswith('time="')]
        assert not traces, "not log lines:\n" + "\n".join(traces)
        missing = [pattern for pattern in announced if not any(re.search(pattern, line) for line in troubles)]
        assert not missing, f"announced, and never said: {missing}"

    def stop(self) -> None:
        """SIGTERM, where it runs still; its exit code and its log are judged."""
        code = self.program.stop()
        assert code == self.exit_code, f"exit code {code}:\n{self.log()}"
        self.judge()

    def _lines(self, pattern: str) -> list[str]:
        return [line for line in self.log().splitlines() if re.search(pattern, line)]
