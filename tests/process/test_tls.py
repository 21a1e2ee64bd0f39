"""The whole program under TLS: clients, both clusters, and certificates that change while it runs."""

from __future__ import annotations

import os
import re
import signal
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.authority import Authority, Identity
from tests.process.answers import OVERLOADED
from tests.process.awaiting import until
from tests.process.conftest import NewKeyspace, StartProxy
from tests.process.connection import Closed, CqlConnection
from tests.process.running_proxy import PROXY, Proxy
from tests.process.sandbox import ORIGIN, TARGET, Sandbox
from tests.process.test_command_line import run, settings
from tests.process.upgrading import Successor

LONG = 60.0
"""Seconds for what takes the proxy two looks at its files, on a busy machine."""

NAMES_UNCHECKED = "ZDM_TARGET_TLS_VERIFY is not set"


class Secured(NamedTuple):
    """Two clusters under TLS, target only for those who have a certificate, and the files that it takes."""

    sandbox: Sandbox
    authority: Authority
    directory: Path

    def keys(self) -> dict[str, Any]:
        """The configuration with TLS everywhere."""
        given = self.directory
        return {
            "origin_tls_server_ca_path": given / "ca.crt",
            "origin_tls_verify": "full",
            "target_tls_server_ca_path": given / "ca.crt",
            "target_tls_client_cert_path": given / "client.p12",
            "target_tls_client_key_path": given / "client.p12",
            "target_tls_client_key_passphrase_file": given / "passphrase",
            "proxy_tls_ca_path": given / "ca.crt",
            "proxy_tls_cert_path": given / "proxy.crt",
            "proxy_tls_key_path": given / "proxy.key",
            "proxy_tls_require_client_auth": "true",
        }

    def put(self, identity: Identity) -> None:
        """The proxy has another certificate from now on."""
        for path in identity.write(self.directory / "new", "proxy"):
            os.replace(path, self.directory / path.name)


@pytest.fixture(scope="module")
def _secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority()
    authority.write(directory)
    options = []
    for name, host in (("origin", ORIGIN), ("target", TARGET)):
        certificate, key = authority.sign(host).write(directory, name)
        options += [f"--{name}-tls-cert", str(certificate), f"--{name}-tls-key", str(key)]
    options += ["--target-tls-client-ca", str(directory / "ca.crt")]
    client = authority.sign()
    client.write(directory, "client")
    (directory / "client.p12").write_bytes(client.pkcs12(b"s3cret"))
    (directory / "passphrase").write_text("s3cret\n")
    tls = driver(authority, directory)
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox"), options=options, tls=tls)
    yield Secured(sandbox, authority, directory)
    sandbox.close()


@pytest.fixture
def secured(_secured: Secured) -> Iterator[Secured]:
    _secured.put(_secured.authority.sign(PROXY))
    yield _secured
    _secured.sandbox.calm()


def driver(authority: Authority, directory: Path | None) -> ssl.SSLContext:
    """An application's way to connect, with a certificate where there is a directory that has one."""
    context = ssl.create_default_context(cadata=authority.pem().decode())
    if directory is not None:
        context.load_cert_chain(directory / "client.crt", directory / "client.key")
    return context


def connect(running: Proxy, context: ssl.SSLContext) -> CqlConnection:
    return CqlConnection(running.host, running.port, tls=context).ready()


