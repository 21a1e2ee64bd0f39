"""Two sandbox clusters in a process of their own, driven by its HTTP control and looked into past the proxy."""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from tests import frames
from tests.process.awaiting import until
from tests.process.connection import CqlConnection
from tests.process.programs import Program

ORIGIN, TARGET = "127.0.80.1", "127.0.80.2"
Login = tuple[str, str]
NOBODY: Login = ("", "")


class SandboxCluster:
    """One of the two; it has one node."""

    def __init__(
        self, name: str, host: str, port: int, control: str, login: Login, tls: ssl.SSLContext | None = None
    ) -> None:
        self.name, self.host, self.port, self.login = name, host, port, login
        self._tls = tls
        self._url = f"{control}/clusters/{name}"
        self._http = requests.Session()
        self._direct: CqlConnection | None = None

    def fault(self, action: str, **wanted: Any) -> None:
        """Put a fault in force; the keys are those of `zdm.sandbox.control`."""
        self._post("/faults", {"action": action, **wanted})

    def lift_faults(self) -> None:
        self._http.delete(f"{self._url}/faults", timeout=10).raise_for_status()

    def forget_prepared(self) -> None:
        self._post("/prepared/forget", {})

    def salt(self, text: str) -> None:
        """From now on its prepared ids are other than those without the salt."""
        self._post("/prepared/salt", {"salt": text})

    def node(self, action: str) -> None:
        """start, stop, cut, refuse, stall or resume its node."""
        self._post(f"/nodes/0/{action}", {})

    def requests(self, text: str, *opcodes: str) -> list[dict[str, Any]]:
        """The requests with this text that it got, oldest first; of these opcodes only where some are named."""
        answer = self._http.get(f"{self._url}/requests", timeout=10)
        answer.raise_for_status()
        log: list[dict[str, Any]] = answer.json()["log"]
        return [entry for entry in log if text in entry["text"] and (not opcodes or entry["opcode"] in opcodes)]

    def connections(self) -> int:
        """How many are open to its node, the one of `query` and those of control connections among them."""
        clusters = self._http.get(self._url.rpartition("/")[0], timeout=10).json()
        return next(int(cluster["nodes"][0]["connections"]) for cluster in clusters if cluster["name"] == self.name)

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """Execute a statement past the proxy; its rows, if it has some."""
        if self._direct is None or self._direct.is_cut():
            self._direct = CqlConnection(self.host, self.port, tls=self._tls).ready(*self.login)
        answer = self._direct.ask(frames.query(0, text))
        return answer.rows if answer.kind == 2 else []

    def close(self) -> None:
        """Let go of the connection that `query` keeps."""
        if self._direct is not None:
            self._direct.close()
            self._direct = None

    def _post(self, path: str, body: dict[str, Any]) -> None:
        answer = self._http.post(self._url + path, json=body, timeout=10)
        assert answer.ok, answer.text


class Sandbox:
    """The process, from its start to `close`.

    `ports` are for those who must know them before it runs, `offers` are what both clusters do beside the usual:
    options without the cluster's name, as "protocols=3,4,5".
    """

    def __init__(
        self,
        directory: Path,
        origin_login: Login = NOBODY,
        target_login: Login = NOBODY,
        ports: tuple[int, int] = (0, 0),
        offers: Sequence[str] = (),
        options: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`options` may put the nodes under TLS, and `tls` is then how the tests themselves connect to them."""
        command = [sys.executable, "-m", "zdm.sandbox", "--control", f"{ORIGIN}:0", *options]
        for name, host, port, login in (
            ("origin", ORIGIN, ports[0], origin_login),
            ("target", TARGET, ports[1], target_login),
        ):
            command += [f"--{name}", f"{host}:{port}"]
            if login != NOBODY:
                command += [f"--{name}-auth", ":".join(login)]
            command += [f"--{name}-{offer}" for offer in offers]
        self._program = Program(command, {}, directory)
        line = until(self._ready_line, "the sandbox is ready")
        found = re.search(r"origin=\S+:(\d+) target=\S+:(\d+) control=(\S+)", line)
        assert found is not None, line
        control = f"http://{found[3]}"
        self.origin = SandboxCluster("origin", ORIGIN, int(found[1]), control, origin_login, tls)
        self.target = SandboxCluster("target", TARGET, int(found[2]), control, target_login, tls)
        self.clusters = (self.origin, self.target)

    def calm(self) -> None:
        """As it was at first, but for the rows: no faults, no salts, every node reading and listening."""
        for cluster in self.clusters:
            cluster.lift_faults()
            cluster.salt("")
            cluster.node("start")

    def query(self, text: str) -> None:
        """Execute a statement on both clusters, past the proxy."""
        for cluster in self.clusters:
            cluster.query(text)

    def close(self) -> None:
        for cluster in self.clusters:
            cluster.close()
        assert self._program.stop() == 0
        assert not self._program.stderr(), self._program.stderr()

    def _ready_line(self) -> str:
        assert self._program.is_running, self._program.stderr()
        said = self._program.stdout()
        return said if said.startswith("sandbox ready") and said.endswith("\n") else ""
