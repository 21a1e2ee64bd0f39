"""The demo: two sandbox clusters, the proxy before them, an application that knows of neither, and a look at both.

python demo/run.py            exit code 0 where both clusters hold the same rows
python demo/run.py --keep     leaves everything running until Ctrl-C
python demo/run.py --break    damages one row on target first: the difference is found, exit code 1
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import application  # noqa: E402  # beside this file, wherever the demo is started from
from cassandra.auth import PlainTextAuthProvider  # noqa: E402
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session  # noqa: E402
from cassandra.policies import WhiteListRoundRobinPolicy  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

ADDRESS = "127.0.0.1"
PATIENCE = 30.0
ORIGIN_LOGIN = ("origin_user", "origin_secret")
TARGET_LOGIN = ("target_user", "target_secret")

console = Console(width=110)


class DemoFailed(Exception):
    """Something did not start; the text says what, and what it said."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Show a dual write through the proxy, on clusters in memory.")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    parser.add_argument("--break", dest="damage", action="store_true", help="damage one row on target first")
    options = parser.parse_args()
    origin, target, proxy, metrics = free_ports(4)
    try:
        with sandbox(origin, target), running_proxy(origin, target, proxy, metrics):
            differences = show(origin, target, proxy, metrics, options.damage)
            if options.keep:
                wait_for_interrupt()
    except DemoFailed as failed:
        console.print(f"The demo could not run: {failed}", style="red", highlight=False)
        return 2
    return 1 if differences else 0


def show(origin: int, target: int, proxy: int, metrics: int, damage: bool) -> int:
    with session_to(proxy, TARGET_LOGIN) as session:
        run_application(session)
    with session_to(origin, ORIGIN_LOGIN) as on_origin, session_to(target, TARGET_LOGIN) as on_target:
        if damage:
            on_target.execute(
                f"UPDATE {application.KEYSPACE}.users SET email = 'damaged' WHERE id = %s", (application.user_id(7),)
            )
            console.print("One row on target was damaged on purpose, past the proxy.", style="yellow")
        differences = compare(on_origin, on_target)
    user, password = TARGET_LOGIN
    cqlsh = ".venv/bin/cqlsh --protocol-version 4"
    console.print(
        "\nConnect yourself (while it runs: make demo KEEP=1):\n"
        f"  proxy    {cqlsh} -u {user} -p {password} {ADDRESS} {proxy}\n"
        f"  origin   {cqlsh} -u {ORIGIN_LOGIN[0]} -p {ORIGIN_LOGIN[1]} {ADDRESS} {origin}\n"
        f"  target   {cqlsh} -u {user} -p {password} {ADDRESS} {target}\n"
        f"  metrics  http://{ADDRESS}:{metrics}/metrics    health  http://{ADDRESS}:{metrics}/health/readiness",
        highlight=False,
    )
    return differences


def run_application(session: Session) -> None:
    console.print("The application writes through the proxy:", style="bold")
    application.create_schema(session)
    console.print("  schema: a keyspace and four tables")
    console.print(f"  users: {application.write_users(session)} statements, prepared and simple")
    console.print(f"  events: {application.write_events(session)} batches, prepared and mixed")
    console.print(f"  page views: {application.count_page_views(session)} counter updates, one of them a batch")
    taken, refused = application.take_names(session)
    console.print(f"  names: {taken} taken, {refused} refused because they were taken (IF NOT EXISTS)")
    rows, pages = application.read_events(session)
    console.print(f"  read back through the proxy: {rows} events in {pages} pages")


def compare(on_origin: Session, on_target: Session) -> int:
    """Read every row of both clusters directly; print the counts and each difference, and return their number."""
    table = Table("table", "rows on origin", "rows on target", "differences", title="\nBoth clusters, read directly")
    found: list[str] = []
    for name in application.TABLES:
        origin, target = rows_of(on_origin, name), rows_of(on_target, name)
        different = sorted(key for key in origin.keys() | target.keys() if origin.get(key) != target.get(key))
        found += [f"{name} {key}: origin {origin.get(key)}, target {target.get(key)}" for key in different]
        table.add_row(name, str(len(origin)), str(len(target)), str(len(different)))
    console.print(table)
    console.print(f"differences: {len(found)}", style="red" if found else "green")
    for line in found:
        console.print(f"  {line}", highlight=False, soft_wrap=True)
    return len(found)


