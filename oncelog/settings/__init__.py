"""Everything that can be set, read once at an entry point.

Temporal's own variables (``TEMPORAL_ADDRESS`` …) are read by ``temporalio.envconfig``, those of AWS by boto3's chain,
those of OpenTelemetry by ``oncelog.tracing``; nothing is added beside them here. Each server has a
model of its own (``servers``).
"""

import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from oncelog.domain.aggregates import load_aggregates
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
from oncelog.logs import LogSettings
from oncelog.settings.addresses import ListeningAddress
from oncelog.settings.servers import (
    ElasticsearchSettings,
    KafkaSettings,
    RedisSettings,
    S3Settings,
    TerminusdbSettings,
)
from oncelog.settings.texts import ALL_DATABASES, CrashPoint, DatabaseNames, Namespace

__all__ = [
    "ALL_DATABASES",
    "ElasticsearchSettings",
    "KafkaSettings",
    "RedisSettings",
    "S3Settings",
    "Settings",
    "TerminusdbSettings",
    "variables",
]

PREFIX = "ONCELOG_"
#: Of variables that Temporal's own tools set; its SDK reads the ones that lead to a server.
TEMPORAL_PREFIX = "TEMPORAL_"


def _without_secrets(value: object) -> str:
    """Return a refused value; of an address, malformed as it may be, the part between password and query."""
    text = str(value)
    return re.split(r"[?#]", text.rpartition("@")[2])[0] if re.search("@|://|[?#].*=", text) else text


#: Variables that begin like ours and are read by the stack, the tests and the benchmarks.
_OTHER_VARIABLES = re.compile(
    r"ONCELOG_((STACK|TEST|CHAOS|BENCH)\w*|PROFILE|PROFILES_FILE|SEARCH_EXAMPLES|CACHE_DIR|TEMPORAL_TEST_SERVER"
    r"|(TOXIPROXY|POSTGRESQL|PROMETHEUS)_URL)"
)


def variables(model: type[BaseModel], prefix: str = PREFIX) -> Iterator[tuple[str, Any]]:
    """Yield every environment variable with its field, those of a server's model in its place."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from variables(field.annotation, f"{prefix}{name.upper()}_")
        else:
            alias = field.validation_alias
            yield alias if isinstance(alias, str) else f"{prefix}{name.upper()}", field


def _check_known(settings: type[BaseSettings], environment: Mapping[str, str]) -> None:
    """Raise SettingsInvalid for a variable with our prefix that nothing reads, which is a misspelled one."""
    known = [name for name, _ in variables(settings)]
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known and not _OTHER_VARIABLES.fullmatch(name):
            names = [each.removeprefix(PREFIX) for each in known]
            near = get_close_matches(name.removeprefix(PREFIX), names, n=1)
            remedy = f"did you mean {PREFIX}{near[0]}?" if near else "docs/settings.md lists those that are"
            raise SettingsInvalid(f"{name}: is no setting; {remedy}")


def _in_words(error: ErrorDetails) -> str:
    """Return the fault of a setting in words; the input is cited unless it may be a secret, or is a whole server's."""
    name = "_".join(str(part) for part in error["loc"]).upper()
    name = name if name.startswith(TEMPORAL_PREFIX) else PREFIX + name
    message = error["msg"].removeprefix("Value error, ")
    if isinstance(error["input"], Mapping):
        return message if message.startswith((PREFIX, TEMPORAL_PREFIX)) else f"{name}_*: {message}"
    if re.search("PASSWORD|SECRET|TOKEN|KEY", name):
        return f"{name}: {message}"
    return f"{name}: {message}, found {_without_secrets(error['input'])!r}"


