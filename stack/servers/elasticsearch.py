"""Elasticsearch: one node without security, on loopback, that does not stop writing when the disk fills up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from stack.account import demand_reach, give
from stack.errors import UnreachableError
from stack.ports import HOST
from stack.programs import ELASTICSEARCH
from stack.servers.definition import Command, Definition, Location, plain_environment
from stack.servers.http import get

HEAP_MB = 512

LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""


class Elasticsearch(Definition):
    """One Elasticsearch node."""

    name = "elasticsearch"
    program = ELASTICSEARCH
    ports: ClassVar = {"elasticsearch": 9200, "elasticsearch_transport": 9300}
    address_variable = "ONCELOG_ELASTICSEARCH_URL"
    refuses_root = True
    stop_timeout_s = 30

    def prepare(self, location: Location) -> Command:
        """A configuration folder of its own, handed with all other folders to the account it runs under."""
        config, logs, temporary = location.folder / "config", location.folder / "logs", location.empty_temporary()
        (config / "jvm.options.d").mkdir(parents=True, exist_ok=True)
        (config / "elasticsearch.yml").write_text(self.settings(location))
        shipped = (location.program / "config" / "jvm.options").read_text()
        (config / "jvm.options").write_text(jvm_options(shipped, location.java_options))
        (config / "log4j2.properties").write_text(LOGGING)
        give(location.user, config, location.data, temporary, logs)
        for path, purpose in (
            (location.folder, "data folder"),
            (location.program, "program"),
            (Path(location.java), "Java"),
        ):
            demand_reach(location.user, path, f"elasticsearch: {purpose}")
        environment = plain_environment(
            ES_JAVA_HOME=str(location.java_home),
            ES_PATH_CONF=str(config),
            ES_TMPDIR=str(temporary),
            CLI_JAVA_OPTS=f"-Djava.io.tmpdir={temporary}",  # its launcher leaves files there
            HOME=str(temporary),
        )
        return Command([str(location.program / "bin" / "elasticsearch")], environment)

    def settings(self, location: Location) -> str:
        """`elasticsearch.yml`; JSON strings are YAML strings."""
        settings = {
            "cluster.name": "oncelog",
            "node.name": "oncelog",
            "path.data": str(location.data),
            "path.logs": str(location.folder / "logs"),
            "network.host": HOST,
            "http.port": location.ports["elasticsearch"],
            "transport.port": location.ports["elasticsearch_transport"],
            "discovery.type": "single-node",
            "xpack.security.enabled": False,
            "cluster.routing.allocation.disk.threshold_enabled": False,
        }
        return "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items())

    def environment(self, ports: Mapping[str, int]) -> dict[str, str]:
        """Where its HTTP interface is."""
        return {self.address_variable: f"http://{HOST}:{ports['elasticsearch']}"}

    def check(self, environment: Mapping[str, str]) -> None:
        """Yellow will do: a single node has no place for replicas."""
        status, body = get(environment[self.address_variable], "/_cluster/health?level=indices")
        if status != 200:
            raise UnreachableError(f"Elasticsearch answers with HTTP status {status}, expected 200: {body[:200]!r}")
        health = json.loads(body)
        if health["status"] not in ("green", "yellow"):
            red = sorted(name for name, index in health.get("indices", {}).items() if index["status"] == "red")
            shown = f" ({len(red)} without a primary shard, such as {red[0]})" if red else ""
            raise UnreachableError(f"Elasticsearch's cluster is {health['status']}, expected green or yellow{shown}")


def jvm_options(shipped: str, more: Sequence[str] = ()) -> str:
    """The distribution's own options, with our heap and `more`, without its log of every garbage collection (2 GB)."""
    kept = [line for line in shipped.splitlines() if not line.startswith(("-Xm", "-Xlog:gc", "-XX:+HeapDump"))]
    return "\n".join([*kept, f"-Xms{HEAP_MB}m", f"-Xmx{HEAP_MB}m", *more, ""])
