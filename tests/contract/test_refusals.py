"""Three kinds of refusal: try again, never this object, not this container now."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError, NoCredentialsError
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter

from oncelog.activities.failures import failure_of
from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.queries import Search
from oncelog.errors import (
    ContainerUnusable,
    ObjectRefused,
    StoreUnavailable,
    StoreUnsafe,
    UnusableReason,
)
from oncelog.ports import Document, IndexSchema
from oncelog.read_models.document import document_of
from oncelog.settings import Settings
from oncelog.stores.elasticsearch import ElasticsearchGraph
from oncelog.stores.elasticsearch.mapping import mappings_of
from oncelog.stores.elasticsearch.refusals import container_refusal, creation_refusal
from oncelog.stores.elasticsearch.server import INDEX_SETTINGS
from oncelog.stores.opening import Stores
from oncelog.stores.s3.refusals import refused
from oncelog.testing.memory.elasticsearch import UNREADABLE, MemoryDocuments
from oncelog.testing.memory.searches import MemorySearches
from tests.clients import patient_stores
from tests.contract.chains import chain, state_at

INDEX = "instances.shop.product.000001"


def _block(words: str) -> dict[str, str]:
    return {"type": "cluster_block_exception", "reason": f"index [{INDEX}] blocked by: [{words}];"}


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (403, _block("FORBIDDEN/8/index write (api)"), UnusableReason.WRITE_BLOCKED),
        (403, _block("FORBIDDEN/5/index read-only (api)"), UnusableReason.WRITE_BLOCKED),
        (429, _block("TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark"), UnusableReason.DISK_FULL),
        (403, _block("FORBIDDEN/12/index read-only / allow delete (api)"), UnusableReason.DISK_FULL),
        (503, _block("SERVICE_UNAVAILABLE/2/no master"), None),
        (400, {"type": "index_closed_exception", "reason": "closed"}, UnusableReason.CLOSED),
        (403, {"type": "security_exception", "reason": "action is unauthorized"}, UnusableReason.FORBIDDEN),
        (401, {"type": "security_exception", "reason": "unable to authenticate"}, UnusableReason.CREDENTIALS),
        (401, None, UnusableReason.CREDENTIALS),  # from a proxy before it
        (403, None, None),
        (
            400,
            {"type": "illegal_argument_exception", "reason": "no write index is defined for alias [a]"},
            UnusableReason.ALIAS_AMBIGUOUS,
        ),
        (
            503,
            {"type": "unavailable_shards_exception", "reason": "primary shard is not active Timeout: [4s]"},
            UnusableReason.SHARDS_UNASSIGNED,
        ),
        (
            503,
            {"type": "search_phase_execution_exception", "reason": "Search rejected due to missing shards [[a][0]]."},
            UnusableReason.SHARDS_UNASSIGNED,
        ),
        (503, {"type": "process_cluster_event_timeout_exception", "reason": "failed to process"}, None),
        (400, {"type": "document_parsing_exception", "reason": "failed to parse"}, None),
        (429, {"type": "es_rejected_execution_exception", "reason": "queue full"}, None),
        (429, {"type": "circuit_breaking_exception", "reason": "[parent] Data too large"}, None),
    ],
)
def test_elasticsearch_answers_are_told_apart(status: int, error: dict[str, str] | None, reason: UnusableReason | None):
    refusal = container_refusal(status, error, index=INDEX)
    assert (refusal.reason if refusal else None) == reason


def test_exhausted_shards_refuse_a_new_index():
    words = "this action would add [2] shards, but this cluster currently has [9]/[10] maximum normal shards open;"
    refusal = creation_refusal(400, {"type": "validation_exception", "reason": words}, index=INDEX)
    assert refusal is not None
    assert refusal.reason is UnusableReason.SHARDS_EXHAUSTED
    assert "max_shards_per_node" in refusal.remedy


def test_a_busy_master_holds_up_the_index_to_be_made_only():
    busy = {"type": "process_cluster_event_timeout_exception", "reason": "failed to process (create-index) within 30s"}
    refusal = creation_refusal(503, busy, index=INDEX)
    assert refusal is not None
    assert refusal.reason is UnusableReason.CREATION_REFUSED


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NoCredentialsError(), UnusableReason.CREDENTIALS),
        (CredentialRetrievalError(provider="process", error_msg="exit 1"), UnusableReason.CREDENTIALS),
        (RuntimeError("Credentials were refreshed, but are still expired."), UnusableReason.CREDENTIALS),
        ("ExpiredToken", UnusableReason.CREDENTIALS),
        ("InvalidAccessKeyId", UnusableReason.CREDENTIALS),
        ("AccessDenied", UnusableReason.FORBIDDEN),
        ("NoSuchBucket", UnusableReason.MISSING),
        ("RequestTimeTooSkewed", UnusableReason.CLOCK_SKEWED),
        ("SlowDown", None),
    ],
)
def test_s3_answers_are_told_apart(error: Exception | str, reason: UnusableReason | None):
    if isinstance(error, str):
        answer: Any = {"Error": {"Code": error, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        error = ClientError(answer, "PutObject")
    found = refused(error, "S3 at x", "oncelog", "PutObject k")
    assert isinstance(found, StoreUnavailable)
    assert (found.reason if isinstance(found, ContainerUnusable) else None) == reason


def test_a_failure_stays_below_the_servers_bound():
    long = StoreUnavailable("Elasticsearch", "writing", "ü" * 50_000)
    long.__cause__ = ValueError("x" * 50_000)
    encoded = Failure()
    converter = DataConverter.default
    converter.failure_converter.to_failure(failure_of(long), converter.payload_converter, encoded)
    assert encoded.ByteSize() < 4_096
    assert encoded.message.startswith("Elasticsearch gave no usable answer to writing")
    assert not encoded.HasField("cause")


@pytest.fixture
async def stores(settings: Settings) -> AsyncIterator[Stores]:
    async with patient_stores(settings) as opened:
        yield opened


def _document(instance_id: str = "p1", length: int = 1, class_id: str = "Product") -> Document:
    document = document_of(state_at(chain(length, instance_id)))
    place = AggregateId("shop", class_id, instance_id)
    return replace(
        document, aggregate_id=place, body={**document.body, "aggregate_id": str(place), "class_id": class_id}
    )


async def _outcomes(stores: Stores) -> tuple[Exception | None, Exception | None]:
    """Write the second version of a document of the damaged class, and one of another class beside it."""
    documents = stores.ports.documents
    wanted = [_document(length=2), _document("o1", class_id="Order")]
    await documents.write_documents(wanted)
    damaged, innocent = await documents.write_documents(wanted)  # the index is looked at anew
    return damaged, innocent


@pytest.mark.integration
@pytest.mark.parametrize("how", ["closed", "blocked", "doubled"])
async def test_a_refused_index_holds_up_its_own_only(stores: Stores, how: str):
    await stores.ports.documents.write_documents([_document()])
    client = stores.elasticsearch.client
    alias = stores.documents.alias_of(_document().aggregate_id)
    index = alias + ".000001"
    if how == "closed":
        await client.indices.close(index=index)
    elif how == "blocked":
        await client.indices.put_settings(index=index, settings={"index.blocks.write": True})
    else:
        await client.indices.create(index=alias + ".other", aliases={alias: {}})
        stores.documents._known.clear()  # as in a process that starts now
    damaged, innocent = await _outcomes(stores)
    assert innocent is None
    assert isinstance(damaged, ContainerUnusable)
    assert damaged.message.splitlines()[0].startswith(f"{stores.elasticsearch.name}: index {alias}")
    if how == "doubled":
        assert index in damaged.message
        assert f"{alias}.other" in damaged.message
        await client.indices.delete(index=alias + ".other")
    elif how == "blocked":
        await client.indices.put_settings(index=index, settings={"index.blocks.write": None})
    else:
        await client.indices.open(index=index, wait_for_active_shards=1)
    assert await _outcomes(stores) == (None, None)


@pytest.mark.integration
async def test_a_red_index_holds_up_its_own_only(stores: Stores):
    client, alias = stores.elasticsearch.client, stores.documents.alias_of(_document().aggregate_id)
    index, nowhere = alias + ".000001", "index.routing.allocation.require._name"
    await client.indices.create(
        index=index,
        aliases={alias: {"is_write_index": True}},
        settings={**INDEX_SETTINGS, nowhere: "nowhere"},
        mappings=mappings_of(IndexSchema()),
        wait_for_active_shards="0",
    )
    damaged, innocent = await _outcomes(stores)
    assert innocent is None
    assert isinstance(damaged, ContainerUnusable)
    assert damaged.reason is UnusableReason.SHARDS_UNASSIGNED
    sent = stores.elasticsearch.requests["bulk"]
    assert await _outcomes(stores) != (None, None)
    assert stores.elasticsearch.requests["bulk"] == sent + 4  # by itself, so that the innocent does not wait with it
    with pytest.raises(ContainerUnusable, match=r"shards_unassigned"):
        await stores.ports.documents.read_documents([_document().aggregate_id])
    with pytest.raises(ContainerUnusable, match=r"shards_unassigned"):
        await stores.ports.searches.find_documents(Search("shop", "Product", ""))
    await client.indices.put_settings(index=index, settings={nowhere: None})
    await client.cluster.health(index=index, wait_for_status="yellow", timeout="60s")
    assert await _outcomes(stores) == (None, None)
    assert not stores.elasticsearch._unassigned


@pytest.mark.integration
async def test_searches_refuse_an_ambiguous_alias(stores: Stores):
    document = _document()
    await stores.ports.documents.write_documents([document])
    alias = stores.documents.alias_of(document.aggregate_id)
    other = alias + ".other"
    await stores.elasticsearch.client.indices.create(index=other, aliases={alias: {}}, settings=INDEX_SETTINGS)
    with pytest.raises(StoreUnsafe, match=rf"alias {alias} leads to 2 indices, {alias}.000001 and {other}"):
        await stores.ports.searches.find_documents(Search("shop", "Product", ""))
    with pytest.raises(StoreUnsafe, match=other):
        await stores.ports.searches.searchable([document.aggregate_id])
    await stores.elasticsearch.client.indices.delete(index=other)
    await stores.elasticsearch.client.indices.refresh(index=alias)
    assert (await stores.ports.searches.find_documents(Search("shop", "Product", ""))).total == 1


@pytest.mark.integration
async def test_graph_walks_refuse_an_ambiguous_alias(stores: Stores):
    graph, places = stores.ports.graph, [AggregateId.of("shop", "Product", name) for name in ("a", "b")]
    await graph.write_nodes([GraphNode(places[0], 1, edges={"near": (places[1],)})])
    assert isinstance(stores.graph, ElasticsearchGraph)
    alias = stores.graph.alias_of("shop")
    await stores.elasticsearch.client.indices.create(
        index=alias + ".other", aliases={alias: {}}, settings=INDEX_SETTINGS
    )
    with pytest.raises(StoreUnsafe, match=f"{alias}.other"):
        await graph.referring_nodes("shop", [places[1]], "near", nodes_max=10)
    with pytest.raises(ContainerUnusable, match=alias):
        await graph.read_nodes(places)


@pytest.mark.parametrize("reason", UNREADABLE)
async def test_the_twin_refuses_as_its_server_does(reason: UnusableReason):
    documents = MemoryDocuments()
    assert await documents.write_documents([_document()]) == [None]
    documents.unusable["shop.product"] = reason
    for wanted in ([_document(length=2)], [_document("new")]):
        (outcome,) = await documents.write_documents(wanted)
        assert isinstance(outcome, ContainerUnusable)
    with pytest.raises(ContainerUnusable):
        await documents.read_documents([_document().aggregate_id])
    refusal = StoreUnsafe if reason is UnusableReason.ALIAS_AMBIGUOUS else ContainerUnusable
    with pytest.raises(refusal):
        await MemorySearches(documents).find_documents(Search("shop", "Product", ""))
    documents.unusable.clear()
    assert await documents.write_documents([_document(length=2)]) == [None]


@pytest.mark.integration
async def test_reads_name_an_ambiguous_alias(stores: Stores):
    document = _document()
    await stores.ports.documents.write_documents([document])
    alias = stores.documents.alias_of(document.aggregate_id)
    await stores.elasticsearch.client.indices.create(index=alias + ".other", aliases={alias: {}})
    with pytest.raises(ContainerUnusable, match=alias):
        await stores.ports.documents.read_documents([document.aggregate_id])


@pytest.mark.integration
async def test_one_refused_document_harms_no_other(stores: Stores):
    bad = replace(_document("bad"), body={**_document("bad").body, "sequence_number": "many"})
    outcomes = await stores.ports.documents.write_documents([_document("a"), bad, _document("b")])
    assert [type(outcome) for outcome in outcomes] == [type(None), ObjectRefused, type(None)]
