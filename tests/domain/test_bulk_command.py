"""The bulk command, its items and its plan: acceptance, refusals, and division into chunks."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncelog.domain import limits
from oncelog.domain.bulk import plan
from oncelog.domain.bulk.command import Bulk, BulkType, parse_bulk
from oncelog.domain.bulk.items import ItemChange, change_of, shortened
from oncelog.domain.bulk.plan import ItemsScanner, Plan, items_in
from oncelog.domain.bulk.records import bulk_record
from oncelog.domain.canonical import canonical_bytes, parse_json
from oncelog.domain.commands import CLASS_COMMANDS, CommandType
from oncelog.domain.identifiers import derive_event_id, derive_instance_id
from oncelog.domain.records import CommandRecord, read_record, record_of
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.errors import InputInvalid, LogDamaged
from tests.bulks import bulk_create, bulk_delete, bulk_update, item, ndjson, reference
from tests.commands import create

NOON = "2026-01-01T12:00:00.000000Z"


def test_a_bulk_command_names_what_it_does_to_each():
    assert [kind.of_each for kind in BulkType] == [kind for kind in CommandType if kind not in CLASS_COMMANDS]


def test_absent_and_null_have_one_hash_and_content_another():
    plain = bulk_create(item("p1"), command_id="b")
    assert plain.hash == bulk_create(item("p1"), command_id="b", actor=None).hash
    assert plain.hash != bulk_create(item("p2"), command_id="b").hash
    assert plain.hash != bulk_delete(item("p1"), command_id="b").hash
    assert plain.hash == parse_bulk(plain.as_json).hash


@pytest.mark.parametrize(
    ("payload", "at"),
    [
        ({}, "/payload"),
        ({"items": []}, "/payload/items"),
        ({"items": [{}], "items_key": "payloads/a"}, "/payload"),
        ({"items_key": "payloads/a", "items_sha256": "0" * 64}, "/payload"),
        (reference([1], items_key="events/a/b/c")[0], "/payload/items_key"),
        (reference([1], items_key="payloads/../events/x")[0], "/payload/items_key"),
        (reference([1], items_sha256="A" * 64)[0], "/payload/items_sha256"),
        (reference([1], items_sha256="a" * 64 + "\n")[0], "/payload/items_sha256"),
        (reference([1], items_count=0)[0], "/payload/items_count"),
        (reference([1], items_count=1_000_001)[0], "/payload/items_count"),
        (reference([1], items_count=True)[0], "/payload/items_count"),
        ({"items": [{"payload": {"n": 2**53}}]}, "/payload/items"),
        ({"items": [{}], "more": 1}, "/payload/more"),
    ],
)
def test_a_payload_that_is_none_is_refused_where_it_is_wrong(payload: dict[str, Any], at: str):
    fields = {"command_id": "b", "command_type": "BULK_CREATE_INSTANCES", "db_name": "shop", "class_id": "Product"}
    with pytest.raises(InputInvalid) as caught:
        parse_bulk({**fields, "payload": payload})
    assert [finding["at"] for finding in caught.value.details["errors"]] == [at]


def test_a_command_on_one_instance_is_no_bulk_command():
    with pytest.raises(InputInvalid, match="command_type"):
        parse_bulk(create().model_dump(mode="json"))


def test_an_item_asks_for_what_a_command_would():
    bulk = bulk_update(item("p1", {"a": 1.0}, expected_version=4), actor="ann")
    change = change_of(bulk, 7, bulk.payload.items[0])  # type: ignore[index]
    assert isinstance(change, ItemChange)
    assert (change.event_id, change.hash) == (derive_event_id(bulk.command_id, 7), bulk.hash)
    assert (change.command_type, str(change.aggregate_id)) == (CommandType.UPDATE_INSTANCE, "shop/Product/p1")
    assert (change.payload, change.expected_version, change.actor) == ({"a": 1}, 4, "ann")
    assert isinstance(change.payload["a"], int)  # as it reads back from its canonical form


def test_an_item_without_an_instance_gets_one_of_its_own():
    bulk = bulk_create(item(), item())
    names = [change_of(bulk, index, {}).aggregate_id.instance_id for index in (0, 1)]  # type: ignore[union-attr]
    assert names == [derive_instance_id(f"{bulk.command_id}/{index}") for index in (0, 1)]


@pytest.mark.parametrize(
    ("bulk", "value", "problem"),
    [
        (bulk_create({}), b"{", "not JSON"),
        (bulk_create({}), b"", "not JSON"),
        (bulk_create({}), b'{"payload": {"n": 9007199254740993}}', "beyond"),
        (bulk_create({}), b'{"payload": {}, "payload": {}}', "twice"),
        (bulk_create({}), b'"p1"', "expected a JSON object, found str"),
        (bulk_create({}), {"instance_id": "a\u200bb"}, "invisible"),
        (bulk_create({}), {"instance": "p1"}, "instance"),
        (bulk_create({}), {"expected_version": "1"}, "expected_version"),
        (bulk_create({}), {"expected_version": -1}, "expected_version"),
        (bulk_update({}), {"payload": {"n": 1}}, "instance_id: expected one for UPDATE_INSTANCE"),
        (bulk_delete({}), {"instance_id": "p1", "payload": {"n": 1}}, "payload: expected none for DELETE_INSTANCE"),
    ],
)
def test_an_item_that_is_not_valid_is_rejected_by_itself(bulk: Bulk, value: Any, problem: str):
    rejection = change_of(bulk, 3, value)
    assert isinstance(rejection, Rejection)
    assert rejection.code is RejectionCode.INVALID_COMMAND
    assert rejection.message.startswith("item 3")
    assert problem in rejection.message


def test_a_rejection_is_short_enough_for_a_record_of_hundreds():
    errors = [{"at": "/x", "problem": "y" * 100}] * 50
    details = {"errors": errors, "found_version": 3}
    short = shortened(Rejection(code=RejectionCode.INVALID_COMMAND, message="m" * 5_000, details=details))
    assert short.details == {"errors": errors[:6], "found_version": 3, "left_out": {"errors": 44}}
    whole = Rejection(code=RejectionCode.INVALID_COMMAND, message="m", details={"text": "t" * 5_000, "n": 1})
    assert shortened(whole).details == {"n": 1, "left_out": {"text": 1}}
    assert len(canonical_bytes(short.model_dump(mode="json"))) < 2_000


def scanned(data: bytes, *, block_bytes: int = 7, **bounds: int) -> tuple[Plan, str]:
    scanner = ItemsScanner(**bounds)
    for start in range(0, len(data), block_bytes):
        scanner.feed(data[start : start + block_bytes])
    return scanner.finish()


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"?")), min_size=1, max_size=60),
    ended=st.booleans(),
    block_bytes=st.integers(1, 50),
    chunk_items_max=st.integers(1, 9),
    chunk_bytes_max=st.integers(1, 120),
)
def test_chunks_hold_every_item_once_within_their_bounds(
    lines: list[bytes], *, ended: bool, block_bytes: int, chunk_items_max: int, chunk_bytes_max: int
):
    data = b"\n".join(lines) + (b"\n" if ended or not lines[-1] else b"")
    found, digest = scanned(
        data, block_bytes=block_bytes, chunk_items_max=chunk_items_max, chunk_bytes_max=chunk_bytes_max
    )
    assert (found.items_count, found.size_bytes, digest) == (len(lines), len(data), hashlib.sha256(data).hexdigest())
    read: list[bytes] = []
    for chunk in range(1, len(found.chunks) + 1):
        place = found.bytes_of(chunk)
        body = data[place.start : place.stop]
        assert hashlib.sha256(body).hexdigest() == found.chunks[chunk - 1].sha256
        items = items_in(body)
        assert found.items_of(chunk) == range(len(read), len(read) + len(items))
        assert 1 <= len(items) <= chunk_items_max
        assert len(items) == 1 or len(body) <= chunk_bytes_max
        read += items
    assert read == lines


def test_nothing_and_too_much_are_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputInvalid, match="at least one"):
        scanned(b"")
    monkeypatch.setattr(plan, "ITEMS_MAX", 3)
    scanned(b"{}\n" * 3)
    with pytest.raises(InputInvalid, match="at most 3"):
        scanned(b"{}\n" * 4)
    monkeypatch.setattr(plan, "LINE_BYTES_MAX", 10)
    with pytest.raises(InputInvalid, match="item 1: expected a line of at most 10 bytes"):
        scanned(b"{}\n" + b"x" * 11, block_bytes=100)
    with pytest.raises(InputInvalid, match="item 0: expected a line of at most 10 bytes"):
        scanned(b"x" * 12)


def test_a_plan_of_the_largest_command_fits_into_its_record():
    start = {"first": 999_999, "offset": limits.ITEMS_BYTES_MAX, "sha256": "0" * 64}
    chunks = 1_000_000 // limits.CHUNK_ITEMS_MAX + 2 * limits.ITEMS_BYTES_MAX // limits.CHUNK_BYTES_MAX + 1
    assert len(canonical_bytes([start] * chunks)) < 1024 * 1024


def test_both_kinds_of_records_are_read_back():
    single = create()
    command_record = record_of(single, number=1, occurred_at=NOON, end=1)
    assert read_record(command_record.canonical, where="here") == command_record
    for bulk in (bulk_create(item("p1", {"a": None})), bulk_create(payload=reference([{}])[0])):
        division, _ = scanned(ndjson([{}]))
        for end in (division, Rejection(code=RejectionCode.INVALID_COMMAND, message="no")):
            record = bulk_record(bulk, occurred_at=NOON, end=end)
            found = read_record(record.canonical, where="here")
            assert found == record
            assert not isinstance(found, CommandRecord)
            assert (found.bulk, found.bulk.hash) == (bulk, bulk.hash)


@pytest.mark.parametrize(
    "change", [{"plan": None}, {"command": {"command_type": "BULK_CREATE_INSTANCES"}}, {"number": 2}, {"more": 1}]
)
def test_a_damaged_record_of_a_bulk_command_is_named(change: dict[str, Any]):
    division, _ = scanned(ndjson([{}]))
    fields = parse_json(bulk_record(bulk_create({}), occurred_at=NOON, end=division).canonical)
    with pytest.raises(LogDamaged, match="somewhere"):
        read_record(json.dumps(fields | change).encode(), where="somewhere")