def count_on(secured: Secured, table: str) -> list[int]:
    return [len(cluster.query(f"SELECT k FROM {table}")) for cluster in secured.sandbox.clusters]


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_go_through_and_whoever_has_no_certificate_is_not_let_in(
    secured: Secured, proxy: StartProxy, keyspace: NewKeyspace, workers: int
) -> None:
    """TLS from the client to both clusters, each with its own rules; one-megabyte values in both directions."""
    ks = keyspace(secured.sandbox)
    running = proxy(*secured.sandbox.clusters, workers=workers, **secured.keys())
    running.tolerates(NAMES_UNCHECKED)
    context = driver(secured.authority, secured.directory)
    clients = [connect(running, context) for _ in range(4)]
    value = "v" * (1 << 20)
    for number, client in enumerate(clients):
        client.query(f"INSERT INTO {ks}.t (k, v) VALUES ({number}, '{value}')")
    assert count_on(secured, f"{ks}.t") == [4, 4]
    ((found,),) = clients[0].query(f"SELECT v FROM {ks}.t WHERE k = 3").rows
    assert len(found) == len(value) and set(found) == {"v"}
    assert 364 < running.metric('tls_certificate_expiry_seconds{cluster="proxy"}') / 86400 < 365
    running.announces(r"\[CLIENT-CONNECTOR\] error reading: tls: ")
    running.tolerates(r"\[CLIENT-CONNECTOR\] error reading: tls: ")
    with pytest.raises((OSError, Closed)):
        CqlConnection(running.host, running.port).handshake()
    with pytest.raises((OSError, Closed)):
        CqlConnection(running.host, running.port, tls=driver(secured.authority, None)).handshake()
    for client in clients:
        client.close()


@pytest.mark.timeout(300)
def test_a_new_certificate_is_used_while_clients_are_served(
    secured: Secured, proxy: StartProxy, keyspace: NewKeyspace
) -> None:
    """Who is connected notices nothing; a bad file is told of, and changes nothing."""
    ks = keyspace(secured.sandbox)
    running = proxy(*secured.sandbox.clusters, workers=2, **secured.keys())
    running.tolerates(NAMES_UNCHECKED)
    context = driver(secured.authority, secured.directory)
    clients = [connect(running, context) for _ in range(4)]
    is_over, written, faults = threading.Event(), [0] * 4, list[BaseException]()

    def load(place: int) -> None:
        try:
            while not is_over.is_set():
                clients[place].query(f"INSERT INTO {ks}.t (k, v) VALUES ({place * 100000 + written[place]}, 'v')")
                written[place] += 1
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=load, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    other = Authority("another")
    newer = driver(other, None)
    newer.load_cert_chain(secured.directory / "client.crt", secured.directory / "client.key")
    secured.put(other.sign(PROXY))
    running.tolerates(r"\[CLIENT-CONNECTOR\] error reading: ")  # the old certificate, which `newer` does not trust

    def several_have_the_new_one() -> bool:
        """Connections go to the worker that has the fewest: several at once reach both."""
        found = []
        for _ in range(4):
            try:
                found.append(connect(running, newer))
            except (OSError, Closed):
                break
        for client in found:
            client.close()
        return len(found) == 4

    running.program.signal(signal.SIGHUP)
    until(several_have_the_new_one, "new connections have the new certificate", LONG)
    running.announces("The TLS files have changed and cannot be used; what was read before stays in use")
    (secured.directory / "proxy.key").write_text("nothing of the kind")
    running.program.signal(signal.SIGHUP)
    running.said("The TLS files have changed and cannot be used.*ZDM_PROXY_TLS_KEY_PATH")
    until(several_have_the_new_one, "what was good stays in use", LONG)
    before = list(written)
    until(lambda: all(now > then for now, then in zip(written, before, strict=True)), "every client goes on")
    is_over.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert count_on(secured, f"{ks}.t") == [sum(written)] * 2
    for client in clients:
        client.close()


def test_a_start_waits_for_the_right_authority(secured: Secured, proxy: StartProxy, tmp_path: Path) -> None:
    """As it waits for a cluster; the operator reads why, mends it, and need not start it again."""
    path = Authority("wrong").write(tmp_path)
    keys = secured.keys() | {"origin_tls_server_ca_path": path}
    running = proxy(*secured.sandbox.clusters, ready=False, **keys)
    running.tolerates(NAMES_UNCHECKED)
    running.announces("Failed to open control connection to ORIGIN .*x509: certificate signed by unknown authority")
    running.announces("Couldn't start proxy")
    running.said("Couldn't start proxy, retrying in")
    new = tmp_path / "new"
    new.write_bytes(secured.authority.pem())
    os.replace(new, path)
    running.program.signal(signal.SIGHUP)
    running.wait_until_ready()


