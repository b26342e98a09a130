"""Everything but S3 is lost, and one command brings all of it back: ``oncelog restore``."""

import asyncio
from collections import Counter

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from oncelog.domain.events import read_event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import Outcome
from oncelog.settings import Settings
from oncelog.stores.kafka.topic_reader import read_topic
from tests.bulks import bulk_create, item
from tests.classes import FIRST, SECOND, define
from tests.commands import create, delete, update
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

PRODUCTS, NOTES, UPDATES = 30, 12, 4


async def _fill(installation: Installation) -> None:
    """A few hundred commands: a class whose definition changed, an undefined one, a bulk command, and deletions."""
    client = installation.client
    await client.submit(define(FIRST))
    maker = {"name": "Lamp", "maker": "acme"}
    await client.submit(bulk_create(*(item(f"p{number}", maker) for number in range(PRODUCTS))))
    await asyncio.gather(*(client.submit(create(f"n{number}", class_id="Note")) for number in range(NOTES)))
    for number in range(UPDATES):
        updates = [update(f"p{one}", {"name": f"Lamp {number}"}) for one in range(PRODUCTS)]
        notes = [update(f"n{one}", {"n": number}, class_id="Note") for one in range(NOTES)]
        results = await asyncio.gather(*(client.submit(command) for command in (*updates, *notes)))
        assert {result.outcome for result in results} == {Outcome.APPLIED}
    await client.submit(define(SECOND))
    await client.submit(delete("p0"))
    await client.submit(update("absent"))


async def _lose_all_but_s3(installation: Installation) -> None:
    settings = installation.settings
    await _drop_topics(settings)
    indices = installation.stores.elasticsearch.client.indices
    await indices.delete(index=list(await indices.get(index=settings.named("*"), expand_wildcards="all")))
    await installation.empty_redis()
    await installation.lose_temporal()


async def _drop_topics(settings: Settings) -> None:
    topics = {settings.instance_topic, settings.ontology_topic, settings.failure_topic}
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics(sorted(topics))
        async with asyncio.timeout(120):
            while topics & set(await admin.list_topics()):
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def _published(settings: Settings) -> dict[str, list[int]]:
    """Return, by aggregate, the sequence numbers on the stream in their order, duplicates left out."""
    found: dict[str, list[int]] = {}
    for topic in (settings.instance_topic, settings.ontology_topic):
        for message in await read_topic(settings, topic):
            event = read_event(message.value, where="message")
            numbers = found.setdefault(event.aggregate_id, [])
            if event.sequence_number not in numbers:
                numbers.append(event.sequence_number)
    return found


async def test_all_stores_are_restored_from_s3(installation: Installation):
    async with installation.worker():
        await _fill(installation)
    logs = {name: len(events) for name, events in (await installation.logs()).items()}
    assert sum(logs.values()) == PRODUCTS * (1 + UPDATES) + NOTES * (1 + UPDATES) + 3
    await _lose_all_but_s3(installation)
    worker = await (await installation.worker_process(ONCELOG_CHECK_INTERVAL_S="0")).ready()
    code, (report, checked) = await installation.oncelog("restore")
    assert (code, report["outcome"], report["counts"]["parked"]) == (0, "SOUND", 0), report
    assert report["counts"]["published"] == sum(logs.values())
    assert (checked["tally"]["published"], checked["tally"]["unfinished"]) == (0, 0), checked
    code, (verified,) = await installation.oncelog("verify")
    assert (code, verified["verdict"], verified["findings"]) == (0, "sound", []), verified
    assert verified["read"]["messages"] == sum(logs.values())
    published = await _published(installation.settings)
    assert published == {name: list(range(1, head + 1)) for name, head in logs.items()}
    code, (again,) = await installation.oncelog("check", "--grace-s", "0")
    assert (code, again["outcome"]) == (0, "CLEAN"), again
    await _goes_on(installation)
    assert await worker.stop() == 0


async def _goes_on(installation: Installation) -> None:
    """The next command goes on from what was restored, and its event follows the others on the stream."""
    result = await installation.client.submit(update("p1", {"name": "after"}))
    assert (result.outcome, result.sequence_number) == (Outcome.APPLIED, 2 + UPDATES)
    found = await installation.client.get(AggregateId.of("shop", "Product", "p1"), token=result.consistency_token)
    assert found is not None
    assert found.body["data"]["name"] == "after"
    code, (verified,) = await installation.oncelog("verify")
    assert (code, verified["verdict"]) == (0, "sound"), verified
    counts = Counter(len(numbers) for numbers in (await _published(installation.settings)).values())
    assert counts[2 + UPDATES] == 2, "the deleted one, and this"
