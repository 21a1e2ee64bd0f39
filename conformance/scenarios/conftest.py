"""Fixtures that several scenario files need, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from conformance.backends.interface import Clusters
from conformance.proxy import Proxy
from conformance.relay import Relay
from conformance.toggling import Relayed, Toggle


@pytest.fixture
def toggle(proxy: Proxy) -> Iterator[Toggle]:
    """The shared proxy's toggle. The next scenario finds the target enabled."""
    switch = Toggle(proxy)
    yield switch
    switch.restore()


@pytest.fixture
def relayed(clusters: Clusters, own_proxy: Callable[..., Proxy]) -> Iterator[Callable[..., Relayed]]:
    """Makes a proxy that reaches both clusters through relays: ``relayed(5, delay=0.005, ZDM_...=...)``."""
    made: list[Relayed] = []

    def make(number: int, delay: float = 0.0, **settings: str) -> Relayed:
        origin, target = (Relay(node, delay) for node in clusters.nodes)
        ports = {"ZDM_ORIGIN_PORT": str(origin.port), "ZDM_TARGET_PORT": str(target.port)}
        made.append(Relayed(own_proxy(number, **ports, **settings), origin, target))
        return made[-1]

    yield make
    for relayed in made:
        relayed.proxy.end()
        relayed.origin.close()
        relayed.target.close()
