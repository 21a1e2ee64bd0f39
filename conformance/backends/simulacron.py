"""Two Simulacron clusters in one Java process, steered through its HTTP interface. They store nothing.

What is not primed is answered: by an empty result, for USE by its keyspace, for PREPARE by an id made of the text, with
bind variables of type text. Protocol 3 and 4, no authentication, one node a cluster. Simulacron stops no process, so
stopping and killing are the same: the port closes, connections end. A paused node reads nothing more on the connections
it has, and answers no STARTUP on new ones.

Traps of 0.12.0: the errors ALREADY_EXISTS and UNPREPARED end as SERVER_ERROR; a statement in a prime needs empty
``params`` and ``param_types``; primes of a single node can't be deleted, those of a data centre can; statements that
were prepared are primes of the cluster.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any, Final

import requests

from conformance.awaiting import await_true
from conformance.backends.interface import Clusters, Node, Request, Setup, Statement
from conformance.ports import free_port

SCRIPTS: Final = Path(__file__).resolve().parents[2] / "ccm-scripts"
CQL_PORT: Final = 9042
# where the process binds its HTTP interface, whatever -i says
CONTROL_HOST: Final = "127.0.0.1"
LOG_LIMIT: Final = 10_000
LEVEL: Final = {"consistency_level": "QUORUM"}
REASONS: Final = {"failure_reasons": {"127.0.0.1": "UNKNOWN"}}


def error_result(error: str, message: str, required: int) -> dict[str, object]:
    """The ``then`` of a prime. Each error takes its own fields, no others; with numbers it has its own text."""
    waited = {**LEVEL, "received": 0, "block_for": required}
    fields: dict[str, dict[str, object]] = {
        "UNAVAILABLE": {**LEVEL, "required": required, "alive": 0},
        "WRITE_TIMEOUT": {**waited, "write_type": "SIMPLE"},
        "READ_TIMEOUT": {**waited, "data_present": False},
        "WRITE_FAILURE": {**waited, **REASONS, "write_type": "SIMPLE"},
        "READ_FAILURE": {**waited, **REASONS, "data_present": False},
        "FUNCTION_FAILURE": {"keyspace": "conformance", "function": "f", "arg_types": ["int"], "detail": message},
    }
    return {"result": error.lower(), **fields.get(error, {"message": message})}


class SimulacronNode(Node):
    """A cluster of one node; it exists from ``create`` to the end of the process."""

    def __init__(self, name: str, address: str, version: str, control: str) -> None:
        super().__init__(name, address, CQL_PORT, None)
        self.version = version
        self._control = control
        self._cluster = ""
        self._primes: list[dict[str, object]] = []

    def create(self, number: int) -> None:
        node = {"id": 0, "name": "node1", "address": f"{self.address}:{self.port}"}
        specification = {
            "id": number,
            "name": self.name,
            "cassandra_version": self.version,
            "peer_info": {"protocol_versions": [3, 4]},
            "data_centers": [{"id": 0, "name": "datacenter1", "nodes": [node]}],
        }
        answer = self._tell("POST", "cluster", params={"activity_log": "true"}, json=specification)
        self._cluster = str(answer["id"])

    def start(self) -> None:
        self._tell("PUT", f"listener/{self._cluster}")

    def stop(self) -> None:
        self._tell("DELETE", f"listener/{self._cluster}", params={"type": "stop"})

    def kill(self) -> None:
        self.stop()

    def pause(self) -> None:
        self._tell("DELETE", f"listener/{self._cluster}", params={"type": "reject_startup"})
        self._tell("PUT", f"pause-reads/{self._cluster}")

    def resume(self) -> None:
        self._tell("PUT", f"listener/{self._cluster}")
        self._tell("DELETE", f"pause-reads/{self._cluster}")

    def is_running(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), 5):
                return True
        except OSError:
            return False

    def forget_prepared(self) -> None:
        """Deletes all primes, since prepared statements are among them, and primes again what was primed."""
        self._tell("DELETE", f"prime/{self._cluster}")
        for prime in self._primes:
            self._tell("POST", self._where, json=prime)

    def requests(self, part: str = "") -> list[Request]:
        report = self._tell("GET", f"log/{self._cluster}")
        entries = [entry for node in report["data_centers"][0]["nodes"] for entry in node["queries"]]
        found = [Request(entry["type"], text_of(entry)) for entry in entries[-LOG_LIMIT:]]
        return [request for request in found if part in request.text]

    def forget_requests(self) -> None:
        self._tell("DELETE", f"log/{self._cluster}")

    def fail(self, statement: Statement, error: str, required: int = 2) -> None:
        self._prime(statement, error_result(error, f"{error} primed on {self.name}", required))

    def delay(self, statement: Statement, milliseconds: int) -> None:
        self._prime(statement, {"result": "success", "rows": [], "column_types": {}, "delay_in_ms": milliseconds})

    def keep_silent(self, statement: Statement) -> None:
        self._prime(statement, {"result": "no_result"})

    def refuse_to_prepare(self, statement: str) -> None:
        message = f"INVALID primed on {self.name}"
        self._prime(statement, {"result": "invalid", "message": message, "ignore_on_prepare": False})

    def clear_primes(self) -> None:
        self._primes.clear()
        self._tell("DELETE", self._where)

    def _prime(self, statement: Statement, then: dict[str, object]) -> None:
        when: dict[str, object]
        if isinstance(statement, str):
            when = {"request": "query", **plain(statement)}
        else:
            when = {"request": "batch", "queries": [plain(text) for text in statement]}
        self._primes.append({"when": when, "then": then})
        self._tell("POST", self._where, json=self._primes[-1])

    @property
    def _where(self) -> str:
        return f"prime/{self._cluster}/0"

    def _tell(self, method: str, path: str, **options: Any) -> Any:
        answer = requests.request(method, f"{self._control}/{path}", timeout=20, **options)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.text else None


def plain(text: str) -> dict[str, object]:
    return {"query": text, "params": {}, "param_types": {}}


def text_of(entry: dict[str, Any]) -> str:
    """The statement of a logged request; of a batch those that came as text."""
    if entry["type"] == "BATCH":
        return "; ".join(str(part) for part in entry["frame"]["message"]["queries_or_ids"])
    return str(entry["query"])


class SimulacronClusters(Clusters):
    name = "simulacron"
    always = frozenset({"stops", "pauses", "primes", "logs"})
    sometimes = frozenset[str]()
    origin: SimulacronNode
    target: SimulacronNode

    def __init__(self, setup: Setup) -> None:
        """The versions are what the clusters say they are."""
        self._port = free_port(CONTROL_HOST)
        self.origin, self.target = (
            SimulacronNode(name, f"{setup.network}{number}", version, f"http://{CONTROL_HOST}:{self._port}")
            for name, number, version in zip(("origin", "target"), (1, 2), setup.versions, strict=True)
        )
        self._jar = setup.simulacron
        self._log = setup.directory / "simulacron.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def present(self) -> frozenset[str]:
        return self.always

    def start(self) -> None:
        environment = os.environ | ({"SIMULACRON_PATH": self._jar} if self._jar else {})
        line = [str(SCRIPTS / "simulacron.sh"), "run", self.origin.address, str(self._port)]
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(line, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        await_true(self._is_ready, "Simulacron is ready", 120)
        for number, node in enumerate((self.origin, self.target)):
            node.create(number)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)

    def describe(self) -> str:
        return f"Simulacron, saying {self.origin.version} and {self.target.version}, no authentication"

    def _is_ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self._log.read_text()
        try:
            return requests.get(f"http://{CONTROL_HOST}:{self._port}/cluster", timeout=5).ok
        except requests.RequestException:
            return False
