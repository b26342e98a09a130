"""``Documents``: the newest by sequence number wins, whatever the order of writes."""

import json
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncelog.domain.identifiers import AggregateId
from oncelog.errors import InputInvalid
from oncelog.ports import Document
from oncelog.read_models.document import document_of
from oncelog.stores.elasticsearch.versioned import VersionedWrite, bulk_requests
from tests.commands import delete
from tests.contract.chains import PLACE, chain, event_of, state_at
from tests.contract.conftest import Opened

HOSTILE: dict[str, dict[str, Any]] = {
    "dots in keys": {"a.b": {"c.d": 1}, "a": {"b": 2}, ".": 3, "..": 4},
    "empty names and values": {"": "", "empty": {}, "list": [], "null": None},
    "one key of many types": {"x": [1, "1", True, None, {"x": [[1.5]]}]},
    "names of Elasticsearch's own": {"_id": "x", "_source": {}, "_version": 7, "_routing": "y"},
    "deep": {"k": [[[[[[[[[[{"k": {"k": {"k": {}}}}]]]]]]]]]]},
    "long values": {"text": "x" * 100_000, "wide": "日" * 40_000},
    "long keys": {"k" * 512: {"l" * 512: "m" * 5_000}},
    "characters": {"\u0001\u2028\U0001f600": "\u0001\u2028\U0001f600\\\"'"},
    "numbers": {"max": 2**53 - 1, "min": -(2**53) + 1, "small": 5e-324, "large": 1.7976931348623157e308},
    "many keys": {f"key{number}": number for number in range(5_000)},
    "a date that is none": {"created_at": "yesterday", "sequence_number": "seven"},
}


def _documents(length: int, instance_id: str = "p1", **payload: Any) -> list[Document]:
    events = chain(length, instance_id, **payload)
    return [document_of(state_at(events[: number + 1])) for number in range(length)]


async def _read(opened: Opened, aggregate_id: AggregateId) -> Document | None:
    (found,) = await opened.ports.documents.read_documents([aggregate_id])
    return found


async def test_the_newest_wins_in_whatever_order_they_come(opened: Opened):
    for number, order in enumerate(permutations(range(3))):
        documents = _documents(3, f"p{number}")
        for index in order:
            assert await opened.ports.documents.write_documents([documents[index]]) == [None]
        assert await _read(opened, documents[0].aggregate_id) == documents[2]


async def test_replacing_write_wins_over_its_own_version_only(opened: Opened):
    first, second = _documents(2)
    forged = replace(second, body={**second.body, "data": {"forged": True}})
    write = opened.ports.documents.write_documents
    assert await write([forged]) == [None]
    assert await write([second]) == [None]
    assert await _read(opened, PLACE) == forged
    assert await write([second], replaces=True) == [None]
    assert await _read(opened, PLACE) == second
    assert await write([first], replaces=True) == [None]
    assert await _read(opened, PLACE) == second


async def test_one_batch_may_hold_anything(opened: Opened):
    first, second = _documents(2)
    other = _documents(1, "p2")[0]
    elsewhere = replace(_documents(1, "p3")[0], aggregate_id=AggregateId.parse("shop/Order/p3"))
    elsewhere = replace(elsewhere, body={**elsewhere.body, "aggregate_id": "shop/Order/p3", "class_id": "Order"})
    assert await opened.ports.documents.write_documents([second, other, first, elsewhere, other]) == [None] * 5
    assert await opened.ports.documents.write_documents([]) == []
    for document in (second, other, elsewhere):
        assert await _read(opened, document.aggregate_id) == document


async def test_refused_document_holds_up_no_other(opened: Opened):
    good, bad = _documents(1)[0], _documents(1, "p2")[0]
    bad = replace(bad, body={**bad.body, "colour": "red"})
    fine, refused = await opened.ports.documents.write_documents([good, bad])
    assert fine is None
    assert isinstance(refused, InputInvalid)
    assert "shop/Product/p2" in refused.message
    assert await _read(opened, bad.aggregate_id) is None
    assert await _read(opened, PLACE) == good


async def test_what_is_not_there_reads_as_none(opened: Opened):
    assert await _read(opened, PLACE) is None
    await opened.ports.documents.write_documents(_documents(1))
    assert await _read(opened, AggregateId.parse("shop/Product/p2")) is None
    assert await _read(opened, AggregateId.parse("shop/product/p1")) is None


async def test_many_are_read_at_once_in_the_order_asked(opened: Opened):
    first, second = _documents(1)[0], _documents(2, "p2")[1]
    await opened.ports.documents.write_documents([first, second])
    absent, no_index = AggregateId.parse("shop/Product/p3"), AggregateId.parse("shop/Order/p1")
    wanted = [second.aggregate_id, absent, no_index, first.aggregate_id, second.aggregate_id]
    assert await opened.ports.documents.read_documents(wanted) == [second, None, None, first, second]
    assert await opened.ports.documents.read_documents([]) == []


async def test_a_tombstone_stays_and_late_writes_lose_against_it(opened: Opened):
    events = chain(2)
    deleted = event_of(state_at(events), delete())
    tombstone = document_of(state_at([*events, deleted]))
    await opened.ports.documents.write_documents([tombstone])
    await opened.ports.documents.write_documents([document_of(state_at(events))])
    assert await _read(opened, PLACE) == tombstone
    assert (tombstone.body["deleted"], tombstone.body["data"]) == (True, {})


async def test_dropped_documents_come_back_with_the_next_write(opened: Opened):
    first, second = _documents(2)
    await opened.ports.documents.write_documents([first])
    await opened.drop_documents(PLACE)
    assert await _read(opened, PLACE) is None
    assert await opened.ports.documents.write_documents([second]) == [None]
    assert await _read(opened, PLACE) == second


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
async def test_any_json_object_comes_back_as_it_was(opened: Opened, data: dict[str, Any]):
    (document,) = _documents(1, **data)
    assert await opened.ports.documents.write_documents([document]) == [None]
    assert await _read(opened, PLACE) == document


@given(st.lists(st.integers(0, 400), max_size=20))
def test_bulk_requests_are_bounded_and_complete(sizes: list[int]):
    bodies = [{"text": "x" * size} for size in sizes]
    writes = [VersionedWrite("a", str(n), 1, body, "document", PLACE, "a.1") for n, body in enumerate(bodies)]
    requests = list(bulk_requests(writes, writes_max=5, bytes_max=1_000))
    assert [write for some, _ in requests for write in some] == writes
    for some, body in requests:
        lines = [json.loads(line) for line in body.splitlines()]
        assert [action["index"]["_id"] for action in lines[::2]] == [write.id for write in some]
        assert lines[1::2] == [write.body for write in some]
        assert len(some) <= 5
        assert len(some) == 1 or len(body) <= 1_000
