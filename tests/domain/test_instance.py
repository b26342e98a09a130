"""Decide and evolve: a command's effect on a state, and that folding is a function of the events alone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.commands import Command, CommandType, parse_command
from oncelog.domain.events import Event, checksum_of, read_event
from oncelog.domain.instance import INSTANCE_JSON, Instance, decide, evolve
from oncelog.domain.merge_patch import merge_patch
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.errors import InputInvalid, LogDamaged
from tests.domain.strategies import json_objects

NOW = "2026-01-02T03:04:05.678901Z"
EMPTY = Instance(aggregate_id="geo/Country/DE")


def command(kind: str = "CREATE_INSTANCE", number: int = 1, **fields: Any) -> Command:
    return parse_command(
        {
            "command_id": f"c-{number}",
            "command_type": kind,
            "db_name": "geo",
            "class_id": "Country",
            "instance_id": "DE",
            **fields,
        }
    )


def applied(state: Instance, asked: Command) -> Instance:
    event = decide(state, asked, occurred_at=NOW)
    assert isinstance(event, Event), event
    return evolve(state, event)


CREATED = applied(EMPTY, command(payload={"name": "Germany", "area": 1.0}))
DELETED = applied(CREATED, command("DELETE_INSTANCE", 2))


@pytest.mark.parametrize(
    ("state", "kind", "fields", "code"),
    [
        (CREATED, "CREATE_INSTANCE", {}, RejectionCode.INSTANCE_EXISTS),
        (EMPTY, "UPDATE_INSTANCE", {}, RejectionCode.INSTANCE_NOT_FOUND),
        (EMPTY, "DELETE_INSTANCE", {}, RejectionCode.INSTANCE_NOT_FOUND),
        (DELETED, "UPDATE_INSTANCE", {}, RejectionCode.INSTANCE_DELETED),
        (DELETED, "DELETE_INSTANCE", {}, RejectionCode.INSTANCE_DELETED),
        (CREATED, "UPDATE_INSTANCE", {"expected_version": 2}, RejectionCode.VERSION_CONFLICT),
        (DELETED, "CREATE_INSTANCE", {"expected_version": 0}, RejectionCode.VERSION_CONFLICT),
        (CREATED, "UPDATE_INSTANCE", {"payload": {"more": "x" * 1_048_555}}, RejectionCode.PAYLOAD_INVALID),
    ],
)
def test_what_does_not_fit_the_state_is_rejected_with_its_code(state, kind, fields, code):
    decision = decide(state, command(kind, 9, **fields), occurred_at=NOW)
    assert isinstance(decision, Rejection)
    assert decision.code is code
    assert state.aggregate_id in decision.message


def test_deleted_instance_is_created_again_and_keeps_counting():
    again = applied(DELETED, command(number=3, payload={"name": "again"}))
    assert (again.sequence_number, again.exists, again.data) == (3, True, {"name": "again"})


def test_tombstone_keeps_its_creation_time_and_drops_the_data():
    assert (DELETED.exists, DELETED.data, DELETED.created_at) == (False, {}, NOW)


@given(st.lists(json_objects, min_size=1, max_size=5))
def test_folding_stored_events_equals_the_state_in_memory(payloads):
    state, stored = EMPTY, []
    for number, payload in enumerate(payloads, 1):
        kind = CommandType.CREATE_INSTANCE if number == 1 else CommandType.UPDATE_INSTANCE
        event = decide(state, command(kind, number, payload=payload), occurred_at=NOW)
        assert isinstance(event, Event)
        stored.append(event.canonical)
        state = evolve(state, event)
    folded = EMPTY
    for data in stored:
        folded = evolve(folded, read_event(data, where="test"))
    assert INSTANCE_JSON.dump_json(folded) == INSTANCE_JSON.dump_json(state)


@given(json_objects)
def test_new_event_has_the_canonical_form_of_its_fields(payload):
    event = decide(EMPTY, command(payload=payload), occurred_at=NOW)
    assert isinstance(event, Event)
    fields = event.model_dump(mode="json")
    assert event.canonical == canonical_bytes(fields)
    assert event.checksum == checksum_of(fields)


@given(json_objects, st.data())
def test_a_single_changed_byte_is_found(payload, data):
    event = decide(EMPTY, command(payload=payload), occurred_at=NOW)
    assert isinstance(event, Event)
    position = data.draw(st.integers(0, len(event.canonical) - 1))
    changed = bytearray(event.canonical)
    changed[position] ^= 1 << data.draw(st.integers(0, 6))
    try:
        found = read_event(bytes(changed), where="test")
    except LogDamaged:
        return
    assert found == event  # only the spelling of the JSON changed, not what it says


def test_an_event_out_of_chain_is_never_folded():
    event = decide(CREATED, command("UPDATE_INSTANCE", 2, payload={"a": 1}), occurred_at=NOW)
    assert isinstance(event, Event)
    with pytest.raises(LogDamaged, match="expected event 1"):
        evolve(EMPTY, event)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A
        ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
        ('{"a":"b"}', '{"a":null}', "{}"),
        ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
        ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
        ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
        ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
        ('["a","b"]', '["c","d"]', '["c","d"]'),
        ('{"a":"b"}', '["c"]', '["c"]'),
        ('{"a":"foo"}', "null", "null"),
        ('{"a":"foo"}', '"bar"', '"bar"'),
        ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
        ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
        ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
    ],
)
def test_merge_patch_as_in_the_rfc(target, patch, result):
    assert merge_patch(json.loads(target), json.loads(patch)) == json.loads(result)


@given(json_objects)
def test_the_hash_of_a_command_ignores_spelling_and_nothing_else(payload):
    one = command(payload=payload)
    assert Command.model_validate_json(one.model_dump_json()).hash == one.hash
    assert command(payload={**payload, "other": "x"}).hash != command(payload={**payload, "other": "y"}).hash


@pytest.mark.parametrize(
    "fields",
    [
        {"db_name": "_all"},
        {"db_name": "../../x"},
        {"class_id": "-x"},
        {"class_id": "a b"},
        {"instance_id": ""},
        {"instance_id": " "},
        {"instance_id": "a\u0000"},
        {"instance_id": "a\r\nb"},
        {"instance_id": "a\u202eb"},
        {"instance_id": "a\u200bb"},
        {"instance_id": "e\u0301"},
        {"instance_id": "\ud800"},
        {"instance_id": "x" * 201},
        {"instance_id": "ä" * 100},
        {"command_id": "a/b"},
        {"command_id": "x" * 129},
        {"payload": {"n": 2**53}},
        {"payload": {"n": float("nan")}},
        {"payload": []},
        {"expected_version": -1},
        {"expected_version": "1"},
        {"expected_version": True},
        {"unknown": 1},
        {"command_type": "DROP_EVERYTHING"},
        {"command_type": "DELETE_INSTANCE", "payload": {"a": 1}},
        {"command_type": "UPDATE_INSTANCE", "instance_id": None},
        {"actor": "\ud800"},
    ],
)
def test_hostile_and_malformed_commands_are_refused(fields):
    with pytest.raises(InputInvalid):
        command(**fields)


@pytest.mark.parametrize("value", [None, 1, "x", [], [{}], b"x", {}])
def test_what_is_no_command_at_all_is_refused(value):
    with pytest.raises(InputInvalid):
        parse_command(value)


@pytest.mark.parametrize("instance_id", [".", "..", "a/b", "../../x", "a//b", "{tag}", "a:b*", "%2E", "Côte d'Ivoire"])
def test_odd_but_valid_instance_ids_are_one_key_component(instance_id):
    key = command(instance_id=instance_id).aggregate_id.instance_key
    assert not set(key) & set("/{}:* ")
    assert key.strip(".")
    assert command(instance_id=instance_id).aggregate_id.instance_id == instance_id


def test_a_changed_copy_of_a_command_has_a_hash_of_its_own():
    command = Command(
        command_id="c", command_type=CommandType.CREATE_INSTANCE, db_name="a", class_id="B", payload={"n": 1}
    )
    before = command.hash
    assert command.model_copy().hash == before
    assert command.model_copy(update={"payload": {"n": 2}}).hash != before