def test_the_target_is_switched_off_and_on_again(secured: Secured, proxy: StartProxy, keyspace: NewKeyspace) -> None:
    """Clients stay, and are attached to it anew with a handshake of their own."""
    ks = keyspace(secured.sandbox)
    running = proxy(*secured.sandbox.clusters, workers=2, target_park_ms=0, **secured.keys())
    running.tolerates(NAMES_UNCHECKED)
    running.announces("Target cluster DISABLED via API")
    running.announces("Target cluster ENABLED via API")
    client = connect(running, driver(secured.authority, secured.directory))
    client.query(f"INSERT INTO {ks}.t (k, v) VALUES (1, 'both')")
    assert running.post("/api/v1/target/disable").ok
    client.query(f"INSERT INTO {ks}.t (k, v) VALUES (2, 'origin')")
    assert running.post("/api/v1/target/enable").ok
    client.query(f"INSERT INTO {ks}.t (k, v) VALUES (3, 'both')")
    assert count_on(secured, f"{ks}.t") == [3, 2]
    client.close()


def test_check_does_the_handshakes(secured: Secured) -> None:
    """Whoever has it pass can start the proxy."""
    keys = {f"ZDM_{key.upper()}": str(value) for key, value in secured.keys().items()}
    environment = settings(*secured.sandbox.clusters) | keys
    done = run("check", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"TLS, proxy: certificates are valid for 36[45] days", done.stdout)
    missing = run("check", **environment | {"ZDM_TARGET_TLS_CLIENT_KEY_PATH": "/nowhere"})
    assert missing.returncode == 1
    assert "ZDM_TARGET_TLS_CLIENT_KEY_PATH: /nowhere cannot be read: No such file or directory" in missing.stdout
    wrong = run("check", **environment | {"ZDM_ORIGIN_TLS_SERVER_CA_PATH": str(secured.directory / "client.crt")})
    assert wrong.returncode == 1 and "x509: certificate signed by unknown authority" in wrong.stdout


class Driver:
    """One application's connection that writes on, and is opened anew where the proxy ends it."""

    def __init__(self, running: Proxy, context: ssl.SSLContext, table: str, number: int) -> None:
        self._open = lambda: connect(running, context)
        self._table = table
        self._connection = self._open()
        self._next = number * 1_000_000
        self.written = 0
        self.reconnected = 0

    def write(self) -> None:
        """One row, by as many tries as it takes."""
        self._next += 1
        while not self._is_written():
            self._connection.close()
            self._connection = self._open()
            self.reconnected += 1
        self.written += 1

    def _is_written(self) -> bool:
        try:
            answer = self._connection.query(f"INSERT INTO {self._table} (k, v) VALUES ({self._next}, 'x')")
        except Closed:
            return False
        assert answer.is_void or answer.error[0] == OVERLOADED, answer
        return answer.is_void

    def close(self) -> None:
        self._connection.close()


@pytest.mark.timeout(300)  # 1,200 handshakes: of clients and with both clusters, before and after
def test_an_upgrade_has_each_client_connect_again_once_at_most(
    secured: Secured, proxy: StartProxy, keyspace: NewKeyspace, successor: Successor
) -> None:
    """Its keys stay with the old program, which drains it; what was acknowledged is there."""
    table = f"{keyspace(secured.sandbox)}.t"
    running = proxy(*secured.sandbox.clusters, workers=2, proxy_drain_timeout_ms=1000, **secured.keys())
    running.tolerates(NAMES_UNCHECKED)
    context = driver(secured.authority, secured.directory)
    with ThreadPoolExecutor(8) as pool:
        drivers = list(pool.map(lambda number: Driver(running, context, table, number), range(200)))
        is_over = threading.Event()

        def work(ours: list[Driver]) -> None:
            while not is_over.is_set():
                for each in ours:
                    each.write()

        working = [pool.submit(work, drivers[part::4]) for part in range(4)]
        try:
            until(lambda: all(each.written for each in drivers), "all of them write")
            successor(running)
            before = sum(each.written for each in drivers)
            until(lambda: sum(each.written for each in drivers) > before + 200, "they go on")
        finally:
            is_over.set()
        for part in working:
            part.result()
    assert max(each.reconnected for each in drivers) == 1
    written = sum(each.written for each in drivers)
    assert all(count >= written for count in count_on(secured, table))
    for each in drivers:
        each.close()
