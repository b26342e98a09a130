"""Everything that can be set, read once at an entry point.

Temporal's own variables (``TEMPORAL_ADDRESS`` …) are read by ``temporalio.envconfig`` and those of AWS by boto3's
chain; nothing is added beside them here.
"""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from oncelog.domain.identifiers import NAME
from oncelog.domain.stored_names import (
    CLASS_TOPIC,
    FAILURE_TOPIC,
    INSTANCE_TOPIC,
    ONCELOG,
    graph_alias,
    instances_alias,
)
from oncelog.domain.tokens import installation_mark
from oncelog.errors import SettingsInvalid

ALL_DATABASES = "*"
_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_SERVER = re.compile(r"([^\s/@:]+|\[[^\s/@\]]+\])(:[0-9]+)?")
_CRASH_POINT = re.compile(r"[a-z_]+(:[1-9][0-9]*)?")


def _check_namespace(value: str) -> str:
    if value and not _NAMESPACE.fullmatch(value):
        raise ValueError("expected up to 31 of a-z 0-9 -, or nothing")
    return value


def _check_crash_point(value: str | None) -> str | None:
    if value is not None and not _CRASH_POINT.fullmatch(value):
        raise ValueError("expected a step's name, or step:N for the N-th time that it is done")
    return value


def _check_address(value: str, *, user: bool = True, query: bool = False) -> str:
    """Refuse a URL that clients would read otherwise than it is meant, with parts of a password for host or port."""
    for part in value.split(","):
        try:
            url = urlsplit(part.strip())
            _ = url.port
        except ValueError:  # its message may cite a part of a password
            raise ValueError("expected scheme://host:port, with user and password percent-encoded") from None
        if any(map(str.isspace, part.strip())) or "@" in url.path + url.query + url.fragment:
            raise ValueError("expected user and password percent-encoded")
        if not user and "@" in url.netloc:
            raise ValueError("expected no user and password, which come from AWS' own variables and files")
        if not query and (url.query or url.fragment):
            raise ValueError("expected nothing after ? or #")
    return value


def _check_servers(value: str) -> str:
    for part in value.split(","):
        if not _SERVER.fullmatch(part.strip()):
            raise ValueError("expected host:port, several with commas between them")
    return value


def _without_secrets(value: object) -> str:
    """Return a refused value; of an address, malformed as it may be, what is between password and query."""
    text = str(value)
    return re.split(r"[?#]", text.rpartition("@")[2])[0] if re.search("@|://|[?#].*=", text) else text


def _check_databases(value: str) -> str:
    for name in value.split(",") if value else ():
        if name != ALL_DATABASES and not NAME.fullmatch(name):
            raise ValueError(f"expected names of databases with commas between them, or {ALL_DATABASES} for all")
    return value


#: Variables that begin like ours and are read by the stack, the tests and the benchmarks.
_OTHER_VARIABLES = re.compile(
    r"ONCELOG_((STACK|TEST|CHAOS|BENCH)\w*|SEARCH_EXAMPLES|CACHE_DIR|TOXIPROXY_URL|POSTGRESQL_URL|TEMPORAL_TEST_SERVER)"
)


def _check_known(settings: type[BaseSettings], environment: Mapping[str, str]) -> None:
    """Raise SettingsInvalid for a variable with our prefix that nothing reads, which is a misspelled one."""
    known = [f"ONCELOG_{name.upper()}" for name in settings.model_fields]
    for name in sorted(environment):
        if name.startswith("ONCELOG_") and name not in known and not _OTHER_VARIABLES.fullmatch(name):
            names = [each.removeprefix("ONCELOG_") for each in known]
            near = get_close_matches(name.removeprefix("ONCELOG_"), names, n=1)
            remedy = f"did you mean ONCELOG_{near[0]}?" if near else "docs/settings.md lists those that are"
            raise SettingsInvalid(f"{name}: is no setting; {remedy}")


