"""What sessions are told of a cluster: made of the configuration and of what its control connection found.

Target may never have been seen, because it is disabled and away: then by what the process before knew of it, and
failing that by what origin is like.
"""

from __future__ import annotations

from typing import Literal

from zdm.config import Config
from zdm.core.clusters import Side
from zdm.core.credentials import Credentials
from zdm.core.options import control_versions
from zdm.core.snapshot import ClusterFacts
from zdm.core.topology import ClusterView, Endpoint, ProxyTopology
from zdm.net.control_link import ControlSettings
from zdm.net.cql_client import ClientSettings
from zdm.protocol.frames import CONTROL_VERSIONS
from zdm.state_file import KnownTarget

_Name = Literal["origin", "target"]


def name_of(side: Side) -> _Name:
    """As it begins the keys of a cluster."""
    return "origin" if side is Side.ORIGIN else "target"


def cluster_facts(config: Config, side: Side, view: ClusterView) -> ClusterFacts:
    """Of a cluster that was seen."""
    is_assigned = getattr(config, f"{name_of(side)}_enable_host_assignment")
    return ClusterFacts(
        view.auth_required,
        view.version,
        configured_credentials(config, side),
        tuple(host.endpoint for host in view.assigned) if is_assigned else (view.endpoint,),
        frozenset(host.endpoint for host in view.hosts) if is_assigned else frozenset(),
    )


def unseen_target_facts(config: Config, known: KnownTarget | None, origin: ClusterView) -> ClusterFacts:
    """Of target before its control connection was ever open: `known` is what the process before has left.

    Sessions attach to the contact points: better than to wait for the control connection, which does the same.
    """
    credentials = configured_credentials(config, Side.TARGET)
    return ClusterFacts(
        known.auth_required if known is not None else credentials is not None,
        known.version if known is not None else origin.version,
        credentials,
        tuple(Endpoint(address, config.target_port) for address in config.contact_points("target")),
        frozenset(),
    )


def configured_credentials(config: Config, side: Side) -> Credentials | None:
    """The credentials of the configuration for a cluster; None where no user is named."""
    username: str = getattr(config, f"{name_of(side)}_username")
    return Credentials(username, config.password(name_of(side))) if username else None


def control_settings(config: Config, side: Side, topology: ProxyTopology) -> ControlSettings:
    """How to watch a cluster."""
    name = name_of(side)
    timeout = getattr(config, f"{name}_connection_timeout_ms") / 1000
    versions = control_versions(config.control_max_version(), CONTROL_VERSIONS)
    return ControlSettings(
        side.name,
        tuple(config.contact_points(name)),
        getattr(config, f"{name}_port"),
        ClientSettings(configured_credentials(config, side), versions, timeout),
        getattr(config, f"{name}_local_datacenter"),
        topology.index,
        len(topology.addresses),
        config.heartbeat_interval_ms / 1000,
        config.heartbeat_retry_interval_min_ms / 1000,
        config.heartbeat_retry_interval_max_ms / 1000,
        config.heartbeat_retry_backoff_factor,
        config.heartbeat_failure_threshold,
        config.target_probe_interval_ms / 1000,
    )
