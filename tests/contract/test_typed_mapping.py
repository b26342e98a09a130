"""Typed indices take whatever their schema admits, on Elasticsearch itself; and what their fields are, without it."""

import asyncio
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oncelog.domain.events import DefinitionReference
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.ontology.schemas import validator_of
from oncelog.domain.queries import Search
from oncelog.ports import Document, IndexSchema
from oncelog.read_models.typed_mapping import typed_mapping
from oncelog.settings import Settings
from tests.classes import NUMBER, TEXT, WHOLE, schema
from tests.clients import patient_stores
from tests.domain.schema_strategies import object_schemas, objects

REFERENCE = DefinitionReference(sequence_number=1, version="1.0.0")


@pytest.mark.parametrize(
    ("member", "kind"),
    [
        (TEXT, "keyword"),
        (WHOLE, "long"),
        (NUMBER, "double"),
        ({"type": ["integer", "null"]}, "long"),
        ({"type": ["integer", "number"]}, "double"),
        ({"type": "boolean"}, "boolean"),
        ({"type": "string", "format": "date-time"}, "date"),
        ({"anyOf": [{"type": "string", "format": "date"}, TEXT]}, "keyword"),
        ({"type": ["string", "integer"]}, "keyword"),
        ({"enum": ["a", "b", None]}, "keyword"),
        ({"const": 1}, "long"),
        ({"type": "array", "items": WHOLE}, "long"),
        ({"type": "array", "items": {"type": "array", "items": TEXT}}, "keyword"),
        ({"$ref": "#/$defs/t"}, "keyword"),
        ({"allOf": [{"$ref": "#/$defs/t"}, {"minLength": 1}]}, "keyword"),
        (True, "unsearched"),
        ({"$ref": "#"}, "unsearched"),
        ({"type": ["object", "string"]}, "unsearched"),
        ({"type": ["array", "string"], "items": TEXT}, "unsearched"),
        ({"type": "array", "prefixItems": [TEXT]}, "unsearched"),
        (schema(**{"a.b": TEXT}), "unsearched"),
    ],
)
def test_a_member_has_the_narrowest_field_that_takes_all_of_it(member: Any, kind: str):
    root = {**schema(x=member), "$defs": {"t": TEXT}}
    mapping = typed_mapping(root)
    assert mapping is not None
    found = mapping["properties"]["x"]
    assert (found["type"] if found.get("enabled", True) else "unsearched") == kind


def test_objects_are_as_strict_as_their_schemas():
    nested = typed_mapping(schema(x=schema(a=TEXT), y={"type": "object", "properties": {"a": TEXT}}))
    assert nested is not None
    assert nested["dynamic"] == "strict"
    assert (nested["properties"]["x"]["dynamic"], nested["properties"]["y"]["dynamic"]) == ("strict", "false")


def test_a_schema_of_too_many_or_too_deep_members_is_not_typed():
    assert typed_mapping(schema(**{f"k{number}": TEXT for number in range(1_000)})) is None
    deep: dict[str, Any] = TEXT
    for _ in range(20):
        deep = schema(k=deep)
    assert typed_mapping(deep) is None


FLAGS = {"type": "boolean"}
BORDERS: dict[str, list[dict[str, Any]]] = {
    "texts": [schema(**{f"k{number}": TEXT for number in range(count)}) for count in (474, 475, 500, 2_000)],
    "numbers": [schema(**{f"k{number}": WHOLE for number in range(count)}) for count in (949, 950, 1_000)],
    "objects": [schema(**{f"k{number}": schema(a=FLAGS) for number in range(count)}) for count in (474, 475, 500)],
    "arrays": [schema(**{f"k{n}": {"type": "array", "items": TEXT} for n in range(count)}) for count in (474, 475)],
    "names": [
        schema(**{name: TEXT})
        for name in (
            "",
            " ",
            "\t",
            "\u3000",
            "\u00a0",
            "a.b",
            ".",
            " a ",
            "_id",
            "_source",
            "type",
            "*",
            '"',
            "k" * 512,
        )
    ],
}


