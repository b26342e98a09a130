"""The checks on real servers: nothing is found in what a worker made, and damage behind its back is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from oncelog.checks.verify import Report, Verdict, nothing_in_flight, verify
from oncelog.composition.checks import sources_of
from oncelog.domain.events import Event
from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import AggregateId
from oncelog.read_models.document import document_of
from oncelog.settings import Settings
from oncelog.stores.elasticsearch import ElasticsearchGraph
from oncelog.stores.kafka.messages import headers_of
from oncelog.verification.findings import Code, Severity
from tests.commands import create, delete, update
from tests.contract.chains import state_at
from tests.integration.installation import Installation
from tests.verification.damage import resealed

pytestmark = pytest.mark.integration

LAMP = AggregateId.parse("shop/Product/lamp")


@pytest.fixture
async def installation(
    settings: Settings, environment: Mapping[str, str], tmp_path: Path
) -> AsyncIterator[Installation]:
    async with Installation.opened(settings, environment, tmp_path) as opened:
        async with opened.worker(), asyncio.timeout(60):
            for name in ("lamp", "desk", "déjà vu"):
                await opened.client.submit(create(name, {"price": 1.5}, command_id=f"{name.encode().hex()}-1"))
                await asyncio.gather(*(opened.client.submit(update(name, {f"k{n}": n})) for n in range(4)))
            await opened.client.submit(delete("desk"))
            await opened.client.submit(update("nobody"))
        yield opened


async def _verified(installation: Installation) -> Report:
    return await verify(sources_of(installation.stores, installation.settings), in_flight=nothing_in_flight)


async def _put(installation: Installation, key: str, body: bytes) -> None:
    bucket = installation.stores.bucket
    await asyncio.to_thread(bucket.client.put_object, Bucket=bucket.name, Key=bucket.prefix + key, Body=body)


async def _delete(installation: Installation, key: str) -> None:
    bucket = installation.stores.bucket
    await asyncio.to_thread(bucket.client.delete_object, Bucket=bucket.name, Key=bucket.prefix + key)


def _key(event: Event) -> str:
    return f"events/{event.aggregate_id}/{event.sequence_number:020d}.json"


async def _forge_event(installation: Installation, lamp: list[Event]) -> None:
    last = lamp[-1]
    await _put(installation, _key(last), resealed(last, data={"price": 0}).canonical)


async def _flip_a_bit(installation: Installation, lamp: list[Event]) -> None:
    event = lamp[2]
    await _put(installation, _key(event), event.canonical.replace(b'"k', b'"j', 1))


async def _delete_event(installation: Installation, lamp: list[Event]) -> None:
    await _delete(installation, _key(lamp[2]))


async def _delete_record(installation: Installation, _lamp: list[Event]) -> None:
    await _delete(installation, f"commands/{b'lamp'.hex()}-1/000001.json")


async def _send(installation: Installation, event: Event) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=installation.settings.kafka.bootstrap_servers)
    await producer.start()
    try:
        await producer.send_and_wait(
            installation.settings.instance_topic,
            key=event.aggregate_id.encode(),
            value=event.canonical,
            headers=headers_of(event),
        )
    finally:
        await producer.stop()


async def _send_forged(installation: Installation, lamp: list[Event]) -> None:
    await _send(installation, resealed(lamp[1], actor="eve"))


async def _send_foreign(installation: Installation, lamp: list[Event]) -> None:
    await _send(installation, resealed(lamp[-1], sequence_number=99))


async def _write_document(installation: Installation, lamp: list[Event], **changes: object) -> None:
    """Write lamp's document past all of our own stores, under the same version."""
    document = document_of(state_at(lamp))
    elasticsearch = installation.stores.elasticsearch.client
    await elasticsearch.index(
        index=installation.stores.documents.alias_of(LAMP),
        id="lamp",
        document=dict(document.body) | changes,
        version=document.sequence_number,
        version_type="external_gte",
    )


async def _change_document(installation: Installation, lamp: list[Event]) -> None:
    await _write_document(installation, lamp, data={"price": 0})


async def _delete_document(installation: Installation, _lamp: list[Event]) -> None:
    alias = installation.stores.documents.alias_of(LAMP)
    await installation.stores.elasticsearch.client.delete(index=alias, id="lamp")


async def _add_document(installation: Installation, lamp: list[Event]) -> None:
    ghost = AggregateId.parse("shop/Product/ghost")
    document = document_of(state_at(lamp))
    body = dict(document.body) | {"aggregate_id": str(ghost), "instance_id": "ghost"}
    assert list(
        await installation.stores.documents.write_documents([replace(document, aggregate_id=ghost, body=body)])
    ) == [None]


async def _change_node(installation: Installation, _lamp: list[Event]) -> None:
    """Give lamp's node an edge past all of our own stores, under the same version."""
    graph = ElasticsearchGraph(installation.stores.elasticsearch, installation.settings)
    found = await installation.stores.elasticsearch.client.get(index=graph.alias_of("shop"), id="Product/lamp")
    await installation.stores.elasticsearch.client.index(
        index=graph.alias_of("shop"),
        id="Product/lamp",
        document={**found["_source"], "edges": {"near": ["shop/Product/desk"]}},
        version=found["_version"],
        version_type="external_gte",
    )


async def _add_node(installation: Installation, lamp: list[Event]) -> None:
    ghost = GraphNode(AggregateId.parse("shop/Product/ghost"), len(lamp))
    assert list(await installation.stores.graph.write_nodes([ghost])) == [None]


async def _delete_node(installation: Installation, _: list[Event]) -> None:
    graph = ElasticsearchGraph(installation.stores.elasticsearch, installation.settings)
    await installation.stores.elasticsearch.client.delete(index=graph.alias_of("shop"), id="Product/lamp")


@dataclass(frozen=True)
class Damage:
    plant: Callable[[Installation, list[Event]], Awaitable[None]]
    code: Code


#: In this order, since the document of a damaged log cannot be judged.
PLANTED = [
    Damage(_change_document, Code.DOCUMENT_WRONG),
    Damage(_add_document, Code.DOCUMENT_FOREIGN),
    Damage(_delete_document, Code.DOCUMENT_MISSING),
    Damage(_change_node, Code.NODE_WRONG),
    Damage(_add_node, Code.NODE_FOREIGN),
    Damage(_delete_node, Code.NODE_MISSING),
    Damage(_send_forged, Code.MESSAGE_ALTERED),
    Damage(_send_foreign, Code.MESSAGE_FOREIGN),
    Damage(_delete_record, Code.RECORD_MISSING),
    Damage(_forge_event, Code.EVENT_FORGED),
    Damage(_flip_a_bit, Code.CHECKSUM_WRONG),
    Damage(_delete_event, Code.SEQUENCE_GAP),
]


async def test_every_kind_of_damage_is_found_and_nothing_before_it(installation: Installation):
    """One installation, damaged more and more: a sound one costs a worker's run, so it is made once."""
    before = await _verified(installation)
    assert (before.verdict, before.findings) == (Verdict.SOUND, [])
    assert (before.read.aggregates, before.read.events, before.read.documents, before.read.nodes) == (3, 16, 3, 3)
    assert before.read.messages >= before.read.events
    lamp = (await installation.logs())[str(LAMP)]
    for damage in PLANTED:
        known = (await _verified(installation)).counts
        await damage.plant(installation, lamp)
        found = await _verified(installation)
        assert _count(found.counts, damage.code) > _count(known, damage.code), (damage, found.findings)


def _count(counts: Mapping[Severity, Mapping[Code, int]], code: Code) -> int:
    return sum(counted.get(code, 0) for counted in counts.values())
