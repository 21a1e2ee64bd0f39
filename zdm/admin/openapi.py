"""The HTTP interface as an OpenAPI 3.1 document, served at `/api/v1/openapi.json`; the tests hold it against the app.

It describes every route of the metrics address, those that are older than the API among them.
"""

from __future__ import annotations

from typing import Any, Final

from zdm import __version__
from zdm.admin.change import ACTOR_LIMIT, BODY_LIMIT, HIDDEN, REASON_LIMIT

_STATE = {"$ref": "#/components/schemas/Target"}


def calls() -> list[dict[str, str]]:
    """The API in short: method, path and summary of each call."""
    return [
        {"method": method.upper(), "path": path, "summary": call["summary"]}
        for path, methods in DOCUMENT["paths"].items()
        for method, call in methods.items()
        if path.startswith("/api/")
    ]


def _text(description: str, content_type: str = "text/plain") -> dict[str, Any]:
    return {"description": description, "content": {content_type: {"schema": {"type": "string"}}}}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _told(description: str) -> dict[str, Any]:
    return _json(description, _STATE)


_VERB: Final = {
    **_text("The path takes another method: see the header."),
    "headers": {"Allow": {"required": True, "schema": {"type": "string"}}},
}
_NOT_READY: Final = _told("The proxy does not serve clients yet, or no more: message `proxy not ready`.")

_PRINTABLE: Final = {"type": "string", "pattern": f"^[^{HIDDEN}]*$"}

_CHANGE_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "reason": {
        **_PRINTABLE,
        "maxLength": REASON_LIMIT,
        "description": "Kept, logged and audited; line breaks in it become spaces.",
    },
    "actor": {
        **_PRINTABLE,
        "maxLength": ACTOR_LIMIT,
        "description": "Who wants it; the client's address where left out.",
    },
    "force": {"type": "boolean", "description": "Override what would be answered 409."},
}
_CHANGE_SCHEMA: Final = {"type": "object", "properties": _CHANGE_FIELDS}
_CHANGE: Final = {
    "parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in _CHANGE_FIELDS.items()],
    "requestBody": {
        "required": False,
        "description": (
            f"Each field once, here or in the query; other fields are ignored. At most {BODY_LIMIT} bytes."
        ),
        "content": {
            "application/json": {"schema": _CHANGE_SCHEMA},
            "application/x-www-form-urlencoded": {"schema": _CHANGE_SCHEMA},
        },
    },
    "security": [{}, {"token": []}],
}


def _change(name: str, summary: str, description: str, done: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "description": description,
        **_CHANGE,
        "responses": {
            "200": _told(f"{done} All sessions act upon it. The same where it was so already."),
            "202": _told("Taken and stored before the proxy is ready; it starts accordingly."),
            "400": _told("The request cannot be understood; `message` says what to send."),
            "403": _told("A token is needed and missing, wrong or not configured; or the request is a web page's."),
            "405": _VERB,
            "409": _told("The configuration forbids it; `message` says why. `force=true` overrides."),
            "413": _told("The body is too large."),
            "503": _NOT_READY,
        },
    }


_NULL_WHEN_STOPPING: Final = "null while the proxy shuts down"

_TARGET_SCHEMA: Final = {
    "type": "object",
    "required": ["enabled", "desired", "effective", "generation", "since", "reason", "actor", "attaching", "stored"],
    "additionalProperties": False,
    "properties": {
        "enabled": {"type": ["boolean", "null"], "description": f"What is wanted; {_NULL_WHEN_STOPPING}."},
        "message": {"type": "string", "minLength": 1},
        "desired": {"enum": ["ENABLED", "DISABLED", None]},
        "effective": {
            "enum": ["DUAL", "ORIGIN_ONLY", "ATTACHING", None],
            "description": "ATTACHING: enabled, and some clients still lack their target connection. "
            "null until the proxy serves clients.",
        },
        "generation": {"type": ["integer", "null"], "description": "Of the last change that all sessions have."},
        "since": {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "When it was changed last, in UTC; null where it never was.",
        },
        "reason": {"type": ["string", "null"]},
        "actor": {"type": ["string", "null"]},
        "attaching": {"type": ["integer", "null"], "minimum": 0, "description": "Clients that still lack it."},
        "stored": {
            "type": ["boolean", "null"],
            "description": "A restart will know what is wanted. null: no state file is configured, so it will not.",
        },
    },
}

