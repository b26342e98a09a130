"""Classes: valid definitions, which may follow which, and how instances are decided under them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncelog.domain.commands import Command, parse_command
from oncelog.domain.decide import decide
from oncelog.domain.events import DefinitionReference, Event, content_of
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, evolve
from oncelog.domain.ontology.class_schema import ClassSchema, class_schema_of
from oncelog.domain.ontology.definition import ClassDefinition, parse_definition
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.errors import InputInvalid
from tests.domain.schema_strategies import objects

NOW = "2026-01-02T03:04:05.678901Z"
PLACE = AggregateId.parse("geo/City/x")
UNTOUCHED = Instance(aggregate_id=str(PLACE))


def schema(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


TEXT, WHOLE = {"type": "string"}, {"type": "integer"}
FIRST: dict[str, Any] = {
    "version": "1.0.0",
    "schema": schema("name", name=TEXT, pop=TEXT, country=TEXT),
    "relationships": {"part_of": {"target_class": "Country", "cardinality": "one", "path": "/country"}},
}
WIDER = {**FIRST, "version": "1.1.0", "schema": schema("name", name=TEXT, pop=TEXT, country=TEXT, mayor=TEXT)}
SECOND: dict[str, Any] = {
    **FIRST,
    "version": "2.0.0",
    "schema": schema("name", "population", name=TEXT, population=WHOLE, country=TEXT, mayor=TEXT),
    "migration": [
        {"rename": {"at": "/pop", "to": "population"}},
        {"default": {"at": "/population", "value": 0}},
        {"convert": {"at": "/population", "to": "integer", "otherwise": 0}},
    ],
}


def define(payload: dict[str, Any], number: int = 1, **more: Any) -> Command:
    fields = {"command_type": "DEFINE_CLASS", "db_name": "geo", "class_id": "City", "payload": payload}
    return parse_command({"command_id": f"d{number}", **fields, **more})


RETIRE = parse_command({"command_id": "r", "command_type": "RETIRE_CLASS", "db_name": "geo", "class_id": "City"})


def ask(kind: str, payload: dict[str, Any] | None = None, number: int = 1) -> Command:
    fields = {"command_type": f"{kind}_INSTANCE", "db_name": "geo", "class_id": "City", "instance_id": "x"}
    return parse_command({"command_id": f"c{number}", **fields, "payload": payload or {}})


def history(*commands: Command) -> tuple[Instance, list[Event]]:
    """Return the class after the commands, all of which must be applied, and its events."""
    state, events = Instance(aggregate_id="geo/_class/City"), []
    for command in commands:
        event = decide(state, command, occurred_at=NOW)
        assert isinstance(event, Event), event
        events.append(event)
        state = evolve(state, event)
    return state, events


def refused(decision: Event | Rejection) -> Rejection:
    assert isinstance(decision, Rejection), decision
    return decision


def made(decision: Event | Rejection) -> Event:
    assert isinstance(decision, Event), decision
    return decision


def class_schema(*payloads: dict[str, Any]) -> ClassSchema:
    found = class_schema_of(history(*(define(payload, number) for number, payload in enumerate(payloads, 1)))[1])
    assert found is not None
    return found


# --- the class itself


def test_a_class_is_an_aggregate_that_no_instance_can_meet():
    assert str(define(FIRST).aggregate_id) == "geo/_class/City"
    assert AggregateId.parse("geo/_class/City") == define(FIRST).aggregate_id
    for hostile in ({"class_id": "_class"}, {"class_id": "City", "instance_id": "x"}):
        with pytest.raises(InputInvalid):
            define(FIRST, 1, **hostile)
    with pytest.raises(InputInvalid):
        parse_command({**ask("CREATE").model_dump(mode="json", exclude_none=True), "class_id": "_class"})
    with pytest.raises(InputInvalid):
        AggregateId.parse("geo/_class/%20")


def test_a_class_is_defined_redefined_retired_and_defined_anew():
    state, events = history(define(FIRST), define(WIDER, 2), RETIRE, define({**WIDER, "version": "1.2.0"}, 3))
    assert [event.event_type for event in events] == [
        "CLASS_DEFINED",
        "CLASS_DEFINED",
        "CLASS_RETIRED",
        "CLASS_DEFINED",
    ]
    assert (state.sequence_number, state.deleted, state.data["version"]) == (4, False, "1.2.0")


def test_a_retired_class_keeps_its_last_definition():
    state, events = history(define(FIRST), RETIRE)
    assert (state.deleted, state.data) == (True, FIRST)
    found = class_schema_of(events)
    assert found is not None
    assert (found.retired, found.reference) == (True, DefinitionReference(sequence_number=1, version="1.0.0"))


@pytest.mark.parametrize(
    ("before", "command", "code"),
    [
        ([], RETIRE, RejectionCode.INSTANCE_NOT_FOUND),
        ([define(FIRST), RETIRE], RETIRE, RejectionCode.CLASS_RETIRED),
        ([define(FIRST)], define(FIRST, 2), RejectionCode.SCHEMA_INCOMPATIBLE),
        ([define(FIRST)], define({**FIRST, "version": "0.9.0"}, 2), RejectionCode.SCHEMA_INCOMPATIBLE),
        ([define(FIRST)], define({**SECOND, "version": "1.1.0"}, 2), RejectionCode.SCHEMA_INCOMPATIBLE),
        ([define(FIRST)], define({**SECOND, "migration": []}, 2), RejectionCode.SCHEMA_INCOMPATIBLE),
        ([define(FIRST), RETIRE], define({**SECOND, "migration": []}, 2), RejectionCode.SCHEMA_INCOMPATIBLE),
        ([define(FIRST)], define({**WIDER, "relationships": {}}, 2), RejectionCode.SCHEMA_INCOMPATIBLE),
        ([define(FIRST)], define({**WIDER, "expected": 7}, 2), RejectionCode.PAYLOAD_INVALID),
        ([define(FIRST)], define(WIDER, 2, expected_version=2), RejectionCode.VERSION_CONFLICT),
    ],
)
def test_what_cannot_follow_is_refused(before: list[Command], command: Command, code: RejectionCode):
    state, _ = history(*before)
    assert refused(decide(state, command, occurred_at=NOW)).code is code


def test_what_breaks_is_listed_in_full_and_a_migration_mends_it():
    state, _ = history(define(FIRST))
    breaking = {**SECOND, "migration": SECOND["migration"][:1]}
    found = refused(decide(state, define(breaking, 2), occurred_at=NOW))
    assert [each["at"] for each in found.details["breaks"]] == ["/properties/population/type", "/required"]
    assert (found.details["old_version"], found.details["new_version"]) == ("1.0.0", "2.0.0")
    assert isinstance(decide(state, define(SECOND, 2), occurred_at=NOW), Event)


def test_a_migration_that_leads_nowhere_is_refused():
    state, _ = history(define(FIRST))
    lost = {**SECOND, "migration": [{"drop": {"at": "/area/land"}}]}
    assert "/area/land" in refused(decide(state, define(lost, 2), occurred_at=NOW)).message


@pytest.mark.parametrize(
    ("change", "breaks"),
    [
        ({}, False),
        ({"inverse": "has"}, False),
        ({"cardinality": "many"}, True),
        ({"target_class": "State"}, True),
        ({"path": "/name"}, True),
    ],
)
def test_relationships_keep_their_meaning_within_a_major(change: dict[str, Any], breaks: bool):
    state, _ = history(define(FIRST))
    relationships = {"part_of": {**FIRST["relationships"]["part_of"], **change}}
    decision = decide(state, define({**WIDER, "relationships": relationships}, 2), occurred_at=NOW)
    assert isinstance(decision, Rejection) == breaks


@pytest.mark.parametrize(("path", "breaks"), [("/mayor", False), ("/pop", True)])
def test_new_relationship_needs_an_unused_place(path: str, breaks: bool):
    state, _ = history(define(FIRST))
    more = {"led_by": {"target_class": "Person", "cardinality": "one", "path": path}}
    relationships = {**FIRST["relationships"], **more}
    decision = decide(state, define({**WIDER, "relationships": relationships}, 2), occurred_at=NOW)
    assert isinstance(decision, Rejection) == breaks


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"version": "1"}, "/version"),
        ({"version": None}, "/version"),
        ({"schema": []}, "/schema"),
        ({"schema": {"type": "array"}}, "/schema/type"),
        ({"schema": {}}, "/schema/type"),
        ({"schema": {"type": "objekt"}}, "/schema/type"),
        ({"schema": {**FIRST["schema"], "required": "name"}}, "/schema/required"),
        ({"schema": {**FIRST["schema"], "$schema": "http://json-schema.org/draft-07/schema#"}}, "/schema/$schema"),
        ({"schema": {"type": "object", "$ref": "https://example.com/s"}}, "/schema/$ref"),
        (
            {"schema": {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}},
            "/schema/properties/a/$ref",
        ),
        ({"schema": {"type": "object", "$ref": "#/$defs/none"}}, "/schema"),
        ({"schema": {"type": "object", "properties": {"a": {"$anchor": "x"}}}}, "/schema/properties/a/$anchor"),
        ({"schema": {"type": "object", "properties": {"a": {"pattern": "(?=x)"}}}}, "/schema"),
        ({"schema": {"type": "object", "properties": {"a": {"pattern": "("}}}}, "/schema/properties/a/pattern"),
        ({"relationships": {"part_of": {"target_class": "Country"}}}, "/relationships/part_of/cardinality"),
        ({"relationships": {"1": FIRST["relationships"]["part_of"]}}, "/relationships/1/[key]"),
        ({"relationships": {"p": {**FIRST["relationships"]["part_of"], "path": "x"}}}, "/relationships/p/path"),
        ({"relationships": {"p": {**FIRST["relationships"]["part_of"], "path": ""}}}, "/relationships/p/path"),
        (
            {"relationships": dict.fromkeys(["p", "q"], FIRST["relationships"]["part_of"])},
            "/relationships/q/path",
        ),
        ({"migration": [{"rename": {"at": "/a", "to": "b"}, "drop": {"at": "/a"}}]}, "/migration/0"),
        ({"migration": [{}]}, "/migration/0"),
        ({"migration": [{"drop": {"at": "/a"}}, {"rename": {"at": "/a", "to": "a"}}]}, "/migration/1/rename"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_what_is_wrong_with_a_definition_is_said_with_its_place(change: dict[str, Any], at: str):
    with pytest.raises(InputInvalid) as caught:
        parse_definition({**FIRST, **change}, class_id="City")
    assert at in [finding["at"] for finding in caught.value.details["errors"]]


@pytest.mark.parametrize(
    ("relationships", "at"),
    [
        ({"home": ("Country", "/name", "cities"), "part_of": ("Country", "/country", "cities")}, "part_of"),
        ({"within": ("City", "/name", "within")}, "within"),
        ({"within": ("City", "/name", "home"), "home": ("Country", "/country", None)}, "within"),
        ({"home": ("Country", "/name", "home"), "part_of": ("State", "/country", "home")}, None),
        ({"within": ("City", "/name", "parts"), "home": ("Country", "/country", "parts")}, None),
    ],
)
def test_from_one_class_a_name_means_one_way(relationships: dict[str, tuple[str, str, str | None]], at: str | None):
    fields = {
        predicate: {"target_class": target, "cardinality": "one", "path": path, "inverse": inverse}
        for predicate, (target, path, inverse) in relationships.items()
    }
    decision = decide(
        Instance(aggregate_id="geo/_class/City"), define({**FIRST, "relationships": fields}), occurred_at=NOW
    )
    if at is None:
        assert isinstance(decision, Event), decision
    else:
        (finding,) = refused(decision).details["errors"]
        assert finding["at"] == f"/relationships/{at}/inverse"
        assert "expected another name than" in finding["problem"]


def test_all_that_is_wrong_with_a_definition_is_said_at_once():
    with pytest.raises(InputInvalid) as caught:
        parse_definition({"version": "x", "schema": {"type": 7, "required": "a"}, "migration": [{}]}, class_id="City")
    places = [finding["at"] for finding in caught.value.details["errors"]]
    assert set(places) == {"/version", "/migration/0", "/schema/type", "/schema/required"}


@pytest.mark.parametrize(
    "loop",
    [
        {"type": "object", "properties": {"a": {"$ref": "#"}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
    ],
)
def test_a_schema_may_refer_to_itself(loop: dict[str, Any]):
    found = class_schema({**FIRST, "schema": {"type": "object", **loop}, "relationships": {}})
    assert found.findings({"a": {"a": {}}}) == []


# --- instances under a definition


def test_an_instance_is_validated_and_says_under_what():
    event = made(decide(UNTOUCHED, ask("CREATE", {"name": "Ulm"}), occurred_at=NOW, class_schema=class_schema(FIRST)))
    assert content_of(event).definition == DefinitionReference(sequence_number=1, version="1.0.0")
    assert evolve(UNTOUCHED, event).definition == content_of(event).definition


def test_all_that_is_wrong_with_data_is_said_with_its_place():
    wrong = {"pop": 7, "a/b": 1, "country": "\u0007"}
    found = refused(decide(UNTOUCHED, ask("CREATE", wrong), occurred_at=NOW, class_schema=class_schema(FIRST)))
    assert found.code is RejectionCode.PAYLOAD_INVALID
    assert sorted(each["at"] for each in found.details["errors"]) == ["", "", "/country", "/pop"]
    assert found.details["errors_count"] == 4
    assert found.details["definition"] == {"sequence_number": 1, "version": "1.0.0"}


def test_an_update_is_validated_as_what_it_makes_of_the_instance():
    state = evolve(
        UNTOUCHED,
        made(decide(UNTOUCHED, ask("CREATE", {"name": "Ulm"}), occurred_at=NOW, class_schema=class_schema(FIRST))),
    )
    assert isinstance(
        decide(state, ask("UPDATE", {"pop": "1"}, 2), occurred_at=NOW, class_schema=class_schema(FIRST)), Event
    )
    found = refused(decide(state, ask("UPDATE", {"name": None}, 2), occurred_at=NOW, class_schema=class_schema(FIRST)))
    assert "required" in found.details["errors"][0]["problem"]


def test_a_retired_class_takes_no_instance_and_lets_them_go():
    retired = class_schema_of(history(define(FIRST), RETIRE)[1])
    state = evolve(
        UNTOUCHED,
        made(decide(UNTOUCHED, ask("CREATE", {"name": "Ulm"}), occurred_at=NOW, class_schema=class_schema(FIRST))),
    )
    for before, command in ((UNTOUCHED, ask("CREATE", {"name": "Ulm"})), (state, ask("UPDATE", {"pop": "1"}, 2))):
        assert (
            refused(decide(before, command, occurred_at=NOW, class_schema=retired)).code is RejectionCode.CLASS_RETIRED
        )
    assert isinstance(decide(state, ask("DELETE", number=2), occurred_at=NOW, class_schema=retired), Event)


def test_update_over_a_new_major_keeps_the_migrated_data():
    old, new = class_schema(FIRST), class_schema(FIRST, SECOND)
    create = ask("CREATE", {"name": "Ulm", "pop": "126000"})
    state = evolve(UNTOUCHED, made(decide(UNTOUCHED, create, occurred_at=NOW, class_schema=old)))
    event = made(decide(state, ask("UPDATE", {"mayor": "A"}, 2), occurred_at=NOW, class_schema=new))
    assert (content_of(event).effect, event.data) == ("REPLACE", {"name": "Ulm", "population": 126000, "mayor": "A"})
    after = evolve(state, event)
    assert (after.data, after.definition) == (event.data, new.reference)
    again = made(decide(after, ask("UPDATE", {"mayor": None}, 3), occurred_at=NOW, class_schema=new))
    assert (content_of(again).effect, again.data) == ("MERGE", {"mayor": None})


def test_data_older_than_its_class_passes_every_migration():
    new = class_schema(FIRST, SECOND)
    assert new.current({"name": "Ulm", "pop": "7"}, None) == {"name": "Ulm", "population": 7}
    assert new.current({"name": "Ulm", "pop": "7"}, class_schema(FIRST).reference) == {"name": "Ulm", "population": 7}
    assert new.current({"name": "Ulm", "population": 7}, new.reference) == {"name": "Ulm", "population": 7}


def test_what_a_record_says_was_accepted_is_not_judged_again():
    unfit = ask("CREATE", {"pop": 7})
    assert isinstance(decide(UNTOUCHED, unfit, occurred_at=NOW, class_schema=class_schema(FIRST), accepted=True), Event)
    state, _ = history(define(FIRST))
    assert isinstance(decide(state, define({**SECOND, "migration": []}, 2), occurred_at=NOW, accepted=True), Event)


@given(objects, st.sampled_from([(FIRST,), (FIRST, WIDER), (FIRST, WIDER, SECOND)]))
def test_accepted_data_is_valid_and_refused_data_is_not(data: dict[str, Any], payloads: tuple[Any, ...]):
    found = class_schema(*payloads)
    decision = decide(UNTOUCHED, ask("CREATE", {**data, "name": "x"}), occurred_at=NOW, class_schema=found)
    assert isinstance(decision, Rejection) == bool(found.findings({**data, "name": "x"}))


# --- references


def test_references_become_edges():
    many = {"twinned_with": {"target_class": "City", "cardinality": "many", "path": "/links/twins"}}
    links = {"type": "object", "properties": {"twins": {"type": "array"}}}
    found = class_schema(
        {
            "version": "1.0.0",
            "schema": schema(country=TEXT, links=links),
            "relationships": {**FIRST["relationships"], **many},
        }
    )
    data = {"country": "Côte d'Ivoire", "links": {"twins": ["b", "a", "b", 7]}}
    assert found.edges(data, "geo") == {
        "part_of": (AggregateId.of("geo", "Country", "Côte d'Ivoire"),),
        "twinned_with": (AggregateId.of("geo", "City", "a"), AggregateId.of("geo", "City", "b")),
    }
    assert found.edges({"links": 7}, "geo") == {}
    assert [finding["at"] for finding in found.findings(data)] == ["/links/twins/3"]


@pytest.mark.parametrize(
    ("cardinality", "value", "at"),
    [("one", ["a"], "/to"), ("many", "a", "/to"), ("one", " ", "/to"), ("many", ["a", ""], "/to/1"), ("one", 7, "/to")],
)
def test_what_cannot_be_a_reference_is_refused(cardinality: str, value: Any, at: str):
    found = class_schema(
        {
            "version": "1.0.0",
            "schema": {"type": "object"},
            "relationships": {"to": {"target_class": "City", "cardinality": cardinality, "path": "/to"}},
        }
    )
    assert [finding["at"] for finding in found.findings({"to": value})] == [at]
    assert found.findings({"to": None}) == []


def test_same_definition_again_is_said_to_be_the_same():
    state, _ = history(define(FIRST))
    again = refused(decide(state, define(FIRST, 2), occurred_at=NOW))
    assert again.code is RejectionCode.SCHEMA_INCOMPATIBLE
    assert "just so" in again.message
    definition = ClassDefinition.model_validate(FIRST)
    assert definition.says(dict(reversed(FIRST.items())))
    assert not definition.says(WIDER)
