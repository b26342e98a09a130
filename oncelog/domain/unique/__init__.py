"""Unique constraints: the values that an instance holds, and the chain of entries that each value has in S3.

At any time at most one live instance of a class holds a value of a constraint (docs/unique.md, docs/protocol.md).
"""