_CLUSTER_SCHEMA: Final = {
    "type": ["object", "null"],
    "required": ["Addr", "CurrentFailureCount", "FailureCountThreshold", "Status"],
    "additionalProperties": False,
    "properties": {
        "Addr": {"type": "string"},
        "CurrentFailureCount": {"type": "integer"},
        "FailureCountThreshold": {"type": "integer"},
        "Status": {"enum": ["UP", "DOWN"]},
    },
}

_READINESS_SCHEMA: Final = {
    "type": "object",
    "required": ["OriginStatus", "TargetStatus", "Status"],
    "additionalProperties": False,
    "properties": {
        "OriginStatus": {"$ref": "#/components/schemas/Cluster"},
        "TargetStatus": {"$ref": "#/components/schemas/Cluster"},
        "Status": {"enum": ["STARTUP", "UP", "DOWN"]},
    },
}

_LIST_SCHEMA: Final = {
    "type": "object",
    "required": ["openapi", "calls"],
    "properties": {
        "openapi": {"type": "string"},
        "calls": {
            "type": "array",
            "items": {"type": "object", "required": ["method", "path", "summary"]},
        },
    },
}


def _liveness(name: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": "Whether the process answers",
        "responses": {"200": _text("`OK`, in every state of the proxy and by any method.")},
    }


DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {
        "title": "zdm-proxy",
        "version": __version__,
        "description": (
            "What the metrics address of a proxy answers. On a loopback address changes are open to whoever connects, "
            "unless `admin_token` is set; on any other they need that token, and are refused where there is none. "
            "Reading never needs it. There is no CORS."
        ),
    },
    "paths": {
        "/api/v1": {
            "get": {
                "operationId": "listCalls",
                "summary": "What the API offers",
                "responses": {"200": _json("The calls.", _LIST_SCHEMA), "405": _VERB},
            }
        },
        "/api/v1/openapi.json": {
            "get": {
                "operationId": "openapi",
                "summary": "This document",
                "responses": {"200": _json("OpenAPI 3.1.", {"type": "object"}), "405": _VERB},
            }
        },
        "/api/v1/target": {
            "get": {
                "operationId": "targetStatus",
                "summary": "Whether requests go to the target",
                "responses": {"200": _told("The state."), "405": _VERB, "503": _NOT_READY},
            }
        },
        "/api/v1/target/enable": {
            "post": _change(
                "enableTarget",
                "Put the target back into the path",
                "Sessions without a target connection get one: `attaching` falls to 0.",
                "Requests go to the target.",
            )
        },
        "/api/v1/target/disable": {
            "post": _change(
                "disableTarget",
                "Take the target out of the path",
                "Applications go on with origin alone. Taken while the proxy still waits for its clusters, too.",
                "Nothing goes to the target.",
            )
        },
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "The proxy's numbers in Prometheus' text form 0.0.4",
                "responses": {
                    "200": _text("The families."),
                    "404": _text("Metrics are switched off."),
                    "503": _text("The proxy does not run yet, or no more."),
                },
            }
        },
        "/health/liveness": {"get": _liveness("liveness")},
        "/health/liveliness": {"get": _liveness("liveliness")},
        "/health/readiness": {
            "get": {
                "operationId": "readiness",
                "summary": "Whether clients should be sent here",
                "description": "Follows what is effective: a target that is switched off does not count.",
                "responses": {
                    "200": _json("Ready.", {"$ref": "#/components/schemas/Readiness"}),
                    "404": _text("Not a GET."),
                    "503": _json("Not ready.", {"$ref": "#/components/schemas/Readiness"}),
                },
            }
        },
    },
    "components": {
        "schemas": {"Target": _TARGET_SCHEMA, "Cluster": _CLUSTER_SCHEMA, "Readiness": _READINESS_SCHEMA},
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
    },
}