def _deep(levels: int) -> dict[str, Any]:
    nested: dict[str, Any] = TEXT
    for _ in range(levels):
        nested = schema(k=nested)
    return nested


BORDERS["levels"] = [_deep(levels) for levels in (16, 17, 20, 24)]


def test_fields_are_counted_with_objects_and_sub_fields():
    typed = {name: [typed_mapping(root) is not None for root in roots] for name, roots in BORDERS.items()}
    assert typed["texts"] == [True, False, False, False]
    assert typed["numbers"] == [True, False, False]
    assert typed["objects"] == [True, False, False]
    assert typed["arrays"] == [True, False]
    assert typed["levels"] == [True, False, False, False]


@pytest.mark.integration
@pytest.mark.parametrize("kind", BORDERS)
async def test_index_at_the_border_of_fields_is_created_and_searched(settings: Settings, kind: str):
    value: Any = 7 if kind == "numbers" else "lamp"
    async with patient_stores(settings, prepared=False) as stores:
        await stores.documents.prepare()
        for number, root in enumerate(BORDERS[kind]):
            name = AggregateId.of_class("shop", f"C{number}")
            index = await stores.ports.indices.create_index(
                name, IndexSchema(REFERENCE, typed_mapping(root)), first=True
            )
            document = _document(name, "p1", {"k0": value})
            assert await stores.ports.documents.write_documents([document]) == [None]
            await stores.elasticsearch.client.indices.refresh(index=index.name)
            search = Search("shop", name.instance_key, str(value), {"/k0": value})
            page = await stores.ports.searches.find_documents(search)
            assert [each.body["data"] for each in page.documents] == [{"k0": value}]
            await stores.elasticsearch.client.indices.delete(index=index.name)


@pytest.mark.integration
@pytest.mark.usefixtures("environment")
def test_whatever_a_schema_admits_is_taken_by_its_fields(request: pytest.FixtureRequest):
    """Drawn schemas, each with an index of its own, and drawn values that are valid under them."""
    numbers, taken = count(1), count()
    chosen: Settings = request.getfixturevalue("settings")

    async def written(root: dict[str, Any], values: list[dict[str, Any]]) -> list[dict[str, Any]]:
        async with patient_stores(chosen, prepared=False) as stores:
            await stores.documents.prepare()
            name = AggregateId.of_class("shop", f"C{next(numbers)}")
            await stores.ports.indices.create_index(name, IndexSchema(REFERENCE, typed_mapping(root)), first=True)
            documents = [_document(name, str(number), value) for number, value in enumerate(values)]
            assert set(await stores.ports.documents.write_documents(documents)) == {None}
            alias = stores.documents.alias_of(documents[0].aggregate_id)
            client = stores.elasticsearch.client
            found = [await client.get(index=alias, id=document.aggregate_id.instance_key) for document in documents]
            await client.indices.delete(index=f"{alias}.d000001")
            return [each["_source"] for each in found]

    @given(object_schemas(), st.lists(objects, min_size=8, max_size=20))
    @settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
    def hold(root: dict[str, Any], drawn: list[dict[str, Any]]) -> None:
        validator = validator_of(root)
        valid = [value for value in drawn if validator.is_valid(value)]
        if not valid:
            return
        for value, source in zip(valid, asyncio.run(written(root, valid)), strict=True):
            assert source["data"] == value, f"{root} admits {value}, which its fields do not take"
            next(taken)

    hold()
    assert next(taken) > 10


def _document(name: AggregateId, key: str, data: dict[str, Any]) -> Document:
    aggregate_id = AggregateId(name.db_name, name.instance_key, key)
    moment = "2026-01-01T12:00:00.000000Z"
    body = {
        "aggregate_id": str(aggregate_id),
        "db_name": name.db_name,
        "class_id": name.instance_key,
        "instance_id": key,
        "sequence_number": 1,
        "schema_version": "2.0.0",
        "event_id": "e",
        "deleted": False,
        "created_at": moment,
        "updated_at": moment,
        "data": data,
    }
    return Document(aggregate_id, 1, body, document_schema=REFERENCE)
