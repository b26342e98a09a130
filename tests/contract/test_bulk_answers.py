"""Elasticsearch answers each write of a bulk request: only 2xx and an older version count as written."""

from typing import Any

import pytest

from oncelog.errors import ContainerUnusable, InputInvalid, StoreUnavailable, UnusableReason
from oncelog.settings import Settings
from oncelog.stores.elasticsearch.server import ElasticsearchServer
from oncelog.stores.elasticsearch.versioned import VersionedWrite
from tests.contract.chains import PLACE

WRITE = VersionedWrite("a", "p1", 1, {}, "document", PLACE, "a.1")


def _error(kind: str) -> dict[str, Any]:
    return {"type": kind, "reason": "forged"}


async def _outcome(monkeypatch: pytest.MonkeyPatch, *items: dict[str, Any]) -> list[Exception | None]:
    async def bulk(**_: Any) -> dict[str, Any]:
        return {"items": [{"index": item} for item in items]}

    async def none_missing(_alias: str) -> StoreUnavailable | None:
        return None

    server = ElasticsearchServer(Settings())
    monkeypatch.setattr(server.client, "bulk", bulk)
    try:
        return list(await server.write([WRITE] * len(items), none_missing))
    finally:
        await server.close()


@pytest.mark.parametrize("status", [200, 201, 409])
async def test_a_written_or_older_version_is_a_success(monkeypatch: pytest.MonkeyPatch, status: int):
    assert await _outcome(monkeypatch, {"status": status}) == [None]


@pytest.mark.parametrize("status", [300, 400, 403, 404, 408, 410, 413, 429, 500, 502, 503, 504])
async def test_an_unknown_refusal_is_tried_again(monkeypatch: pytest.MonkeyPatch, status: int):
    busy = {"status": status, "error": _error("es_rejected_execution_exception")}
    before, refused, after = await _outcome(monkeypatch, {"status": 201}, busy, {"status": 200})
    assert (before, after) == (None, None)
    assert isinstance(refused, StoreUnavailable)
    assert f"{status}" in refused.message


async def test_a_401_names_the_credentials(monkeypatch: pytest.MonkeyPatch):
    refused_login = {"status": 401, "error": _error("security_exception")}
    before, refused, after = await _outcome(monkeypatch, {"status": 201}, refused_login, {"status": 200})
    assert (before, after) == (None, None)
    assert isinstance(refused, ContainerUnusable)
    assert refused.reason is UnusableReason.CREDENTIALS
    assert "ONCELOG_ELASTICSEARCH_API_KEY, or _USERNAME and _PASSWORD" in refused.message


async def test_a_document_that_fits_no_mapping_is_refused(monkeypatch: pytest.MonkeyPatch):
    (refused,) = await _outcome(monkeypatch, {"status": 400, "error": _error("document_parsing_exception")})
    assert isinstance(refused, InputInvalid)
