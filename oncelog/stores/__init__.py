"""Servers: S3, Redis, Kafka, Elasticsearch, and in ``memory`` a twin of each.

One file or folder per technology, and its driver's exceptions do not leave it. May import ports, domain, errors and
settings, and no other server's store.
"""
