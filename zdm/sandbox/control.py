"""The HTTP control of clusters that run as a program of their own. JSON in and out, on a loopback address only.

    GET    /clusters                                names, nodes, whether each is up
    POST   /clusters/NAME/faults                    puts a fault in force -> {"id": 1}
    GET    /clusters/NAME/faults                    those in force
    DELETE /clusters/NAME/faults[/ID]               lifts one, or all
    GET    /clusters/NAME/requests                  {"counts": {"QUERY": 3}, "log": [...]}
    DELETE /clusters/NAME/requests                  forgets them
    POST   /clusters/NAME/prepared/forget           every prepared id becomes unknown
    POST   /clusters/NAME/prepared/salt             {"salt": "x"}: prepared ids differ from those without it
    POST   /clusters/NAME/nodes/INDEX/ACTION        start, stop, cut, refuse, stall, resume

A fault: {"action": "error" | "drop" | "close" | "delay", "text": part of the statement, "opcode": "EXECUTE", "node": 0,
"count": 1, "delay_ms": 100, "executes": true, "code": "WRITE_TIMEOUT" or 4352, "message": "...", and its fields:
"consistency", "required", "received", "alive", "write_type", "data_present", "failures"}. All but `action` may be left
out. What can't be understood is answered 400 with {"error": why}, an unknown name 404.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from klein import Klein
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.iweb import IRequest
from twisted.web.server import Site

from zdm.protocol.opcodes import opcode_name
from zdm.sandbox.faults import Fault, fault_from_json

if TYPE_CHECKING:
    from zdm.sandbox.clusters import SandboxCluster

_ACTIONS: Final = ("start", "stop", "cut", "refuse", "stall", "resume")


class ControlSite:
    """Serves the control of some clusters from `start` to the end of the process; `host` and `port` are set then."""

    def __init__(self, clusters: Sequence[SandboxCluster], reactor: Any) -> None:
        self.clusters = {cluster.name: cluster for cluster in clusters}
        self.reactor = reactor
        self.host = ""
        self.port = 0
        self.app = _routes(self)

    def cluster(self, name: str) -> SandboxCluster:
        if name not in self.clusters:
            raise _Unknown(f"no cluster {name}")
        return self.clusters[name]

    def start(self, host: str, port: int) -> Deferred[Any]:
        """Fires when the port is open. Raises ValueError for an address that others can reach."""
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"The control is served on loopback addresses only, not on {host}")
        self.host = host
        site = Site(self.app.resource())
        site.noisy = False
        opened: Deferred[Any] = TCP4ServerEndpoint(self.reactor, port, interface=host).listen(site)
        return opened.addCallback(self._opened)

    def _opened(self, listening: Any) -> None:
        self.port = listening.getHost().port


class _Unknown(Exception):
    """A cluster, node or action that is not there."""


def _routes(control: ControlSite) -> Klein:
    app = Klein()
    _route_faults(app, control)
    _route_nodes(app, control)

    @app.handle_errors(_Unknown)
    def unknown(request: IRequest, failure: Any) -> bytes:
        return _json(request, {"error": str(failure.value)}, 404)

    @app.handle_errors(ValueError)
    def wrong(request: IRequest, failure: Any) -> bytes:
        return _json(request, {"error": str(failure.value)}, 400)

    @app.route("/clusters", methods=["GET"])
    def clusters(request: IRequest) -> bytes:
        return _json(request, [_cluster_json(cluster) for cluster in control.clusters.values()])

    return app


def _route_faults(app: Klein, control: ControlSite) -> None:
    @app.route("/clusters/<name>/faults", methods=["GET", "POST", "DELETE"])
    def faults(request: IRequest, name: str) -> bytes:
        known = control.cluster(name).faults
        if request.method == b"POST":
            return _json(request, {"id": known.add(fault_from_json(_body(request)))}, 201)
        if request.method == b"DELETE":
            known.remove()
        return _json(request, [_fault_json(fault) for fault in known.active.values()])

    @app.route("/clusters/<name>/faults/<int:number>", methods=["DELETE"])
    def fault(request: IRequest, name: str, number: int) -> bytes:
        known = control.cluster(name).faults
        if number not in known.active:
            raise _Unknown(f"no fault {number}")
        known.remove(number)
        return _json(request, [_fault_json(fault) for fault in known.active.values()])

    @app.route("/clusters/<name>/requests", methods=["GET", "DELETE"])
    def requests(request: IRequest, name: str) -> bytes:
        known = control.cluster(name).faults
        if request.method == b"DELETE":
            known.forget_requests()
        log = [
            {"node": record.node, "opcode": opcode_name(record.opcode), "stream": record.stream, "text": record.text}
            for record in known.log
        ]
        return _json(request, {"counts": known.counts, "log": log})


def _route_nodes(app: Klein, control: ControlSite) -> None:
    @app.route("/clusters/<name>/prepared/forget", methods=["POST"])
    def forget(request: IRequest, name: str) -> bytes:
        control.cluster(name).forget_prepared()
        return _json(request, {})

    @app.route("/clusters/<name>/prepared/salt", methods=["POST"])
    def salt(request: IRequest, name: str) -> bytes:
        control.cluster(name).prepared_salt = str(_body(request).get("salt", "")).encode()
        return _json(request, {})

    @app.route("/clusters/<name>/nodes/<int:index>/<action>", methods=["POST"])
    def node(request: IRequest, name: str, index: int, action: str) -> Any:
        cluster = control.cluster(name)
        if index >= len(cluster.nodes) or action not in _ACTIONS:
            raise _Unknown(f"no node {index} or no action {action}")
        done = maybeDeferred(getattr(cluster.nodes[index], action))
        return done.addCallback(lambda result: _json(request, _cluster_json(cluster)))


def _json(request: IRequest, value: object, code: int = 200) -> bytes:
    request.setResponseCode(code)
    request.setHeader(b"content-type", b"application/json")
    return json.dumps(value).encode() + b"\n"


def _body(request: Any) -> dict[str, object]:
    try:
        value = json.loads(request.content.read() or b"{}")
    except json.JSONDecodeError as fault:
        raise ValueError(f"The body is no JSON: {fault}") from None
    if not isinstance(value, dict):
        raise ValueError("The body is no JSON object")
    return value


def _cluster_json(cluster: SandboxCluster) -> dict[str, object]:
    nodes = [
        {"host": node.host, "port": node.port, "is_up": node.is_up,
         "refuses": node.refuses, "is_stalled": node.is_stalled,
         "connections": len(node.connections)}
        for node in cluster.nodes
    ]  # fmt: skip
    return {"name": cluster.name, "release_version": cluster.release_version, "nodes": nodes}


def _fault_json(fault: Fault) -> dict[str, object]:
    return {
        "id": fault.id,
        "action": fault.action,
        "text": fault.text,
        "opcode": None if fault.opcode is None else opcode_name(fault.opcode),
        "node": fault.node,
        "count": fault.count,
        "delay_ms": fault.delay_ms,
        "code": None if fault.error is None else int(fault.error.code),
        "executes": fault.executes,
    }
