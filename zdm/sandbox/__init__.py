"""CQL nodes in memory: two clusters for demos and tests, with real rows and with faults on request.

Bytes come in at `node`, statements go through `grammar` to `coordinator`, which executes them (`execute_read`,
`execute_write`, `schema_change`) on what `schema` and `storage` hold. `clusters` is the way in for Python, `control`
the one over HTTP, `cli` the program. What is true to Cassandra is what drivers and people can tell: rows
and their order, error codes and their fields. There is no replication, no disk, and no security.
"""
