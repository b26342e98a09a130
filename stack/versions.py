"""Every version the stack is pinned to. No other file of the tree names one.

A pinned version is what is built or downloaded. A `*_MINIMUM` is what a program found on the PATH must reach to be
used instead; a `*_BELOW` is the first version that is known not to fit.
"""

from __future__ import annotations

TEMPORAL_CLI = "1.5.1"
"""The last tag of the Temporal CLI that `go install` accepts; it carries server 1.29.1 and Web UI 2.42.1."""
TEMPORAL_SERVER_MINIMUM = "1.29.1"

TEMPORAL_TEST_SERVER = "1.35.0"
SLF4J = "1.7.36"

REDIS_MINIMUM = "7.0"

KAFKA = "4.1.0"
KAFKA_SCALA = "2.13"
KAFKA_MINIMUM = "4.0"
LOG4J = "2.24.3"

ELASTICSEARCH = "8.19.21"
ELASTICSEARCH_MINIMUM = "8.19.0"
ELASTICSEARCH_BELOW = "9.0.0"

VERSITYGW = "1.8.0"
"""Earlier versions let several conditional writers of one key win."""
VERSITYGW_MINIMUM = "1.8.0"

POSTGRESQL_MINIMUM = "13"

TOXIPROXY = "2.12.0"
TOXIPROXY_MINIMUM = "2.9.0"

GO_MINIMUM = "1.25"
JAVA_MINIMUM = "17"
MAVEN_MINIMUM = "3.6"
PROMETHEUS_MINIMUM = "2.42"
MAVEN_DEPENDENCY_PLUGIN = "3.8.1"

CONTAINER_IMAGES = {
    "postgres": "16.14-alpine3.23",
    "temporalio/admin-tools": f"{TEMPORAL_SERVER_MINIMUM}-tctl-1.18.4-cli-1.5.0",
    "temporalio/server": TEMPORAL_SERVER_MINIMUM,
    "temporalio/ui": "2.42.1",
    "redis": "7.2.5-alpine",
    "apache/kafka": KAFKA,
    "docker.elastic.co/elasticsearch/elasticsearch": ELASTICSEARCH,
    "versity/versitygw": f"v{VERSITYGW}",
    "terminusdb/terminusdb-server": "v12.0.6",
    "prom/prometheus": "v2.53.4",
    "grafana/grafana": "11.6.0",
}
"""The image tags of docker-compose.temporal.yml, which cannot read this file; a test compares the two."""

COMPOSE_GO = "2.3.0"
"""Compose's own parser, for checking that file where Docker Compose is not installed.

The last version whose command puts variables from the environment in.
"""
