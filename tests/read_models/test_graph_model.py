"""The graph as a function of the log: nodes of states, under the newest definition of their class."""

from dataclasses import replace
from typing import Any

import pytest

from oncelog.domain.events import DefinitionReference
from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.limits import EDGES_MAX
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.ontology.definition import parse_definition
from oncelog.errors import InputInvalid, LogDamaged
from oncelog.ports import ProjectionStatus
from oncelog.read_models.graph_model import GraphModel, node_of
from oncelog.testing.memory.graph import MemoryGraph

CITY = {
    "version": "1.0.0",
    "schema": {"type": "object"},
    "relationships": {
        "part_of": {"target_class": "Country", "cardinality": "one", "path": "/country"},
        "twinned_with": {"target_class": "City", "cardinality": "many", "path": "/links/twins"},
    },
}


def _class_schema(payload: dict[str, Any] | None = None, *, sequence_number: int = 1) -> ClassSchema:
    definition = parse_definition(payload or CITY, class_id="City")
    reference = DefinitionReference(sequence_number=sequence_number, version=definition.version)
    return ClassSchema(reference, definition, ((sequence_number, definition.migration),))


def _city(name: str, data: dict[str, Any], *, sequence_number: int = 1, deleted: bool = False) -> Instance:
    place = AggregateId.of("geo", "City", name)
    return Instance(aggregate_id=str(place), sequence_number=sequence_number, deleted=deleted, data=data)


def _in(class_id: str, *names: str) -> tuple[AggregateId, ...]:
    return tuple(AggregateId.of("geo", class_id, name) for name in names)


def test_references_become_edges_each_once_and_in_order():
    state = _city("Vienna", {"country": "AT", "links": {"twins": ["Graz", "Zürich", "Graz", "a/b"]}})
    assert node_of(state, _class_schema(sequence_number=7)) == GraphNode(
        AggregateId.of("geo", "City", "Vienna"),
        sequence_number=1,
        definition_sequence=7,
        edges={"part_of": _in("Country", "AT"), "twinned_with": _in("City", "Graz", "Zürich", "a/b")},
    )


@pytest.mark.parametrize("data", [{}, {"country": None}, {"links": {"twins": []}}, {"links": 7}, {"country": 7}])
def test_what_is_no_reference_is_no_edge(data: dict[str, Any]):
    assert node_of(_city("Vienna", data), _class_schema()).edges == {}


def test_without_a_definition_or_once_deleted_there_are_no_edges():
    data = {"country": "AT"}
    undefined = node_of(_city("Vienna", data), None)
    assert (undefined.edges, undefined.definition_sequence) == ({}, 0)
    deleted = node_of(_city("Vienna", data, sequence_number=2, deleted=True), _class_schema())
    assert (deleted.edges, deleted.deleted, deleted.sequence_number) == ({}, True, 2)


def test_data_of_an_earlier_definition_is_read_as_the_newest():
    renamed = {
        **CITY,
        "version": "2.0.0",
        "relationships": {"part_of": {"target_class": "Country", "cardinality": "one", "path": "/in"}},
        "migration": [{"rename": {"at": "/country", "to": "in"}}],
    }
    second = _class_schema(renamed, sequence_number=2)
    class_schema = ClassSchema(second.reference, second.definition, ((1, ()), (2, second.definition.migration)))
    first = DefinitionReference(sequence_number=1, version="1.0.0")
    earlier = replace(_city("Vienna", {"country": "AT"}), definition=first)
    assert node_of(earlier, class_schema).edges == {"part_of": _in("Country", "AT")}


async def test_class_schema_is_read_once_per_class():
    graph, asked = MemoryGraph(), []

    async def class_schema_of(aggregate_id: AggregateId, *, at_least: int) -> ClassSchema | None:
        asked.append((aggregate_id.class_id, at_least))
        return _class_schema() if aggregate_id.class_id == "City" else None

    model = GraphModel(graph, class_schema_of)
    too_many = {"links": {"twins": [str(number) for number in range(EDGES_MAX + 1)]}}
    country = Instance(aggregate_id="geo/Country/AT", sequence_number=3)
    decided = DefinitionReference(sequence_number=4, version="1.0.0")
    graz = replace(_city("Graz", {"country": "AT"}), definition=decided)  # so that its definition cannot be missed
    states = [_city("Vienna", {"country": "AT"}), _city("Hub", too_many), country, graz]
    outcomes = await model.project_states(states)
    assert [type(outcome) for outcome in outcomes] == [type(None), InputInvalid, type(None), type(None)]
    assert asked == [("City", 4), ("Country", 0)]
    places = [AggregateId.parse(state.aggregate_id) for state in states]
    assert await model.projected_versions(places) == [1, 0, 3, 1]
    assert await model.projection_statuses(places) == [
        ProjectionStatus(1),
        ProjectionStatus(0),
        ProjectionStatus(3),
        ProjectionStatus(1),
    ]
    assert graph.nodes[AggregateId.parse("geo/City/Graz")].edges == {"part_of": _in("Country", "AT")}


async def test_node_is_outdated_after_a_new_definition():
    graph = MemoryGraph()
    newest: ClassSchema | None = _class_schema()

    async def class_schema_of(*_: object, **__: object) -> ClassSchema | None:
        if newest is None:
            raise LogDamaged("the class is damaged")
        return newest

    model, vienna = GraphModel(graph, class_schema_of), _city("Vienna", {"country": "AT"})
    places = [AggregateId.parse(vienna.aggregate_id)]
    await model.project_states([vienna])
    assert await model.projection_statuses(places) == [ProjectionStatus(1)]
    newest = _class_schema(sequence_number=2)
    assert await model.projection_statuses(places) == [ProjectionStatus(1, outdated=True)]
    newest = None
    assert await model.projection_statuses(places) == [ProjectionStatus(1)]
