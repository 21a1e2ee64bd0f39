"""A proxy that moves applications from one Apache Cassandra cluster (ORIGIN) to another (TARGET) while they run.

A map, from the inside out; an inner ring never imports an outer one (tests/test_layers.py):

    ring 0  zdm.protocol   bytes <-> meaning of the CQL native protocol; no I/O
    ring 1  zdm.cql        what a statement's text is: kind, keyspace, table; never raises
    ring 2  zdm.core       decisions without I/O or clock: session, routing, aggregation, prepared statements,
                           handshake, interception of system tables, topology
            zdm.meters, zdm.metrics   plain counters;  zdm.families, zdm.exposition  their names, their text form
    ring 3  zdm.net        Twisted Protocol/Factory pairs: client and cluster connections, control connection
            zdm.admin      HTTP: metrics, health, the switch of target
            zdm.state_file, zdm.lasting_state   what survives a restart
            zdm.sandbox    CQL nodes inside one process, for the demo and for tests
            zdm.config     configuration from the environment or a YAML file;  zdm.log  log lines
            zdm.certificates, zdm.tls_ends   what is under TLS, and with which certificates
    ring 4  zdm.service    puts the parts together;  zdm.supervisor, zdm.workers  control plane and data plane
            zdm.program    runs them
            zdm.target_switch   whether target takes part: what was asked for, and what is
            zdm.cli        the command line;  zdm.target_command  `zdm-proxy target`

Start reading at zdm/core/session.py, with docs/architecture.md beside it.
"""

from __future__ import annotations

__version__ = "0.1.0"