class Settings(BaseSettings):
    """One frozen model of the environment variables ``ONCELOG_*``.

    ``namespace`` keeps several installations apart on the same servers: it prefixes S3 keys, Redis keys, topics,
    indices and the task queue. Empty for one that has its servers to itself.
    """

    model_config = SettingsConfigDict(env_prefix="ONCELOG_", frozen=True, extra="ignore", hide_input_in_errors=True)

    namespace: Annotated[str, AfterValidator(_check_namespace)] = ""
    s3_endpoint_url: Annotated[str, AfterValidator(partial(_check_address, user=False))] | None = (
        None  # None: AWS itself
    )
    s3_bucket: str = "oncelog"
    s3_connections_max: int = Field(default=32, ge=1, le=512)
    redis_url: Annotated[str, AfterValidator(partial(_check_address, query=True))] = Field(
        default="redis://127.0.0.1:6379/0", repr=False
    )  # it may hold a password
    redis_memory_s: int = Field(default=7 * 24 * 3600, ge=60)  # how long statuses and heads are remembered
    lease_ms: int = Field(default=5_000, ge=100)
    kafka_bootstrap_servers: Annotated[str, AfterValidator(_check_servers)] = "127.0.0.1:9092"
    elasticsearch_url: Annotated[str, AfterValidator(_check_address)] = Field(
        default="http://127.0.0.1:9200", repr=False
    )  # it may hold a password
    #: http://user:password@host:port; None: the graph lies in Elasticsearch
    terminusdb_url: Annotated[str, AfterValidator(_check_address)] | None = Field(default=None, repr=False)
    check_interval_s: int = Field(default=86_400, ge=0)  # between scheduled consistency checks; 0: none
    check_grace_s: int = Field(default=600, ge=0)  # what is younger is left alone by them
    replay_interval_s: int = Field(default=7 * 86_400, ge=0)  # between scheduled replays of everything; 0: none
    #: Base64 of 32 random bytes; roots of replays are signed with it. None: they are not.
    signing_key: SecretStr | None = None
    archive_interval_s: int = Field(default=86_400, ge=0)  # between scheduled archive runs; 0: none
    snapshot_interval_events: int = Field(default=100, ge=2)
    bulk_chunk_items_max: int = Field(default=500, ge=1, le=5_000)  # of bulk commands that are opened from now on
    cached_aggregates_max: int = Field(default=10_000, ge=1)
    projection: Literal["inline", "stream"] = "inline"  # who shows instances: each command, or projectors
    #: Databases in which instances are created in defined classes only; * for all of them.
    strict_databases: Annotated[str, AfterValidator(_check_databases)] = ""
    metrics_address: str | None = None  # host:port of the worker's Prometheus endpoint
    projector_read_model: Literal["documents", "graph"] = "documents"  # what a projector keeps up to date
    projector_metrics_address: str | None = None  # host:port of the projector's
    temporal_ui_url: str | None = None  # where the Temporal Web UI is, for the links that are printed
    #: For fault tests: the step after which the worker ends itself by SIGKILL, ``step:N`` for the N-th time it is done.
    crash_after: Annotated[str | None, AfterValidator(_check_crash_point)] = None

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment; raises SettingsInvalid naming every variable that does not fit."""
        _check_known(cls, os.environ)
        try:
            return cls()
        except ValidationError as error:
            found = "; ".join(
                f"ONCELOG_{str(item['loc'][0]).upper()}: {item['msg']}, found {_without_secrets(item['input'])!r}"
                for item in error.errors(include_url=False)
            )
            raise SettingsInvalid(f"settings: {found}") from error

    def named(self, name: str, separator: str = ".") -> str:
        """Return a name of ours (a topic, an index, a task queue) inside this installation's namespace."""
        return f"{self.namespace}{separator}{name}" if self.namespace else name

    def is_strict(self, db_name: str) -> bool:
        """Return whether instances of the database are created in defined classes only."""
        return not {db_name, ALL_DATABASES}.isdisjoint(self.strict_databases.split(","))

    @property
    def installation(self) -> str:
        """The identity of this installation in its consistency tokens: bucket and namespace hold its truth."""
        return installation_mark(f"{self.s3_bucket}/{self.namespace}")

    @property
    def task_queue(self) -> str:
        return self.named(ONCELOG)

    @property
    def instance_topic(self) -> str:
        return self.named(INSTANCE_TOPIC)

    @property
    def ontology_topic(self) -> str:
        return self.named(CLASS_TOPIC)

    @property
    def failure_topic(self) -> str:
        return self.named(FAILURE_TOPIC)

    def instances_alias(self, db_name: str, class_id: str) -> str:
        """Return the Elasticsearch alias under which a class's documents are found."""
        return self.named(instances_alias(db_name, class_id)).lower()

    def graph_alias(self, db_name: str) -> str:
        """Return the Elasticsearch alias under which a database's graph is found."""
        return self.named(graph_alias(db_name)).lower()

    @property
    def s3_prefix(self) -> str:
        return f"{self.namespace}/" if self.namespace else ""

    @property
    def redis_prefix(self) -> str:
        return f"{ONCELOG}:{self.namespace}:" if self.namespace else f"{ONCELOG}:"
