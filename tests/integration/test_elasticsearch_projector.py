"""A read model in an Elasticsearch index of one's own on real servers: its projector is killed, documents are right."""

import signal

import pytest

from oncelog.domain.identifiers import AggregateId
from oncelog.elasticsearch import ElasticsearchPositions
from oncelog.ports import Watermark
from tests.contract.chains import chain
from tests.elasticsearch.views import products
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

PRODUCTS = "tests.elasticsearch.views:products"


async def test_killed_projector_leaves_newest_documents(installation: Installation):
    chains = [chain(1 + number % 3, f"p{number}") for number in range(40)]
    log, publisher = installation.stores.ports.event_log, installation.stores.ports.publisher
    for events in chains:
        for event in events:
            await log.append_event(event, published_through=Watermark(1, event.sequence_number - 1))
        await publisher.publish_events(events)
    crashing = await installation.own_projector_process(PRODUCTS, ONCELOG_CRASH_AFTER="show")
    assert await crashing.ended() == -signal.SIGKILL  # documents are written, offsets are not
    for events in chains[:10]:
        await publisher.publish_events(events)  # late duplicates
    projector = await (await installation.own_projector_process(PRODUCTS)).ready()
    await installation.until_idle(PRODUCTS)
    assert await projector.stop() == 0
    places = [AggregateId.parse(events[0].aggregate_id) for events in chains]
    async with ElasticsearchPositions(products, installation.settings) as positions:
        assert await positions.projected_versions(places) == [len(events) for events in chains]