class Settings(BaseSettings):
    """One frozen model of the environment variables ``ONCELOG_*``.

    ``namespace`` keeps several installations apart on the same servers: it prefixes S3 keys, Redis keys, topics,
    indices and the task queue. Empty for one that has its servers to itself.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    namespace: Namespace = Field(
        default="",
        description="keeps several installations apart on the same servers: it prefixes S3 keys, Redis keys, topics, "
        "indices and the task queue; up to 31 of `a-z 0-9 -`. Workflow IDs are command IDs, so give each a "
        "`TEMPORAL_NAMESPACE` of its own as well",
    )
    s3: S3Settings = S3Settings()
    redis: RedisSettings = RedisSettings()
    kafka: KafkaSettings = KafkaSettings()
    elasticsearch: ElasticsearchSettings = ElasticsearchSettings()
    terminusdb: TerminusdbSettings = TerminusdbSettings()
    log: LogSettings = LogSettings()
    lease_ms: int = Field(
        default=5_000,
        ge=100,
        description="the duration of a lease on an aggregate that is not released; for speed only, never for safety",
    )
    check_interval_s: int = Field(
        default=86_400,
        ge=0,
        description="seconds between scheduled [consistency checks](consistency-check.md); 0: none",
    )
    check_grace_s: int = Field(
        default=600, ge=0, description="objects younger than so many seconds are left alone by them"
    )
    replay_interval_s: int = Field(
        default=7 * 86_400, ge=0, description="seconds between scheduled [replays](replay.md) of everything; 0: none"
    )
    signing_key: SecretStr | None = Field(
        default=None,
        description="Base64 of 32 random bytes, an Ed25519 key: workers sign the roots of "
        "[replays](replay.md#proof-for-an-auditor) with it; never printed",
    )
    archive_interval_s: int = Field(
        default=86_400, ge=0, description="seconds between scheduled [archive runs](archive.md); 0: none"
    )
    snapshot_interval_events: int = Field(
        default=100, ge=2, description="a snapshot of an aggregate every so many events"
    )
    bulk_chunk_items_max: int = Field(
        default=500,
        ge=1,
        le=5_000,
        description="items of a bulk command that are applied together; counts for those opened from now on",
    )
    cached_aggregates_max: int = Field(default=10_000, ge=1, description="states kept in a worker's memory")
    projection: Literal["inline", "stream"] = Field(
        default="inline",
        description="the writer of documents and graph: `inline`, each command for itself; `stream`, "
        "`oncelog-projector`, so that commands complete once they are published, and readers wait through the token "
        "([projector](projector.md))",
    )
    strict_databases: DatabaseNames = Field(
        default="",
        description="databases in which instances are created in defined classes only: names with commas between "
        "them, or `*` for all. Workers hold every client to it, so give all workers the same; a CREATE of another "
        "class, single or in bulk, is `InvalidCommand`, and what is there already is changed and deleted as before",
    )
    aggregates: str = Field(
        default="",
        description="[aggregates of one's own](own-domain.md), as `module:object` with commas between them, beside "
        "those of installed packages (entry points `oncelog.aggregates`); give the same to every program",
    )
    metrics_address: ListeningAddress | None = Field(
        default=None,
        description="`host:port` where a worker serves [metrics](metrics.md), `/healthz` and `/readyz`",
    )
    projector_read_model: Literal["documents", "graph"] = Field(
        default="documents",
        description="the read model that a projector keeps up to date: `documents`, or `graph` in a process of its own",
    )
    projector_metrics_address: ListeningAddress | None = Field(
        default=None, description="`host:port` where a projector serves the same"
    )
    temporal_ui_url: str | None = Field(default=None, description="where the Web UI is, for links that are printed")
    deployment_name: str | None = Field(
        default=None,
        min_length=1,
        validation_alias="TEMPORAL_DEPLOYMENT_NAME",
        description="a worker's deployment, with a build ID: Temporal gives tasks to the build that is current only "
        "([upgrade](operating/upgrade.md#worker-versioning))",
    )
    build_id: str | None = Field(
        default=None,
        min_length=1,
        validation_alias="TEMPORAL_WORKER_BUILD_ID",
        description="the build of its deployment that a worker is, such as the image's tag",
    )
    crash_after: CrashPoint | None = Field(
        default=None,
        description="for fault tests: the step after which a worker ends itself by SIGKILL: `claim`, `allocate`, "
        "`record`, `persist`, `publish`, `project`, `park`, `complete`; of bulk commands `bulk_claim`, `bulk_scan`, "
        "`bulk_open`, `bulk_allocate`, `bulk_record`, `bulk_persist`, `bulk_publish`, `bulk_settle`, `bulk_project`, "
        "`bulk_close`, `bulk_results`, `bulk_summary`, `bulk_complete`; of a projector `fetch`, `fold`, `show`, "
        "`park`, `commit`; `persist:7` means after the seventh",
    )

    @model_validator(mode="after")
    def _check_deployment(self) -> Self:
        if (self.deployment_name is None) != (self.build_id is None):
            missing = "DEPLOYMENT_NAME" if self.deployment_name is None else "WORKER_BUILD_ID"
            raise ValueError(
                f"{TEMPORAL_PREFIX}{missing}: expected together with the other of the two; set both or none"
            )
        return self

    @classmethod
    def from_environment(cls) -> Self:
        """Read the environment, and load the aggregates it names.

        Raises SettingsInvalid naming every variable that does not fit.
        """
        _check_known(cls, os.environ)
        load_aggregates()
        try:
            return cls()
        except ValidationError as error:
            found = "; ".join(_in_words(item) for item in error.errors(include_url=False))
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
        return installation_mark(f"{self.s3.bucket}/{self.namespace}")

    @property
    def task_queue(self) -> str:
        return self.named(ONCELOG)

    @property
    def instance_topic(self) -> str:
        return self.kafka.instance_topic or self.named(INSTANCE_TOPIC)

    @property
    def ontology_topic(self) -> str:
        return self.kafka.class_topic or self.named(CLASS_TOPIC)

    @property
    def failure_topic(self) -> str:
        return self.kafka.failure_topic or self.named(FAILURE_TOPIC)

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
