"""The project's own in-memory clusters, as a process of their own, steered through their HTTP control.

The two clusters give different ids to one prepared statement, which two real ones do only by chance.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import requests

from conformance.awaiting import await_true
from conformance.backends.interface import ERRORS, Clusters, Credentials, Node, Request, Setup, Statement
from conformance.ports import free_port

ROOT: Final = Path(__file__).resolve().parents[2]
CQL_PORT: Final = 9042
CREDENTIALS: Final = {
    "origin": Credentials("origin_user", "origin-secret"),
    "target": Credentials("target_user", "target-secret"),
}


class SandboxNode(Node):
    """Ends when its process does. Stopping and killing are one thing here: the port closes, connections are cut."""

    def __init__(self, name: str, address: str, authenticates: bool, control: str) -> None:
        super().__init__(name, address, CQL_PORT, CREDENTIALS[name] if authenticates else None)
        self._control = control

    def start(self) -> None:
        self._tell("start")

    def stop(self) -> None:
        self._tell("stop")

    def kill(self) -> None:
        self._tell("stop")

    def pause(self) -> None:
        self._tell("stall")

    def resume(self) -> None:
        self._tell("resume")

    def is_running(self) -> bool:
        clusters = requests.get(f"{self._control}/clusters", timeout=5).json()
        return any(node["is_up"] for cluster in clusters if cluster["name"] == self.name for node in cluster["nodes"])

    def forget_prepared(self) -> None:
        self._post("prepared/forget")

    def requests(self, part: str = "") -> list[Request]:
        log = requests.get(self._url("requests"), timeout=20).json()["log"]
        return [Request(record["opcode"], record["text"]) for record in log if part in record["text"]]

    def forget_requests(self) -> None:
        requests.delete(self._url("requests"), timeout=20).raise_for_status()

    def fail(self, statement: Statement, error: str, required: int = 2) -> None:
        message = f"{error} primed on {self.name}"
        self._prime(statement, action="error", code=ERRORS[error], message=message, required=required, consistency=4)

    def delay(self, statement: Statement, milliseconds: int) -> None:
        self._prime(statement, action="delay", delay_ms=milliseconds)

    def keep_silent(self, statement: Statement) -> None:
        self._prime(statement, action="drop")

    def refuse_to_prepare(self, statement: str) -> None:
        message = f"INVALID primed on {self.name}"
        self._post("faults", text=statement, opcode="PREPARE", action="error", code=ERRORS["INVALID"], message=message)

    def clear_primes(self) -> None:
        requests.delete(self._url("faults"), timeout=20).raise_for_status()

    def _prime(self, statement: Statement, **fault: object) -> None:
        if isinstance(statement, str):
            for opcode in ("QUERY", "EXECUTE"):
                self._post("faults", text=statement, opcode=opcode, **fault)
        else:
            self._post("faults", text="; ".join(statement), opcode="BATCH", **fault)

    def _tell(self, action: str) -> None:
        self._post(f"nodes/0/{action}")

    def _post(self, path: str, **body: object) -> None:
        requests.post(self._url(path), json=body, timeout=20).raise_for_status()

    def _url(self, path: str) -> str:
        return f"{self._control}/clusters/{self.name}/{path}"


class SandboxClusters(Clusters):
    name = "sandbox"
    always = frozenset(
        {"rows", "counters", "conditions", "types", "tracing", "forgets", "stops", "pauses", "primes", "logs"}
    )
    sometimes = frozenset({"logins", "any-login"})

    def __init__(self, setup: Setup) -> None:
        self._control_address = f"{setup.network}3:{free_port(f'{setup.network}3')}"
        self.origin, self.target = (
            SandboxNode(
                name, f"{setup.network}{number}", name in setup.authenticated, f"http://{self._control_address}"
            )
            for number, name in enumerate(("origin", "target"), start=1)
        )
        self._authenticated = setup.authenticated
        self._log = setup.directory / "sandbox.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def present(self) -> frozenset[str]:
        if len(self._authenticated) == 2:
            return self.always | self.sometimes
        return self.always | ({"any-login"} if self._authenticated else set())

    def start(self) -> None:
        line = [sys.executable, "-m", "zdm.sandbox", "--control", self._control_address, "--target-salt", "target"]
        for node in self.nodes:
            line += [f"--{node.name}", f"{node.address}:{node.port}"]
            # what Cassandra offers: what comes of it is up to the proxy
            line += [f"--{node.name}-protocols", "3,4,5", f"--{node.name}-compression", "snappy,lz4"]
            if node.credentials is not None:
                line += [f"--{node.name}-auth", ":".join(node.credentials)]
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(line, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        await_true(self._is_ready, "the sandbox is ready", 30)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)

    def describe(self) -> str:
        users = ", ".join(sorted(self._authenticated)) or "neither"
        return f"sandbox, authentication on: {users}"

    def _is_ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self._log.read_text()
        return "sandbox ready" in self._log.read_text()
