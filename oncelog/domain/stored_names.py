"""Every name that is stored outside this program: object keys, aliases, topics, headers, search attributes.

Each literal is in this module only. A stored name never changes: data and consumers of earlier releases have it
(docs/contract.md). Settings add the namespace in front.
"""

from oncelog.domain.identifiers import AggregateId, command_folder

# --- S3: folders in the bucket
EVENTS = "events/"
COMMANDS = "commands/"
CLASS_NAMES = "names/"
UNIQUE = "unique/"
SNAPSHOTS = "snapshots/"
TOPICS = "topics/"
DEAD_LETTERS = "dead-letters/"
PAYLOADS = "payloads/"
BULK_REPORTS = "reports/bulk/"
CHECK_REPORTS = "reports/sweep/"
PROOFS = "reports/checks/"
COVER_REPORTS = "reports/unique/"

# --- S3: metadata of an event's object
PUBLISHED_THROUGH = "published-through"
PUBLISHED_TOPIC = "published-topic"  # the generation that the watermark is of; without it, the first

# --- Elasticsearch: beginnings of aliases
INSTANCES_ALIAS = "instances"
GRAPH_ALIAS = "graph"
PINNED_ALIAS = "pinned"
VIEWS_ALIAS = "views"  # read models of the application's own

# --- Kafka: topics, and headers beside those of CloudEvents
INSTANCE_TOPIC = "instance_events"
CLASS_TOPIC = "ontology_events"
FAILURE_TOPIC = "projection_failures_dlq"
SEQUENCE_NUMBER_HEADER = "sequence_number"
SCHEMA_VERSION_HEADER = "schema_version"
TRACEPARENT_HEADER = "traceparent"  # W3C Trace Context, where traces are exported

# --- Redis: beginnings of keys; Temporal: the task queue
ONCELOG = "oncelog"

# --- Temporal: search attributes
DB_NAME_ATTRIBUTE = "DbName"
CLASS_ID_ATTRIBUTE = "ClassId"
AGGREGATE_ID_ATTRIBUTE = "AggregateId"
COMMAND_TYPE_ATTRIBUTE = "CommandType"
COMMAND_OUTCOME_ATTRIBUTE = "CommandOutcome"
SEQUENCE_NUMBER_ATTRIBUTE = "SequenceNumber"
CHECK_VERDICT_ATTRIBUTE = "CheckVerdict"

# --- Temporal: types of the workflows that have a command's ID
COMMAND_WORKFLOWS = ("InstanceCommand", "ClassCommand", "BulkCommand")


def stream_folder(aggregate_id: AggregateId) -> str:
    """Return the folder of an aggregate's events."""
    return f"{EVENTS}{aggregate_id}/"


def event_key(aggregate_id: AggregateId, sequence_number: int) -> str:
    """Return the key of a slot."""
    return f"{stream_folder(aggregate_id)}{sequence_number:020d}.json"


def command_record_key(command_id: str, number: int) -> str:
    """Return the key of a command's record."""
    return f"{COMMANDS}{command_folder(command_id)}/{number:06d}.json"


def chunk_record_key(command_id: str, chunk: int, number: int) -> str:
    """Return the key of a record of a bulk command's chunk."""
    return f"{COMMANDS}{command_folder(command_id)}/chunks/{chunk:06d}/{number:06d}.json"


def class_name_keys(db_name: str, class_id: str) -> tuple[str, str]:
    """Return the keys of a class's and of its database's claim, both folded to lower case."""
    return f"{CLASS_NAMES}{db_name}/{class_id}.json".lower(), f"{CLASS_NAMES}{db_name}.json".lower()


def unique_chain_folder(db_name: str, class_id: str, constraint: str, sha256: str) -> str:
    """Return the folder of the entries of a unique value; ``sha256``: of its canonical JSON."""
    return f"{UNIQUE}{db_name}/{class_id}/{constraint}/{sha256}/"


def unique_entry_key(db_name: str, class_id: str, constraint: str, sha256: str, n: int) -> str:
    """Return the key of entry ``n`` of a unique value."""
    return f"{unique_chain_folder(db_name, class_id, constraint, sha256)}{n:06d}.json"


def snapshot_key(aggregate_id: str) -> str:
    """Return the key of an aggregate's latest snapshot."""
    return f"{SNAPSHOTS}{aggregate_id}.json"


def topic_record_key(topic: str, generation: int) -> str:
    """Return the key of a topic's generation."""
    return f"{TOPICS}{topic}/{generation:06d}.json"


def dead_letter_folder(read_model: str) -> str:
    """Return the folder of a read model's dead letters."""
    return f"{DEAD_LETTERS}{read_model}/"


def dead_letter_key(read_model: str, aggregate_id: AggregateId | str, number: int) -> str:
    """Return the key of a dead letter."""
    return f"{dead_letter_folder(read_model)}{aggregate_id}/{number:06d}.json"


def payload_key(sha256: str) -> str:
    """Return the key of uploaded items: their digest, so that the same items are stored once."""
    return f"{PAYLOADS}{sha256}.ndjson"


def results_key(command_id: str) -> str:
    """Return the key of a bulk command's results: NDJSON, one line per item."""
    return f"{BULK_REPORTS}{command_folder(command_id)}/results.ndjson"


def summary_key(command_id: str) -> str:
    """Return the key of a bulk command's own result, which is written after all else."""
    return f"{BULK_REPORTS}{command_folder(command_id)}/summary.json"


def cover_report_key(db_name: str, class_id: str) -> str:
    """Return the key of the report of a class's last run that covered its instances."""
    return f"{COVER_REPORTS}{db_name}/{class_id}.json"


def instances_alias(db_name: str, class_id: str) -> str:
    """Return the alias of a class's documents."""
    return f"{INSTANCES_ALIAS}.{db_name}.{class_id}".lower()


def graph_alias(db_name: str) -> str:
    """Return the alias of a database's graph in Elasticsearch."""
    return f"{GRAPH_ALIAS}.{db_name}".lower()
