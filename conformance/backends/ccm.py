"""Two real one-node Cassandra clusters, run by the scripts in ``ccm-scripts``.

The scripts are used rather than the ccm tool, because they start a node in four seconds, know its process by pid, and
let every node have its own JMX port; the install directories they build serve ccm as well.
"""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import Final

from cassandra.cluster import NoHostAvailable

from conformance.awaiting import await_true
from conformance.backends.interface import Clusters, Credentials, Node, Setup
from conformance.client import Client, Entry
from conformance.wire import Refused, Wire

SCRIPTS: Final = Path(__file__).resolve().parents[2] / "ccm-scripts"
FIRST_SUPERUSER: Final = Credentials("cassandra", "cassandra")
CQL_PORT: Final = 9042
CREDENTIALS: Final = {
    "origin": Credentials("origin_user", "origin-secret"),
    "target": Credentials("target_user", "target-secret"),
}


class CassandraNode(Node):
    """A node in ``$CASSANDRA_RUN/NAME``; every command goes through ``node.sh``, which checks the pid."""

    def __init__(self, name: str, address: str, version: str, authenticates: bool, directory: Path) -> None:
        super().__init__(name, address, CQL_PORT, CREDENTIALS[name] if authenticates else None)
        self.version = version
        self._environment = os.environ | {
            "CASSANDRA_RUN": str(directory),
            "AUTH": "password" if authenticates else "",
        }

    def start(self) -> None:
        self._run("start", self.version, self.address)
        self.await_login(self.credentials)

    def start_new(self) -> None:
        """Starts with no data at all, and makes the superuser that scenarios use."""
        if self.is_running():
            self._run("kill")
        self._run("wipe")
        self._run("start", self.version, self.address)
        if self.credentials is not None:
            self.await_login(FIRST_SUPERUSER)
            self._make_superuser(self.credentials)
        self.await_login(self.credentials)

    def stop(self) -> None:
        self._run("stop")

    def kill(self) -> None:
        self._run("kill")

    def pause(self) -> None:
        self._run("pause")

    def resume(self) -> None:
        self._run("resume")

    def is_running(self) -> bool:
        return self._script("status").returncode == 0

    def forget_prepared(self) -> None:
        with Client(Entry(self.address, self.port, self.credentials), protocol=4) as client:
            client.execute("TRUNCATE system.prepared_statements", timeout=60)

    def end(self) -> None:
        if self.is_running():
            self._run("kill")
        self._run("wipe")

    def await_login(self, credentials: Credentials | None) -> None:
        """The CQL port is open a moment before logins work, and the first superuser is made later still."""

        def logs_in() -> bool:
            try:
                with Wire(self.address, self.port, 4, credentials):
                    return True
            except (OSError, Refused):
                return False

        await_true(logs_in, f"{self.name} takes logins", 60)

    def _make_superuser(self, credentials: Credentials) -> None:
        role, password = credentials
        with Client(Entry(self.address, self.port, FIRST_SUPERUSER), protocol=4) as client:
            client.execute(f"CREATE ROLE {role} WITH PASSWORD = '{password}' AND LOGIN = true AND SUPERUSER = true")

    def _run(self, *arguments: str) -> None:
        done = self._script(*arguments)
        assert done.returncode == 0, f"node.sh {arguments[0]} {self.name}: {done.stdout}{done.stderr}"

    def _script(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        line = [str(SCRIPTS / "node.sh"), command, self.name, *arguments]
        return subprocess.run(line, env=self._environment, capture_output=True, text=True, timeout=150)


class CassandraClusters(Clusters):
    name = "ccm"
    always = frozenset({"rows", "counters", "conditions", "types", "tracing", "forgets", "stops", "pauses"})
    sometimes = frozenset({"roles", "logins", "any-login"})
    origin: CassandraNode
    target: CassandraNode

    def __init__(self, setup: Setup) -> None:
        self.origin, self.target = (
            CassandraNode(name, f"{setup.network}{number}", version, name in setup.authenticated, setup.directory)
            for name, number, version in zip(("origin", "target"), (1, 2), setup.versions, strict=True)
        )
        self._authenticated = setup.authenticated

    @property
    def present(self) -> frozenset[str]:
        if len(self._authenticated) == 2:
            return self.always | self.sometimes
        return self.always | ({"any-login"} if self._authenticated else set())

    def start(self) -> None:
        versions = {self.origin.version, self.target.version}
        subprocess.run([str(SCRIPTS / "install.sh"), *sorted(versions)], check=True, timeout=900)
        failures: list[BaseException] = []

        def start(node: CassandraNode) -> None:
            try:
                node.start_new()
            except (AssertionError, NoHostAvailable, subprocess.SubprocessError) as failure:
                failures.append(failure)

        threads = [threading.Thread(target=start, args=(node,)) for node in (self.origin, self.target)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def stop(self) -> None:
        self.origin.end()
        self.target.end()

    def describe(self) -> str:
        users = ", ".join(sorted(self._authenticated)) or "neither"
        return f"Cassandra, origin {self.origin.version}, target {self.target.version}, authentication on: {users}"
