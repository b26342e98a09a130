"""``Searches``: finds documents by what they hold, a moment after they were written."""

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import RESULTS_MAX
from oncelog.domain.queries import Scalar, Search
from oncelog.errors import CursorExpired, InputInvalid
from oncelog.ports import Document, SearchPage
from oncelog.read_models.document import document_of
from oncelog.stores.elasticsearch import ElasticsearchSearches
from oncelog.testing.memory.searches import MemorySearches
from tests.contract.chains import chain, state_at
from tests.contract.conftest import Opened

LAMPS: dict[str, dict[str, Any]] = {
    "p1": {"name": "Lamp", "price": 10, "tags": ["red", "small"], "maker": {"city": "Wien"}, "sold": True},
    "p2": {"name": "Lamp", "price": 12.5, "tags": ["blue"], "maker": {"city": "Graz"}, "sold": False},
    "p3": {"name": "Lantern", "price": 10, "parts": [{"kind": "glass"}, {"kind": "wire"}]},
}


def _documents(instance_id: str, **data: Any) -> list[Document]:
    return [document_of(state_at(chain(1, instance_id, **data)))]


@pytest.fixture
async def lamps(opened: Opened) -> Opened:
    for name, data in LAMPS.items():
        await opened.ports.documents.write_documents(_documents(name, **data))
    await _until_searchable(opened, dict.fromkeys(LAMPS, 1))
    return opened


async def _until_searchable(opened: Opened, wanted: dict[str, int]) -> None:
    places = [AggregateId.of("shop", "Product", name) for name in wanted]
    async with asyncio.timeout(120):
        while list(await opened.ports.searches.searchable(places)) != list(wanted.values()):
            await asyncio.sleep(0.05)


async def _find(opened: Opened, words: str = "", **more: Any) -> SearchPage:
    return await opened.ports.searches.find_documents(Search("shop", "Product", words, **more))


async def _expire(opened: Opened, cursor: str) -> None:
    """Let a cursor expire, as time does."""
    searches = opened.ports.searches
    if isinstance(searches, MemorySearches):
        searches.forget_cursors()
        return
    assert isinstance(searches, ElasticsearchSearches)
    await searches._server.client.close_point_in_time(id=json.loads(base64.urlsafe_b64decode(cursor))[1])


def _names(page: SearchPage) -> list[str]:
    return [document.aggregate_id.instance_id for document in page.documents]


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ({"/name": "Lamp"}, ["p1", "p2"]),
        ({"/price": 10}, ["p1", "p3"]),
        ({"/price": 12.5}, ["p2"]),
        ({"/sold": True}, ["p1"]),
        ({"/tags": "red"}, ["p1"]),
        ({"/maker/city": "Graz"}, ["p2"]),
        ({"/parts/kind": "wire"}, ["p3"]),
        ({"/maker/city": "Graz", "/name": "Lamp"}, ["p2"]),
        ({"/maker/city": None}, ["p3"]),
        ({"/maker": "Graz"}, []),
        ({"/name": "lamp"}, []),
        ({"/nothing": "Lamp"}, []),
        ({}, ["p1", "p2", "p3"]),
    ],
)
async def test_values_are_found_where_they_stand(lamps: Opened, where: dict[str, Scalar], names: list[str]):
    page = await _find(lamps, where=where)
    assert (_names(page), page.total) == (names, len(names))
    for document in page.documents:
        assert await lamps.ports.documents.read_documents([document.aggregate_id]) == [document]


@pytest.mark.parametrize(
    ("words", "names"),
    [("Lamp", ["p1", "p2"]), ("La*", ["p1", "p2", "p3"]), ("Lamp red", ["p1"]), ("wire", ["p3"]), ("torch", [])],
)
async def test_words_are_found_wherever_they_stand(lamps: Opened, words: str, names: list[str]):
    assert sorted(_names(await _find(lamps, words))) == names


@pytest.mark.parametrize("words", ['"', "name:Lamp", "{}", "(", "a AND", "\\", "*:*", "_exists_:data", "/x/", "~", "^"])
async def test_words_that_look_like_syntax_are_words(lamps: Opened, words: str):
    assert _names(await _find(lamps, words)) == []


