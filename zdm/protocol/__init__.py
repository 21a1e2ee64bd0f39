"""Ring 0: the CQL native protocol, bytes to meaning and back.

A map:

    frames                     cutting a stream into frames; headers
    segments, checksums        v5's outer units
    compression                bodies and payloads compressed and opened
    envelope                   what stands between a header and the body proper
    requests, query_parameters what clients say
    responses, errors          what clusters say
    metadata, types, scalars   columns, types, values
    primitives                 the notations everything is made of
    opcodes, consistency, versions, exceptions
"""
