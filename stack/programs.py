"""The programs of the stack: their names on a PATH, the versions that will do, and their other sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stack import versions
from stack.sources import (
    POSTGRESQL_PACKAGE,
    PROMETHEUS_PACKAGE,
    REDIS_PACKAGE,
    GoModule,
    MavenJars,
    MavenZip,
    SdkDownload,
    Source,
)
from stack.tools import JAVA, POSTGRESQL_FOLDER, Tool


@dataclass(frozen=True)
class Program:
    """One program, pinned."""

    name: str
    version: str
    source: Source
    alternative: Source | None = None
    """Tried first where the source's tools are missing, since it needs fewer."""
    entry: str = ""
    """The parts of the cached folder to use: a file or folder in it, or all of it."""
    minimum: str = ""
    below: str | None = None
    executables: tuple[str, ...] = ()
    """Its names on a PATH; none when a program found there could not tell its version."""
    also_in: Path | None = None
    """A folder to look in besides the PATH, which has a `bin` for each version."""
    version_arguments: tuple[str, ...] = ("--version",)
    version_pattern: str = r"(\d+\.\d+(?:\.\d+)*)"
    home: str | None = None
    """Where the entry lies seen from the folder above an executable's `bin`; None when it is the executable itself."""
    needs: tuple[Tool, ...] = ()
    """The requirements to run it."""

    def entry_of(self, executable: Path) -> Path:
        """The parts to use of a program found on the PATH."""
        return executable if self.home is None else executable.resolve().parent.parent / self.home


TEMPORAL = Program(
    name="temporal",
    version=versions.TEMPORAL_CLI,
    source=GoModule(
        "github.com/temporalio/cli/cmd/temporal", versions.TEMPORAL_CLI, "3 to 5 minutes, once; 250 MB to download"
    ),
    alternative=SdkDownload(versions.TEMPORAL_CLI, "temporal"),
    entry="temporal",
    minimum=versions.TEMPORAL_SERVER_MINIMUM,
    executables=("temporal",),
    version_pattern=r"Server (\d+\.\d+\.\d+)",
)

TEMPORAL_TEST_SERVER = Program(
    name="temporal-test-server",
    version=versions.TEMPORAL_TEST_SERVER,
    source=MavenJars(
        (
            ("io.temporal", "temporal-test-server", versions.TEMPORAL_TEST_SERVER),
            ("org.slf4j", "slf4j-nop", versions.SLF4J),
        ),
        "about 20 seconds, once",
        executable="temporal-test-server",
        main_class="io.temporal.testserver.TestServer",
    ),
    entry="temporal-test-server",
    needs=(JAVA,),
)

REDIS = Program(
    name="redis",
    version=versions.REDIS_MINIMUM,
    source=REDIS_PACKAGE,
    minimum=versions.REDIS_MINIMUM,
    executables=("redis-server",),
    version_pattern=r"v=(\d[\d.]+)",
)

KAFKA = Program(
    name="kafka",
    version=versions.KAFKA,
    source=MavenJars(
        (
            ("org.apache.kafka", f"kafka_{versions.KAFKA_SCALA}", versions.KAFKA),
            ("org.apache.logging.log4j", "log4j-slf4j-impl", versions.LOG4J),
        ),
        "about 30 seconds, once; 45 MB to download",
    ),
    entry="lib",
    minimum=versions.KAFKA_MINIMUM,
    executables=("kafka-server-start.sh", "kafka-server-start"),
    home="libs",
    needs=(JAVA,),
)

ELASTICSEARCH = Program(
    name="elasticsearch",
    version=versions.ELASTICSEARCH,
    source=MavenZip(
        "org.elasticsearch.distribution.integ-test-zip",
        "elasticsearch",
        versions.ELASTICSEARCH,
        "about a minute, once; 107 MB to download",
    ),
    minimum=versions.ELASTICSEARCH_MINIMUM,
    below=versions.ELASTICSEARCH_BELOW,
    executables=("elasticsearch",),
    home="",
    needs=(JAVA,),
)

S3 = Program(
    name="versitygw",
    version=versions.VERSITYGW,
    source=GoModule(
        "github.com/versity/versitygw/cmd/versitygw", versions.VERSITYGW, "about 2 minutes, once; 83 MB to download"
    ),
    entry="versitygw",
    minimum=versions.VERSITYGW_MINIMUM,
    executables=("versitygw",),
    version_pattern=r"Version *: *v?(\d+\.\d+\.\d+)",
)

POSTGRESQL = Program(
    name="postgresql",
    version=versions.POSTGRESQL_MINIMUM,
    source=POSTGRESQL_PACKAGE,
    minimum=versions.POSTGRESQL_MINIMUM,
    executables=("postgres",),
    also_in=POSTGRESQL_FOLDER,
    version_pattern=r"\) (\d[\d.]*)",
)

PROMETHEUS = Program(
    name="prometheus",
    version=versions.PROMETHEUS_MINIMUM,
    source=PROMETHEUS_PACKAGE,
    minimum=versions.PROMETHEUS_MINIMUM,
    executables=("prometheus",),
    version_pattern=r"version (\d[\d.]+)",
)

TOXIPROXY = Program(
    name="toxiproxy",
    version=versions.TOXIPROXY,
    source=GoModule("github.com/Shopify/toxiproxy/v2/cmd/server", versions.TOXIPROXY, "about a minute, once"),
    entry="server",
    minimum=versions.TOXIPROXY_MINIMUM,
    executables=("toxiproxy-server",),
    version_pattern=r"version (\d+\.\d+\.\d+)",
)
