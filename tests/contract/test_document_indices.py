"""``DocumentIndices``: one index follows another under readers and writers, and what is typed takes what fits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oncelog.domain.events import DefinitionReference
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import StoreUnavailable
from oncelog.ports import Document, DocumentIndex, IndexSchema, StaleIndex
from oncelog.read_models.typed_mapping import typed_mapping
from tests.classes import FIRST
from tests.contract.conftest import Opened

NAME = AggregateId.of_class("shop", "Product")
TYPED = IndexSchema(DefinitionReference(sequence_number=1, version="1.0.0"), typed_mapping(FIRST["schema"]))
NEXT = IndexSchema(DefinitionReference(sequence_number=4, version="2.0.0"), typed_mapping(FIRST["schema"]))


def document(key: str, version: int = 1, index_schema: IndexSchema = TYPED, **data: Any) -> Document:
    aggregate_id = AggregateId("shop", "Product", key)
    body = {
        "aggregate_id": str(aggregate_id),
        "db_name": "shop",
        "class_id": "Product",
        "instance_id": key,
        "sequence_number": version,
        "schema_version": "2.0.0",
        "event_id": "e",
        "deleted": False,
        "created_at": "2026-01-01T12:00:00.000000Z",
        "updated_at": "2026-01-01T12:00:00.000000Z",
        "data": data,
    }
    return Document(aggregate_id, version, body, document_schema=index_schema.definition)


async def read(opened: Opened, key: str = "p1") -> Document | None:
    (found,) = await opened.ports.documents.read_documents([AggregateId("shop", "Product", key)])
    return found


async def everything(opened: Opened, index: DocumentIndex, *, close: bool = False) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    position = -1
    while (some := await opened.ports.index_contents.changed_documents(index, after=position, close=close)).documents:
        found += some.documents
        position = some.position
    return found


async def written_at_last(opened: Opened, document: Document) -> Exception | None:
    """Write a document as workers do: a writer that knew the index before a switch is told so, and looks anew."""
    (outcome,) = await opened.ports.documents.write_documents([document])
    if isinstance(outcome, StaleIndex):
        (outcome,) = await opened.ports.documents.write_documents([document])
    return outcome


async def test_class_has_no_index_before_its_first_document(opened: Opened):
    assert await opened.ports.indices.current_index(NAME) is None
    assert await opened.ports.documents.write_documents([document("p1", index_schema=IndexSchema(), n=1)]) == [None]
    found = await opened.ports.indices.current_index(NAME)
    assert found is not None
    assert (found.definition, found.mapping_digest) == (None, None)


async def test_the_first_index_may_be_typed(opened: Opened):
    made = await opened.ports.indices.create_index(NAME, TYPED, first=True)
    assert await opened.ports.indices.create_index(NAME, TYPED, first=True) == made
    assert await opened.ports.indices.current_index(NAME) == made
    assert made.mapping_digest == TYPED.digest
    assert await opened.ports.documents.write_documents([document("p1", name="Lamp")]) == [None]
    assert await read(opened) == document("p1", name="Lamp")


async def test_a_document_of_another_form_is_not_written(opened: Opened):
    await opened.ports.indices.create_index(NAME, TYPED, first=True)
    fine, other, none = await opened.ports.documents.write_documents(
        [document("p1", name="a"), document("p2", index_schema=NEXT), document("p3", index_schema=IndexSchema())]
    )
    assert fine is None
    assert isinstance(other, StaleIndex)
    assert isinstance(none, StaleIndex)
    assert await read(opened, "p2") is None


@pytest.mark.parametrize(
    "data", [{"price": {"amount": 1}}, {"unknown": 1}, {"name": ["a", {"b": 1}]}, {"": 1, "a.b": {"c": 2}}]
)
async def test_what_does_not_fit_is_kept_whole_all_the_same(opened: Opened, data: dict[str, Any]):
    await opened.ports.indices.create_index(NAME, TYPED, first=True)
    assert await opened.ports.documents.write_documents([document("p1", **data), document("p2", name="b")]) == [
        None,
        None,
    ]
    assert await read(opened) == document("p1", **data)
    assert await opened.ports.documents.write_documents([document("p1", 2, name="fits")]) == [None]
    assert await read(opened) == document("p1", 2, name="fits")


async def test_changes_come_in_order_once_per_document(opened: Opened):
    index = await opened.ports.indices.create_index(NAME, TYPED, first=True)
    await opened.ports.documents.write_documents([document(f"p{number}") for number in range(7)])
    await opened.ports.documents.write_documents([document("p3", 2)])
    found = await everything(opened, index)
    assert sorted(found) == sorted([(f"p{number}", 2 if number == 3 else 1) for number in range(7)])
    assert found[-1] == ("p3", 2)


async def test_an_index_follows_another_and_readers_see_either_whole(opened: Opened):
    indices, documents = opened.ports.indices, opened.ports.documents
    contents = opened.ports.index_contents
    await documents.write_documents(
        [document(f"p{number}", index_schema=IndexSchema(), n=number) for number in range(3)]
    )
    old = await indices.current_index(NAME)
    assert old is not None
    new = await indices.create_index(NAME, TYPED, first=False)
    assert await indices.current_index(NAME) == old
    assert await contents.copy_documents(new, [document("p0"), document("p1", 5)]) == [None, None]
    assert await read(opened, "p0") == document("p0", n=0)
    await everything(opened, old, close=True)
    (late,) = await documents.write_documents([document("p1", 2, index_schema=IndexSchema())])
    assert isinstance(late, StaleIndex)
    assert await contents.copy_documents(new, [document("p2"), document("p1", 1)]) == [None, None]
    assert await indices.switch_alias(NAME, old, new)
    assert await indices.current_index(NAME) == new
    assert await read(opened) == document("p1", 5)
    assert await documents.write_documents([document("p1", 6, name="next")]) == [None]
    assert await read(opened) == document("p1", 6, name="next")


async def test_of_two_switches_one_comes_too_late(opened: Opened):
    indices = opened.ports.indices
    old = await indices.create_index(NAME, TYPED, first=True)
    new = await indices.create_index(NAME, NEXT, first=False)
    assert await indices.switch_alias(NAME, old, new)
    assert not await indices.switch_alias(NAME, old, new)
    assert await indices.current_index(NAME) == new


async def test_an_index_with_fewer_documents_does_not_follow(opened: Opened):
    indices = opened.ports.indices
    old = await indices.create_index(NAME, TYPED, first=True)
    await opened.ports.documents.write_documents([document("p1")])
    new = await indices.create_index(NAME, NEXT, first=False)
    with pytest.raises(Exception, match="documents"):
        await indices.switch_alias(NAME, old, new)
    assert await indices.current_index(NAME) == old


async def test_only_the_last_index_is_kept(opened: Opened):
    indices = opened.ports.indices
    contents = opened.ports.index_contents
    index_schemas = [
        IndexSchema(DefinitionReference(sequence_number=number, version=f"{number}.0.0")) for number in (1, 2, 3)
    ]
    first, second = [
        await indices.create_index(NAME, index_schema, first=index_schema is index_schemas[0])
        for index_schema in index_schemas[:2]
    ]
    assert await indices.switch_alias(NAME, first, second)
    third = await indices.create_index(NAME, index_schemas[2], first=False)
    assert await indices.switch_alias(NAME, second, third)
    with pytest.raises(StoreUnavailable, match=first.name.rpartition(".")[2]):
        await contents.changed_documents(first, after=-1, close=False)
    assert (await contents.changed_documents(second, after=-1, close=False)).documents == []


async def test_whoever_comes_too_late_to_follow_takes_nothing_away(opened: Opened):
    indices = opened.ports.indices
    contents = opened.ports.index_contents
    old = await indices.create_index(NAME, TYPED, first=True)
    await opened.ports.documents.write_documents([document("p1")])
    new = await indices.create_index(NAME, NEXT, first=False)
    assert await contents.copy_documents(new, [document("p1")]) == [None]
    assert await indices.switch_alias(NAME, old, new)
    assert await indices.create_index(NAME, NEXT, first=False) == new
    assert await everything(opened, old, close=True) == [("p1", 1)], "it is kept for whoever goes back to it"
    assert await contents.copy_documents(new, [document("p1")]) == [None]
    assert not await indices.switch_alias(NAME, old, new)
    assert await read(opened) == document("p1")


async def test_what_is_seen_tells_whether_it_is_closed(opened: Opened):
    indices = opened.ports.indices
    contents = opened.ports.index_contents
    made = await indices.create_index(NAME, TYPED, first=True)
    found = await indices.current_index(NAME)
    assert found is not None
    assert (found.closed, found.pinned) == (False, False)
    await contents.changed_documents(made, after=-1, close=True)
    found = await indices.current_index(NAME)
    assert found is not None
    assert (found.closed, found.pinned) == (True, False)


async def test_an_index_of_the_same_form_is_filled_beside(opened: Opened):
    indices, contents = opened.ports.indices, opened.ports.index_contents
    old = await indices.create_index(NAME, TYPED, first=True)
    await opened.ports.documents.write_documents([document("p1", 2), document("p2")])
    position = await contents.index_position(old)
    new = await indices.create_index(NAME, TYPED, first=False, beside="rebuild-1")
    assert new == await indices.create_index(NAME, TYPED, first=False, beside="rebuild-1")
    assert new.name.endswith(".rebuild-1")
    assert await contents.copy_documents(new, [document("p1", 2), document("p3")]) == [None, None]
    assert await contents.document_versions(new, ["p1", "p2", "p3"]) == [2, 0, 1]
    await opened.ports.documents.write_documents([document("p4")])
    assert (await contents.changed_documents(old, after=position, close=True)).documents == [("p4", 1)]
    assert await contents.copy_documents(new, [document("p4")]) == [None]
    assert await indices.switch_alias(NAME, old, new)
    assert await indices.current_index(NAME) == new
    assert await read(opened, "p3") == document("p3")


async def test_an_index_may_follow_with_fewer_documents(opened: Opened):
    indices = opened.ports.indices
    old = await indices.create_index(NAME, TYPED, first=True)
    await opened.ports.documents.write_documents([document("p1")])
    new = await indices.create_index(NAME, TYPED, first=False, beside="rebuild-1")
    with pytest.raises(StoreUnavailable, match="documents"):
        await indices.switch_alias(NAME, old, new)
    assert await indices.switch_alias(NAME, old, new, may_shrink=True)
    assert await read(opened) is None


async def test_a_kept_index_is_gone_back_to_as_a_clone(opened: Opened):
    indices, contents, kept_indices = opened.ports.indices, opened.ports.index_contents, opened.ports.kept_indices
    old = await indices.create_index(NAME, TYPED, first=True)
    assert await kept_indices.kept_index(NAME) is None
    await opened.ports.documents.write_documents([document("p1", name="first")])
    new = await indices.create_index(NAME, TYPED, first=False, beside="rebuild-1")
    await contents.copy_documents(new, [document("p1", name="other")])
    await contents.changed_documents(old, after=-1, close=True)
    assert await indices.switch_alias(NAME, old, new)
    assert await written_at_last(opened, document("p2")) is None
    kept = await kept_indices.kept_index(NAME)
    assert kept is not None
    assert kept.index == old
    assert (await contents.changed_documents(new, after=kept.position, close=False)).documents == [("p2", 1)]
    clone = await kept_indices.clone_index(kept, beside="back-1")
    assert clone == await kept_indices.clone_index(kept, beside="back-1")
    assert await contents.copy_documents(clone, [document("p2")]) == [None]
    assert await indices.switch_alias(NAME, new, clone)
    assert await read(opened) == document("p1", name="first")
    assert await written_at_last(opened, document("p1", 2, name="next")) is None
    assert await indices.current_index(NAME) == clone


async def test_left_and_unfinished_indices_are_dropped_in_time(opened: Opened):
    indices, contents, kept_indices = opened.ports.indices, opened.ports.index_contents, opened.ports.kept_indices
    old = await indices.create_index(NAME, TYPED, first=True)
    await opened.ports.documents.write_documents([document("p1")])
    new = await indices.create_index(NAME, TYPED, first=False, beside="rebuild-1")
    await contents.copy_documents(new, [document("p1")])
    await contents.changed_documents(old, after=-1, close=True)
    assert await indices.switch_alias(NAME, old, new)
    unfinished = await indices.create_index(NAME, TYPED, first=False, beside="rebuild-2")
    now = datetime.now(UTC)
    assert await kept_indices.drop_left_indices(before=now - timedelta(days=1)) == []
    dropped = await kept_indices.drop_left_indices(before=now + timedelta(days=1))
    assert [name.rpartition("instances.")[2] for name in dropped] == [
        name.rpartition("instances.")[2] for name in sorted((old.name, unfinished.name))
    ]
    assert await kept_indices.kept_index(NAME) is None
    assert await read(opened) == document("p1")
