"""Elasticsearch's refusals, told apart: try again, never this document, not this index now. docs/refusals.md.

An error is Elasticsearch's JSON object: ``type``, ``reason``, perhaps ``index`` and ``caused_by``.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from elasticsearch import ApiError

from oncelog.errors import UnusableReason

_UNBLOCK = 'remove the block: PUT {index}/_settings {{"index.blocks.write": null}}'
_DISK = "free disk space; Elasticsearch then removes the block by itself"
_UNASSIGNED = (
    "bring its node back (GET _cluster/allocation/explain), or delete {index}: oncelog check --repair makes it anew"
)

#: Of one index with a shard on no node; its reads answer with the second, its searches only in words.
_RED = frozenset({"unavailable_shards_exception", "no_shard_available_action_exception"})
_RED_WORDS = "rejected due to missing shards"

#: Of load, with any status: the same document is taken a moment later.
_PASSING = frozenset({"es_rejected_execution_exception", "circuit_breaking_exception", "timeout_exception"})


class Refusal(NamedTuple):
    """Why a container cannot be used, and the remedy. ``shared``: no index of the cluster can."""

    reason: UnusableReason
    remedy: str
    shared: bool = False


def reason_in_words(error: Any) -> str:
    """Return Elasticsearch's words, down to the last cause."""
    reasons = [f"{each.get('type')}: {each.get('reason')}" for each in _chain(error)]
    return "; ".join(reasons) or str(error)


def container_refusal(status: int, error: Any, *, index: str) -> Refusal | None:
    """Return why the index or alias cannot be used, or None where the answer says nothing about it as a whole."""
    types = {str(each.get("type")) for each in _chain(error)}
    words = reason_in_words(error)
    if status == 401:
        return Refusal(
            UnusableReason.CREDENTIALS, "mend ONCELOG_ELASTICSEARCH_API_KEY, or _USERNAME and _PASSWORD", shared=True
        )
    if status == 403 and "security_exception" in types:
        return Refusal(UnusableReason.FORBIDDEN, f"grant this user or API key the rights on {index}")
    if "index_closed_exception" in types:
        return Refusal(UnusableReason.CLOSED, f"open it: POST {index}/_open")
    if "cluster_block_exception" in types:
        return _block(status, words, index)
    if types & _RED or _RED_WORDS in words:
        return Refusal(UnusableReason.SHARDS_UNASSIGNED, _UNASSIGNED.format(index=index))
    if "alias" in words and ("no write index" in words or "more than one ind" in words):
        return ambiguous(index)
    if "maximum normal shards open" in words or "maximum frozen shards open" in words:
        return Refusal(
            UnusableReason.SHARDS_EXHAUSTED, "delete indices, add a node, or raise cluster.max_shards_per_node"
        )
    return None


def write_blocked(index: str) -> Refusal:
    """Return the refusal of an index that takes no writes."""
    return Refusal(UnusableReason.WRITE_BLOCKED, _UNBLOCK.format(index=index))


def ambiguous(alias: str) -> Refusal:
    """Return the refusal of an alias that leads to several indices."""
    return Refusal(UnusableReason.ALIAS_AMBIGUOUS, f"take the alias {alias} off all but one of them: POST _aliases")


def creation_refusal(status: int, error: Any, *, index: str) -> Refusal | None:
    """Return why an index could not be created, or None where trying again is all there is to do."""
    refusal = container_refusal(status, error, index=index)
    if refusal is not None:
        return refusal
    types = {str(each.get("type")) for each in _chain(error)}
    if "process_cluster_event_timeout_exception" in types:
        return Refusal(UnusableReason.CREATION_REFUSED, "the master is busy: it is tried again until it is not")
    if types & {"mapper_parsing_exception", "illegal_argument_exception"}:
        return Refusal(UnusableReason.MAPPING_REFUSED, "define the class with fewer or other members")
    if status == 400:
        return Refusal(UnusableReason.CREATION_REFUSED, f"mend what keeps {index} from being created")
    return None


def is_never(status: int, error: Any) -> bool:
    """Return whether the object is refused for good, as a client's fault: its defect stays."""
    return status in (400, 413) and not any(each.get("type") in _PASSING for each in _chain(error))


def _block(status: int, words: str, index: str) -> Refusal | None:
    if status >= 500 or "SERVICE_UNAVAILABLE" in words:  # no master, or a cluster that starts
        return None
    if "flood-stage" in words or "read-only / allow delete" in words:
        return Refusal(UnusableReason.DISK_FULL, _DISK)
    if "cluster read-only" in words or "cluster create-index" in words:
        return Refusal(UnusableReason.READ_ONLY, "remove the cluster's block (cluster.blocks.*)", shared=True)
    return write_blocked(index)


def _chain(error: Any) -> Iterator[Mapping[str, Any]]:
    while isinstance(error, Mapping):
        yield error
        error = error.get("caused_by")


def error_in(error: Exception) -> Any:
    """Return the error object in an answer, or None."""
    return error.body.get("error") if isinstance(error, ApiError) and isinstance(error.body, Mapping) else None


def index_in(error: Any) -> str:
    """Return the index that the error object names."""
    return str(error.get("index", "unknown")) if isinstance(error, Mapping) else "unknown"