def rows_of(session: Session, table: str) -> dict[str, dict[str, Any]]:
    """Every row by its primary key, as text."""
    keys = {"users": ["id"], "events": ["user", "number"], "page_views": ["page"], "names": ["name"]}[table]
    rows = [row._asdict() for row in session.execute(f"SELECT * FROM {application.KEYSPACE}.{table}")]
    return {" ".join(str(row[key]) for key in keys): row for row in rows}


@contextmanager
def session_to(port: int, login: tuple[str, str]) -> Iterator[Session]:
    profile = ExecutionProfile(load_balancing_policy=WhiteListRoundRobinPolicy([ADDRESS]))
    cluster = Cluster(
        [ADDRESS],
        port=port,
        protocol_version=4,
        auth_provider=PlainTextAuthProvider(*login),
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
    )
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()


@contextmanager
def sandbox(origin: int, target: int) -> Iterator[None]:
    command = [sys.executable, "-m", "zdm", "sandbox"]
    command += ["--origin", f"{ADDRESS}:{origin}", "--origin-auth", ":".join(ORIGIN_LOGIN)]
    command += ["--target", f"{ADDRESS}:{target}", "--target-auth", ":".join(TARGET_LOGIN)]
    with process("sandbox", command, {}) as started:
        assert started.stdout is not None
        ready, _, _ = select.select([started.stdout], [], [], PATIENCE)
        line = started.stdout.readline() if ready else b""
        if not line.startswith(b"sandbox ready"):
            raise DemoFailed("the sandbox did not become ready; what it said is above")
        console.print(f"Two clusters in memory: origin on port {origin}, target on port {target}.")
        yield


@contextmanager
def running_proxy(origin: int, target: int, port: int, metrics: int) -> Iterator[None]:
    environment = {
        "ZDM_ORIGIN_CONTACT_POINTS": ADDRESS,
        "ZDM_ORIGIN_PORT": str(origin),
        "ZDM_ORIGIN_USERNAME": ORIGIN_LOGIN[0],
        "ZDM_ORIGIN_PASSWORD": ORIGIN_LOGIN[1],
        "ZDM_TARGET_CONTACT_POINTS": ADDRESS,
        "ZDM_TARGET_PORT": str(target),
        "ZDM_TARGET_USERNAME": TARGET_LOGIN[0],
        "ZDM_TARGET_PASSWORD": TARGET_LOGIN[1],
        "ZDM_PROXY_LISTEN_ADDRESS": ADDRESS,
        "ZDM_PROXY_LISTEN_PORT": str(port),
        "ZDM_METRICS_ADDRESS": ADDRESS,
        "ZDM_METRICS_PORT": str(metrics),
        "ZDM_LOG_LEVEL": "ERROR",
    }
    with process("proxy", [sys.executable, "-m", "zdm"], environment) as started:
        deadline = time.monotonic() + PATIENCE
        while not is_ready(metrics):
            if started.poll() is not None or time.monotonic() > deadline:
                raise DemoFailed("the proxy did not become ready; what it said is above")
            select.select([], [], [], 0.05)
        console.print(f"The proxy is ready on port {port}: applications connect here.\n")
        yield


def is_ready(metrics: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{ADDRESS}:{metrics}/health/readiness", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def process(name: str, command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the demo, ended with it."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ZDM_")}
    started = subprocess.Popen(command, env=inherited | environment, stdout=subprocess.PIPE)
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            console.print(f"The {name} did not end by itself and is killed.", style="red")
            started.kill()
            started.wait()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((ADDRESS, 0)) for _ in range(count)]
    ports = [int(opened.getsockname()[1]) for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def wait_for_interrupt() -> None:
    console.print("\nEverything keeps running. Ctrl-C ends it.", style="bold")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("\nEnding.")


if __name__ == "__main__":
    sys.exit(main())
