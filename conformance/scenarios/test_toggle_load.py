"""The toggle under load: no client sees an error, and every write is where it must be, once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from conformance.backends.interface import Credentials
from conformance.client import Client
from conformance.comparison import Both
from conformance.load import COUNTER_TABLE, KINDS, ROW_TABLE, Change, Load, Write, counted, longest_during, met
from conformance.proxy import Proxy
from conformance.toggling import Relayed, Toggle

pytestmark = [pytest.mark.toggle, pytest.mark.load, pytest.mark.needs("rows", "proxy")]

CLIENTS = 50
# how often off and on, and in how many seconds
WITHOUT_LOGIN = (100, 20.0)
WITH_LOGIN = (10, 10.0)
ANSWERS_AFTER = 0.005
PATIENCE: dict[str, dict[str, str]] = {
    "patient": {},
    "impatient": {"ZDM_TARGET_PARK_MS": "0", "ZDM_TARGET_DISABLE_DRAIN_MS": "1"},
}
Record = Callable[[str, object], None]

APART = 0.087
"""Seconds between an application's writes: were they in step with the changes, these might all meet none."""


def switch_on_and_off(toggle: Toggle, cycles: int, seconds: float) -> list[Change]:
    """Evenly spread over the time; a call that takes longer than its share puts off those that follow."""
    changes = []
    due = time.monotonic() + min(0.5, seconds / cycles)  # the load runs by then
    for step in range(2 * cycles):
        threading.Event().wait(max(0.0, due - time.monotonic()))
        sent = time.monotonic()
        toggle.enable() if step % 2 else toggle.disable()
        changes.append(Change(sent, time.monotonic(), bool(step % 2)))
        due += seconds / (2 * cycles)
    return changes


def assert_no_errors(load: Load, writes: list[Write]) -> None:
    errors = [write for write in writes if write.error]
    assert not errors, f"{len(errors)} of {len(writes)} writes failed: {errors[:3]}"
    assert load.reopened == 0, "an application reconnected"


def record(numbers: dict[str, Any], record_property: Record) -> None:
    for name, number in numbers.items():
        record_property(name, number)


def took(changes: list[Change]) -> float:
    return changes[-1].answered - changes[0].sent


def numbers_of(writes: list[Write], changes: list[Change], proxy: Proxy) -> dict[str, Any]:
    times = sorted(write.ended - write.began for write in writes)
    return {
        "writes": len(writes),
        "changes": len(changes),
        "changes_took_s": round(took(changes), 1),
        "slowest_change_ms": round(1000 * max(change.answered - change.sent for change in changes)),
        "changes_met_a_write": sum(met(writes, change) for change in changes),
        "write_p50_ms": round(1000 * times[len(times) // 2]),
        "write_p99_ms": round(1000 * times[len(times) * 99 // 100]),
        "longest_write_ms": round(1000 * times[-1]),
        "longest_write_during_a_change_ms": round(1000 * longest_during(writes, changes)),
        "skipped": Toggle(proxy).skipped_writes(),
        "abandoned": Toggle(proxy).abandoned_writes(),
    }


def test_ten_writers_see_no_error_in_three_toggles(
    relayed: Callable[..., Relayed], credentials: Credentials | None, connect: Callable[..., Client], both: Both,
    table: str, protocol: int, record_property: Record,
) -> None:  # fmt: skip
    """Fifty writes each, 30 ms apart; off for 200 ms and on for 200 ms. The reference allows 5 % errors here."""
    proxy = relayed(6, ANSWERS_AFTER).proxy
    entry = proxy.entry(credentials)
    connect(at=entry).execute(f"CREATE TABLE {table} {ROW_TABLE}")
    toggle = Toggle(proxy)
    with Load(entry, protocol, both.keyspace, table, 10, pause=0.03, limit=50) as load:
        skipped, abandoned = toggle.skipped_writes(), toggle.abandoned_writes()
        load.start()
        changes = switch_on_and_off(toggle, 3, 1.2)
        writes = load.finish()
    assert len(writes) == 500
    assert_no_errors(load, writes)
    skipped, abandoned = toggle.skipped_writes() - skipped, toggle.abandoned_writes() - abandoned
    rows = both.each(f"SELECT k, v FROM {table}")
    assert rows["origin"] == sorted(((write.key, write.kind) for write in writes), key=repr)
    assert set(rows["target"]) <= set(rows["origin"])
    assert 500 - skipped - abandoned <= len(rows["target"]) <= 500 - skipped
    assert 0 < skipped < 500, "the toggle changed nothing"
    record(numbers_of(writes, changes, proxy), record_property)


@pytest.mark.needs("counters")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("patience", PATIENCE)
def test_fifty_applications_count_once_whatever_the_toggle_does(
    patience: str, relayed: Callable[..., Relayed], credentials: Credentials | None, connect: Callable[..., Client],
    both: Both, table: str, protocol: int, record_property: Record,
) -> None:  # fmt: skip
    """100 times off and on in 20 s, with logins 10 times in 10 s; clusters that answer after 5 ms; counters tell all.

    By default connections to the target outlive so short a time, and what was sent there is waited for. Without
    patience each change closes and opens them all, and what the target owes is given up.
    """
    behind = relayed(7, ANSWERS_AFTER, **PATIENCE[patience])
    proxy = behind.proxy
    entry = proxy.entry(credentials)
    connect(at=entry).execute(f"CREATE TABLE {table} {COUNTER_TABLE}")
    toggle = Toggle(proxy)
    cycles, seconds = WITH_LOGIN if credentials else WITHOUT_LOGIN
    with Load(entry, protocol, both.keyspace, table, CLIENTS, counts=True, pause=APART) as load:
        load.start()
        connections = int(proxy.metric("zdm_client_connections_total"))
        assert connections >= CLIENTS
        changes = switch_on_and_off(toggle, cycles, seconds)
        writes = load.stop()
    numbers = {"clients": CLIENTS, "client_connections": connections} | numbers_of(writes, changes, proxy)
    record(numbers, record_property)
    assert_no_errors(load, writes)
    assert numbers["changes_met_a_write"] >= 0.9 * len(changes)
    assert took(changes) < 1.5 * seconds, "the proxy is too slow to be switched so often"
    assert numbers["skipped"] > 0, "the toggle changed nothing"
    proxy.target.await_dual()
    assert_counted_once(both, table, writes, numbers["skipped"], numbers["abandoned"])


def assert_counted_once(both: Both, table: str, writes: list[Write], skipped: int, abandoned: int) -> None:
    """Origin has every acknowledged write once; the target all but those that were kept from it."""
    counts = both.each(f"SELECT k, {', '.join(KINDS)} FROM {table}")
    acknowledged = counted(writes)
    wanted = [(client, *(kinds[kind] for kind in KINDS)) for client, kinds in acknowledged.items()]
    assert counts["origin"] == sorted(wanted, key=repr)
    origin, target = (sum(sum(n or 0 for n in row[1:]) for row in counts[name]) for name in ("origin", "target"))
    assert origin - skipped - abandoned <= target <= origin - skipped
    on_origin = {row[0]: row[1:] for row in counts["origin"]}
    for client, *numbers in counts["target"]:
        assert all((number or 0) <= limit for number, limit in zip(numbers, on_origin[client], strict=True)), client
