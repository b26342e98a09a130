"""Damage to real indices and aliases is named, and gone once it is mended."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from elasticsearch import AsyncElasticsearch

from oncelog.checks.verify import Report, Verdict, nothing_in_flight, verify
from oncelog.composition.checks import sources_of
from oncelog.settings import Settings
from oncelog.stores.elasticsearch.server import INDEX_SETTINGS
from oncelog.verification.findings import Code
from tests.commands import create
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

NOWHERE = "index.routing.allocation.require._name"


@pytest.fixture
async def installation(
    settings: Settings, environment: Mapping[str, str], tmp_path: Path
) -> AsyncIterator[Installation]:
    async with Installation.opened(settings, environment, tmp_path) as opened:
        async with opened.worker():
            await opened.client.submit(create("lamp"))
            await opened.client.submit(create("o1", class_id="Order"))
        yield opened


@asynccontextmanager
async def _closed(client: AsyncElasticsearch, _alias: str, index: str) -> AsyncIterator[None]:
    await client.indices.close(index=index)
    yield
    await client.indices.open(index=index, wait_for_active_shards=1)


@asynccontextmanager
async def _blocked(client: AsyncElasticsearch, _alias: str, index: str) -> AsyncIterator[None]:
    await client.indices.put_settings(index=index, settings={"index.blocks.write": True})
    yield
    await client.indices.put_settings(index=index, settings={"index.blocks.write": None})


@asynccontextmanager
async def _lost(client: AsyncElasticsearch, alias: str, index: str) -> AsyncIterator[None]:
    await client.indices.delete_alias(index=index, name=alias)
    yield
    await client.indices.put_alias(index=index, name=alias, is_write_index=True)


@asynccontextmanager
async def _doubled(client: AsyncElasticsearch, alias: str, _index: str) -> AsyncIterator[None]:
    await client.indices.create(index=f"{alias}.000009", aliases={alias: {}}, settings=INDEX_SETTINGS)
    yield
    await client.indices.delete(index=f"{alias}.000009")


DAMAGE = {
    Code.INDEX_CLOSED: _closed,
    Code.INDEX_BLOCKED: _blocked,
    Code.ALIAS_LOST: _lost,
    Code.ALIAS_AMBIGUOUS: _doubled,
}


async def test_damaged_containers_are_named(installation: Installation):
    client, named = installation.stores.elasticsearch.client, installation.settings.named
    for alias in ("instances.shop.product", "graph.shop"):
        for code, damaged in DAMAGE.items():
            async with damaged(client, named(alias), named(alias) + ".000001"):
                report = await _verified(installation)
                assert [(finding.code, finding.where) for finding in report.findings] == [(code, f"alias {alias}")]
            assert (await _verified(installation)).verdict is Verdict.SOUND, (alias, code)


async def test_a_red_index_is_named(installation: Installation):
    client, alias = installation.stores.elasticsearch.client, installation.settings.named("instances.shop.product")
    await client.indices.delete(index=f"{alias}.000001")
    await client.indices.create(
        index=f"{alias}.000001",
        aliases={alias: {"is_write_index": True}},
        settings={**INDEX_SETTINGS, NOWHERE: "nowhere"},
        wait_for_active_shards="0",
    )
    try:
        report = await _verified(installation)
        assert [finding.code for finding in report.findings] == [Code.INDEX_UNASSIGNED]
    finally:
        await client.indices.delete(index=f"{alias}.000001")


async def _verified(installation: Installation) -> Report:
    sources = sources_of(installation.stores, installation.settings)
    return await verify(sources, in_flight=nothing_in_flight)
