"""Elasticsearch: the documents, one index per class behind an alias.

The alias is ``instances.{db_name}.{class_id}`` in lower case and the first index behind it has ``.000001`` added; names
of classes have no dots, so no alias can meet another one's index. A document's ``_id`` is the encoded instance ID and
its version the sequence number, which Elasticsearch compares itself (``version_type=external``): only a higher one is
taken, whatever the order of arrival.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

from elastic_transport import NodeConfig
from elastic_transport.client_utils import url_to_node_config
from elasticsearch import ApiError, AsyncElasticsearch, BadRequestError, NotFoundError, TransportError

from factline.domain.identifiers import AggregateId
from factline.errors import InputInvalid, SettingsInvalid, StoreUnavailable
from factline.ports import Document
from factline.settings import Settings
from factline.stores.elasticsearch_mapping import INDEX_SETTINGS, MAPPINGS

REQUEST_TIMEOUT_S = 5.0
SHARD_TIMEOUT = "4s"  # how long Elasticsearch itself may wait for a shard, so that it answers before we give up
INDEX_TIMEOUT_S = 15.0  # a new index is a change of the cluster's state
CONNECTIONS_MAX = 10
FIRST_INDEX = ".000001"

#: Above the built-in templates, which have up to 200.
TEMPLATE_PRIORITY = 500

#: What Elasticsearch says of a document that it will never take, as against one that it does not take now.
_REFUSALS = frozenset(
    {
        "document_parsing_exception",
        "mapper_parsing_exception",
        "strict_dynamic_mapping_exception",
        "illegal_argument_exception",
    }
)


class ElasticsearchDocuments:
    """The ``Documents`` on Elasticsearch. ``requests`` counts what was sent, by kind."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.elasticsearch_url
        self._settings = settings
        self.requests: Counter[str] = Counter()
        self._client = AsyncElasticsearch(
            _nodes(self._url),
            max_retries=0,
            retry_on_timeout=False,
            request_timeout=REQUEST_TIMEOUT_S,
            connections_per_node=CONNECTIONS_MAX,
        )

    async def prepare(self) -> None:
        """Put the index template, so that an index that others create has the mapping too; raises StoreUnavailable."""
        self.requests["put_index_template"] += 1
        try:
            await self._client.options(request_timeout=INDEX_TIMEOUT_S).indices.put_index_template(
                name=self._settings.named("instances"),
                index_patterns=[self._settings.named("instances.*")],
                priority=TEMPLATE_PRIORITY,
                template={"settings": INDEX_SETTINGS, "mappings": MAPPINGS},
            )
        except (ApiError, TransportError) as error:
            raise self._unavailable("putting the index template", error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def alias_of(self, aggregate_id: AggregateId) -> str:
        """Return the alias that the aggregate's class is found under."""
        return self._settings.named(f"instances.{aggregate_id.db_name}.{aggregate_id.class_id}").lower()

    async def write(self, documents: Sequence[Document]) -> Sequence[Exception | None]:
        """Write each unless a newer one is there; return per document None, or why that one was not written.

        The first document of a class finds no index: it is then created, and what needed it is sent once more. That
        costs nothing while it is there, and an index that was deleted comes back with its right mapping.
        """
        outcomes = await self._bulk(documents)
        homeless = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, _IndexMissing)]
        if homeless:
            aliases = {self.alias_of(documents[index].aggregate_id) for index in homeless}
            failures = {alias: await self._create_index(alias) for alias in aliases}
            again = await self._bulk([documents[index] for index in homeless])
            for index, outcome in zip(homeless, again, strict=True):
                outcomes[index] = failures[self.alias_of(documents[index].aggregate_id)] or outcome
        return outcomes

    async def read(self, aggregate_id: AggregateId) -> Document | None:
        """Return the document as it stands now, tombstones included, or None; raises StoreUnavailable."""
        self.requests["get"] += 1
        try:
            found = await self._client.get(index=self.alias_of(aggregate_id), id=aggregate_id.instance_key)
        except NotFoundError:
            return None
        except (ApiError, TransportError) as error:
            raise self._unavailable(f"reading {aggregate_id}", error) from error
        body: Mapping[str, Any] = found["_source"]
        if body["aggregate_id"] != str(aggregate_id):
            return None  # of a class that is spelled in other letters
        return Document(aggregate_id=aggregate_id, sequence_number=found["_version"], body=body)

    async def _bulk(self, documents: Sequence[Document]) -> list[Exception | None]:
        if not documents:
            return []
        lines: list[Mapping[str, Any]] = []
        for document in documents:
            lines += (self._action(document), document.body)
        self.requests["bulk"] += 1
        try:
            answer = await self._client.bulk(operations=lines, require_alias=True, timeout=SHARD_TIMEOUT)
        except (ApiError, TransportError) as error:
            return [self._unavailable(f"writing {document.aggregate_id}", error) for document in documents]
        results = [item["index"] for item in answer["items"]]
        return [self._outcome(*pair) for pair in zip(documents, results, strict=True)]

    def _action(self, document: Document) -> Mapping[str, Any]:
        return {
            "index": {
                "_index": self.alias_of(document.aggregate_id),
                "_id": document.aggregate_id.instance_key,
                "version": document.sequence_number,
                "version_type": "external",
            }
        }

    def _outcome(self, document: Document, result: Mapping[str, Any]) -> Exception | None:
        status, error = result["status"], result.get("error", {})
        if status < 300 or status == 409:  # conflict: what is there is as new or newer, which is what we want
            return None
        reason = _reason(error)
        doing = f"writing {document.aggregate_id} at {document.sequence_number}"
        if error.get("type") == "index_not_found_exception":
            return _IndexMissing(self._name, doing, reason)
        if status == 400 and error.get("type") in _REFUSALS:
            return InputInvalid(
                f"{self._name} can never take document {document.aggregate_id} at {document.sequence_number}: {reason}",
                aggregate_id=str(document.aggregate_id),
                sequence_number=document.sequence_number,
                reason=reason,
            )
        return StoreUnavailable(self._name, doing, f"status {status}: {reason}")

    async def _create_index(self, alias: str) -> StoreUnavailable | None:
        """Create the first index behind an alias; that somebody else just did so is fine."""
        self.requests["create_index"] += 1
        try:
            await self._client.options(request_timeout=INDEX_TIMEOUT_S).indices.create(
                index=alias + FIRST_INDEX,
                aliases={alias: {"is_write_index": True}},
                mappings=MAPPINGS,
                settings=INDEX_SETTINGS,
            )
        except BadRequestError as error:
            if error.error != "resource_already_exists_exception":
                return self._unavailable(f"creating index {alias + FIRST_INDEX}", error)
        except (ApiError, TransportError) as error:
            return self._unavailable(f"creating index {alias + FIRST_INDEX}", error)
        return None

    @property
    def _name(self) -> str:
        return f"Elasticsearch at {self._url}"

    def _unavailable(self, doing: str, error: Exception) -> StoreUnavailable:
        cause = _reason(error.body.get("error")) if isinstance(error, ApiError) and error.body else str(error)
        unavailable = StoreUnavailable(self._name, doing, cause)
        unavailable.__cause__ = error
        return unavailable


class _IndexMissing(StoreUnavailable):
    """The class has no index yet, or not any more."""


def _nodes(url: str) -> list[NodeConfig]:
    try:
        return [url_to_node_config(part.strip(), use_default_ports_for_scheme=True) for part in url.split(",")]
    except ValueError as error:
        raise SettingsInvalid(
            f"FACTLINE_ELASTICSEARCH_URL: expected something like http://127.0.0.1:9200, found {url!r}: {error}"
        ) from error


def _reason(error: Any) -> str:
    """Return what Elasticsearch says, down to the last cause."""
    reasons: list[str] = []
    while isinstance(error, Mapping):
        reasons.append(f"{error.get('type')}: {error.get('reason')}")
        error = error.get("caused_by")
    return "; ".join(reasons) or str(error)