async def test_pages_follow_each_other_without_gap_or_repetition(lamps: Opened):
    first = await _find(lamps, results_max=2)
    assert (_names(first), first.total) == (["p1", "p2"], 3)
    second = await _find(lamps, results_max=2, cursor=first.cursor)
    assert (_names(second), second.cursor) == (["p3"], "")
    for cursor in ("p1", "W10=", "WzEsMl0=", "x y z"):
        with pytest.raises(InputInvalid, match="cursor is not one of ours"):
            await _find(lamps, cursor=cursor)
    for other in ({"words": "Lamp"}, {"where": {"/price": 10}}, {"sort": ["/price"]}):
        with pytest.raises(InputInvalid, match="cursor is of another search"):
            await _find(lamps, cursor=first.cursor, **other)


async def test_last_page_has_no_cursor(lamps: Opened):
    page = await _find(lamps, results_max=3)
    assert (_names(page), page.cursor) == (["p1", "p2", "p3"], "")


@pytest.mark.parametrize("words", ["", "La*"])
async def test_pages_are_of_one_moment(lamps: Opened, words: str):
    first = await _find(lamps, words, results_max=1)
    found = _names(first)
    changed = document_of(replace(state_at(chain(1, "p3", **LAMPS["p3"])), data={"name": "x"}, sequence_number=2))
    await lamps.ports.documents.write_documents(
        [*_documents("p0", name="Lamp"), *_documents("p25", name="Lamp"), changed]
    )
    await _until_searchable(lamps, {"p0": 1, "p25": 1, "p3": 2})
    cursor = first.cursor
    while cursor:
        page = await _find(lamps, words, results_max=1, cursor=cursor)
        assert page.total == first.total
        found += _names(page)
        cursor = page.cursor
    assert sorted(found) == ["p1", "p2", "p3"]
    assert page.documents[0].sequence_number == 1


async def test_expired_cursor_says_so(lamps: Opened):
    page = await _find(lamps, results_max=1)
    await _expire(lamps, page.cursor)
    with pytest.raises(CursorExpired, match=r"the cursor has expired.*search again from the first page"):
        await _find(lamps, results_max=1, cursor=page.cursor)


async def test_forged_cursor_is_refused(lamps: Opened):
    page = await _find(lamps, results_max=1)
    try:
        fields = json.loads(base64.urlsafe_b64decode(page.cursor))
    except ValueError:
        return  # in memory a cursor is plain text
    for forged in ("", "x", "AAAA"):
        cursor = base64.urlsafe_b64encode(json.dumps([fields[0], forged, *fields[2:]]).encode()).decode()
        with pytest.raises(InputInvalid, match="cursor"):
            await _find(lamps, results_max=1, cursor=cursor)


async def test_what_was_deleted_or_is_of_another_class_is_not_found(lamps: Opened):
    events = chain(1, "p1", **LAMPS["p1"])
    tombstone = document_of(replace(state_at(events), deleted=True, data={}, sequence_number=2))
    await lamps.ports.documents.write_documents([tombstone])
    await _until_searchable(lamps, {"p1": 2})
    assert _names(await _find(lamps)) == ["p2", "p3"]
    for class_id in ("product", "Order"):
        page = await lamps.ports.searches.find_documents(Search("shop", class_id))
        assert (page.documents, page.total, page.cursor) == ([], 0, "")


async def test_what_is_not_there_is_searchable_at_nothing(lamps: Opened):
    places = [AggregateId.parse(name) for name in ("shop/Product/p1", "shop/Product/p9", "shop/Order/p1")]
    assert list(await lamps.ports.searches.searchable(places)) == [1, 0, 0]
    assert list(await lamps.ports.searches.searchable([])) == []


@pytest.mark.parametrize(
    "search",
    [
        {"class_id": "_all"},
        {"db_name": "*"},
        {"results_max": -1},
        {"results_max": 0, "cursor": "x"},
        {"results_max": RESULTS_MAX + 1},
        {"words": "x" * 2_000},
        {"where": {"name": 1}},
        {"where": {"": 1}},
    ],
)
def test_questions_that_make_no_sense_are_refused(search: dict[str, Any]):
    with pytest.raises(InputInvalid):
        Search(**{"db_name": "shop", "class_id": "Product", **search})
