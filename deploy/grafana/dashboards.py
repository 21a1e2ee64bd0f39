"""Makes the dashboards beside it: what is on which panel is a table here, how Grafana wants it is written once.

python deploy/grafana/dashboards.py                # writes zdm-proxy.json and zdm-runtime.json
python deploy/grafana/dashboards.py --rules FILE   # all expressions as rules, which promtool can check
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
JOB = 'job=~"$job",instance=~"$instance"'
NODE = f'{JOB},node=~"$node"'
QUANTILES = ("0.5", "0.9", "0.99", "0.999")
WIDTH, HEIGHT, ACROSS = 8, 7, 24


class Panel(NamedTuple):
    """`queries` are pairs of an expression and the legend of its lines. A `stat` shows the value of now."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


class Row(NamedTuple):
    """A heading that can be folded up, and what stands under it."""

    title: str
    panels: tuple[Panel, ...]


def _rate(name: str, matchers: str = JOB) -> str:
    return f"rate({name}{{{matchers}}}[$window])"


def _sum(expression: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def _quantiles(name: str, matchers: str, *by: str) -> tuple[tuple[str, str], ...]:
    buckets = _sum(_rate(f"{name}_bucket", matchers), "le", *by)
    legend = "".join(f" {{{{{label}}}}}" for label in by)
    return tuple((f"histogram_quantile({q}, {buckets})", f"p{float(q) * 100:g}{legend}") for q in QUANTILES)


def _types(kinds: str) -> str:
    return f'type=~"{kinds}",{JOB}'


READS, WRITES = "reads_origin|reads_target", "writes"
DURATION, IN_FLIGHT = "zdm_proxy_request_duration_seconds", "zdm_proxy_inflight_requests_total"


def _latency(title: str, kinds: str) -> tuple[Panel, ...]:
    return (
        Panel(f"{title} latency", "s", _quantiles(DURATION, _types(kinds), "type")),
        Panel(f"{title} latency by instance", "s", _quantiles(DURATION, _types(kinds), "instance", "type")[2:3]),
    )


def _throughput(title: str, kinds: str) -> tuple[Panel, ...]:
    rate = _rate(f"{DURATION}_count", _types(kinds))
    return (
        Panel(f"{title} throughput", "reqps", ((_sum(rate, "type"), "{{type}}"),)),
        Panel(f"{title} throughput by instance", "reqps", ((_sum(rate, "instance", "type"), "{{instance}} {{type}}"),)),
    )


def _failures(title: str, name: str, label: str) -> tuple[Panel, ...]:
    legend = f"{{{{{label}}}}}"
    return (
        Panel(f"{title} per second", "ops", ((_sum(_rate(name), label), legend),)),
        Panel(
            f"{title} per second by instance",
            "ops",
            ((_sum(_rate(name), "instance", label), f"{{{{instance}}}} {legend}"),),
        ),
        Panel(f"{title}, all so far", "short", ((_sum(f"{name}{{{JOB}}}", label), legend),)),
    )


OVERVIEW = Row(
    "At a glance",
    (
        Panel("Target takes part (1) or is off (0)", "none", ((f"min(zdm_target_enabled{{{JOB}}})", "all"),), "stat"),
        Panel("Client connections", "none", ((_sum(f"zdm_client_connections_total{{{JOB}}}"), "all"),), "stat"),
        Panel("Requests per second", "reqps", ((_sum(_rate(f"{DURATION}_count")), "all"),), "stat"),
        Panel("Slowest of 100, by type", "s", (_quantiles(DURATION, JOB, "type")[2],), "stat"),
        Panel("Failed writes per second", "ops", ((_sum(_rate("zdm_proxy_failed_writes_total")), "all"),), "stat"),
        Panel(
            "Writes that target did not get, per second",
            "ops",
            ((_sum(_rate("zdm_target_skipped_requests_total", _types(WRITES))), "all"),),
            "stat",
        ),
    ),
)

PROXY = Row(
    "Proxy",
    (
        *_throughput("Read", READS),
        *_throughput("Write", WRITES),
        *_latency("Read", READS),
        *_latency("Write", WRITES),
        Panel("In flight by type", "short", ((_sum(f"{IN_FLIGHT}{{{JOB}}}", "type"), "{{type}}"),)),
        Panel("In flight by instance", "short", ((_sum(f"{IN_FLIGHT}{{{JOB}}}", "instance"), "{{instance}}"),)),
        Panel(
            "Client connections by instance",
            "short",
            ((_sum(f"zdm_client_connections_total{{{JOB}}}", "instance"), "{{instance}}"),),
        ),
        Panel("Prepared statements in the cache", "short", ((f"zdm_pscache_entries_total{{{JOB}}}", "{{instance}}"),)),
        Panel("Cache misses per second", "ops", ((_rate("zdm_pscache_miss_total"), "{{instance}}"),)),
        *_failures("Failed connections", "zdm_proxy_failed_connections_total", "cluster"),
        *_failures("Failed reads", "zdm_proxy_failed_reads_total", "cluster"),
        *_failures("Failed writes", "zdm_proxy_failed_writes_total", "failed_on"),
    ),
)

SWITCH = Row(
    "Target: on and off",
    (
        Panel("Target takes part, by instance", "none", ((f"zdm_target_enabled{{{JOB}}}", "{{instance}}"),)),
        Panel(
            "Clients without their target connection",
            "short",
            ((f"zdm_target_attaching_sessions{{{JOB}}}", "{{instance}}"),),
        ),
        Panel(
            "Requests that target did not get, per second",
            "ops",
            ((_sum(_rate("zdm_target_skipped_requests_total"), "reason", "type"), "{{type}} {{reason}}"),),
        ),
        Panel(
            "Requests that target did not get, all so far",
            "short",
            ((_sum(f"zdm_target_skipped_requests_total{{{JOB}}}", "reason", "type"), "{{type}} {{reason}}"),),
        ),
        Panel(
            "Writes per second that only origin has answered well, by table (ZDM_METRICS_MAX_TABLES)",
            "ops",
            (
                (
                    " - ".join(
                        _sum(_rate("zdm_proxy_write_success_total", f'cluster="{side}",{JOB}'), "keyspace", "table")
                        for side in ("origin", "target")
                    ),
                    "{{keyspace}}.{{table}}",
                ),
            ),
        ),
        Panel(
            "Requests whose answer from target nobody waited for",
            "short",
            ((_sum(f"zdm_target_abandoned_requests_total{{{JOB}}}", "type"), "{{type}}"),),
        ),
    ),
)


def _nodes(title: str, cluster: str) -> Row:
    name = f"zdm_{cluster}"
    errors, duration = f"{name}_requests_failed_total", f"{name}_request_duration_seconds"
    connections, streams = f"{name}_connections_total", f"{name}_used_stream_ids_total"
    failed = f"{name}_failed_connections_total"
    in_flight = Panel(
        "In flight", "short", ((_sum(f"zdm_async_inflight_requests_total{{{NODE}}}", "node"), "{{node}}"),)
    )
    return Row(
        title,
        (
            Panel(
                "Throughput by node",
                "reqps",
                ((_sum(_rate(f"{duration}_count", NODE), "node", "type"), "{{node}} {{type}}"),),
            ),
            Panel("Latency", "s", _quantiles(duration, NODE, "type")),
            Panel("Latency by node", "s", (_quantiles(duration, NODE, "node", "type")[2],)),
            Panel("Connections by node", "short", ((_sum(f"{connections}{{{NODE}}}", "node"), "{{node}}"),)),
            Panel(
                "Connections by instance", "short", ((_sum(f"{connections}{{{NODE}}}", "instance"), "{{instance}}"),)
            ),
            Panel("Failed connections per second", "ops", ((_sum(_rate(failed, NODE), "node"), "{{node}}"),)),
            Panel("Stream ids in use by node", "short", ((_sum(f"{streams}{{{NODE}}}", "node"), "{{node}}"),)),
            Panel("Errors per second by kind", "ops", ((_sum(_rate(errors, NODE), "error"), "{{error}}"),)),
            Panel(
                "Errors per second by node and kind",
                "ops",
                ((_sum(_rate(errors, NODE), "node", "error"), "{{node}} {{error}}"),),
            ),
            Panel(
                "Errors per second by instance and kind",
                "ops",
                ((_sum(_rate(errors, NODE), "instance", "error"), "{{instance}} {{error}}"),),
            ),
            Panel(
                "Errors by node and kind, all so far",
                "short",
                ((_sum(f"{errors}{{{NODE}}}", "node", "error"), "{{node}} {{error}}"),),
            ),
            *((in_flight,) if cluster == "async" else ()),
        ),
    )


INSIDE = Row(
    "What keeps the proxy busy",
    (
        Panel(
            "Settled by the proxy itself, per second",
            "ops",
            (
                (_sum(_rate("zdm_proxy_rejected_requests_total")), "told to retry"),
                (_sum(_rate("zdm_proxy_timed_out_requests_total")), "not answered in time"),
                (_sum(_rate("zdm_proxy_late_answers_total")), "answers that came too late"),
                (_sum(_rate("zdm_proxy_mended_unprepared_total")), "statements prepared again"),
            ),
        ),
        Panel("Bytes in flight", "bytes", ((f"zdm_inflight_bytes{{{JOB}}}", "{{instance}}"),)),
        Panel(
            "Clients held up because a side takes nothing",
            "short",
            ((_sum(_rate("zdm_socket_paused_seconds_total"), "side"), "{{side}}"),),
        ),
        Panel(
            "Clients held up because too much is in flight",
            "short",
            ((_sum(_rate("zdm_inflight_paused_seconds_total"), "limit"), "{{limit}}"),),
        ),
    ),
)

MEMORY = Row(
    "Processes",
    (
        Panel(
            "Memory",
            "bytes",
            (
                (f"process_resident_memory_bytes{{{JOB}}}", "{{instance}} resident"),
                (f"process_virtual_memory_bytes{{{JOB}}}", "{{instance}} virtual"),
            ),
        ),
        Panel(
            "Growth of resident memory per second",
            "Bps",
            ((f"deriv(process_resident_memory_bytes{{{JOB}}}[$window])", "{{instance}}"),),
        ),
        Panel("Processors in use", "short", ((_rate("process_cpu_seconds_total"), "{{instance}}"),)),
        Panel(
            "Open files",
            "short",
            (
                (f"process_open_fds{{{JOB}}}", "{{instance}}"),
                (f"process_max_fds{{{JOB}}}", "{{instance}} at most"),
            ),
        ),
        Panel("Since the start", "s", ((f"time() - process_start_time_seconds{{{JOB}}}", "{{instance}}"),)),
        Panel(
            "Processor time per request",
            "s",
            (
                (
                    f"{_sum(_rate('process_cpu_seconds_total'), 'instance')}"
                    f" / {_sum(_rate(f'{DURATION}_count'), 'instance')}",
                    "{{instance}}",
                ),
            ),
        ),
    ),
)

WORKERS = Row(
    "Workers (where there are several)",
    (
        Panel(
            "Requests per second by worker",
            "reqps",
            ((_rate("zdm_worker_requests_total"), "{{instance}} {{worker}}"),),
        ),
        Panel(
            "Client connections by worker",
            "short",
            ((f"zdm_worker_client_connections{{{JOB}}}", "{{instance}} {{worker}}"),),
        ),
        Panel("Workers that ended by themselves", "short", ((f"zdm_worker_restarts_total{{{JOB}}}", "{{instance}}"),)),
    ),
)

DASHBOARDS = {
    "zdm-proxy": (
        "ZDM proxy",
        (
            OVERVIEW,
            PROXY,
            SWITCH,
            _nodes("Nodes of origin", "origin"),
            _nodes("Nodes of target", "target"),
            _nodes("Copied reads", "async"),
            INSIDE,
        ),
    ),
    "zdm-runtime": ("ZDM proxy: processes", (MEMORY, WORKERS)),
}


def dashboard(uid: str, title: str, rows: tuple[Row, ...]) -> dict[str, Any]:
    """As Grafana's JSON model."""
    return {
        "uid": uid,
        "title": title,
        "tags": ["zdm"],
        "schemaVersion": 30,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": list(_variables(has_nodes=uid == "zdm-proxy"))},
        "panels": list(_placed(rows)),
    }


def expressions() -> Iterator[str]:
    """What all panels of all dashboards ask."""
    for _, rows in DASHBOARDS.values():
        for row in rows:
            for panel in row.panels:
                for expression, _ in panel.queries:
                    yield expression


def _variables(has_nodes: bool) -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    yield _values("job", "zdm_client_connections_total")
    yield _values("instance", 'zdm_client_connections_total{job=~"$job"}')
    if has_nodes:
        yield _values("node", '{__name__=~"zdm_(origin|target|async)_connections_total",job=~"$job"}')
    windows = ["1m", "2m", "5m", "15m"]
    yield {
        "name": "window",
        "label": "Rates over",
        "type": "custom",
        "query": ",".join(windows),
        "current": {"text": "5m", "value": "5m"},
        "options": [{"text": window, "value": window, "selected": window == "5m"} for window in windows],
    }


def _values(label: str, series: str) -> dict[str, Any]:
    query = f"label_values({series}, {label})"
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": "$datasource",
        "query": query,
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _placed(rows: tuple[Row, ...]) -> Iterator[dict[str, Any]]:
    number = top = 0
    for row in rows:
        number += 1
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": []} | _at(
            0, top, ACROSS, 1
        )
        top += 1
        width = ACROSS // len(row.panels) if row.panels[0].kind == "stat" else WIDTH
        for place, panel in enumerate(row.panels):
            number += 1
            left = place * width % ACROSS
            yield _shown(number, panel) | _at(left, top + place * width // ACROSS * HEIGHT, width, HEIGHT)
        top += -(-len(row.panels) * width // ACROSS) * HEIGHT


def _at(left: int, top: int, width: int, height: int) -> dict[str, Any]:
    return {"gridPos": {"x": left, "y": top, "w": width, "h": height}}


def _shown(number: int, panel: Panel) -> dict[str, Any]:
    is_stat = panel.kind == "stat"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": "$datasource",
        "fieldConfig": {"defaults": {"unit": panel.unit} | ({} if is_stat else {"min": 0}), "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}} if is_stat else {"legend": {"displayMode": "list"}},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend}
            for place, (expression, legend) in enumerate(panel.queries)
        ],
    }


def text(uid: str) -> str:
    """What the file of a dashboard is to hold."""
    return json.dumps(dashboard(uid, *DASHBOARDS[uid]), indent=1) + "\n"


def rules() -> str:
    """All expressions as recording rules, with values for the variables: JSON, which is YAML too."""
    filled = [one.replace("$window", "5m").replace("$", "") for one in expressions()]
    listed = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(filled)]
    return json.dumps({"groups": [{"name": "panels", "rules": listed}]}, indent=1) + "\n"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rules"]:
        Path(sys.argv[2]).write_text(rules())
    else:
        for uid in DASHBOARDS:
            (HERE / f"{uid}.json").write_text(text(uid))
