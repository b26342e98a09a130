"""Events of every version: readable for ever, migrated when they are read, never rewritten (P4, P6)."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_jsonable_python

from oncelog.domain.canonical import canonical_bytes, sha256_hex
from oncelog.domain.event_schemas import EVENT_SCHEMAS, check_event_schemas, steps_from
from oncelog.domain.events import SCHEMA_VERSIONS, Event, EventType, checksum_of, content_of, read_event
from oncelog.domain.instance import INSTANCE_JSON, Instance, evolve
from oncelog.domain.schema_versions import SchemaVersions
from oncelog.domain.semantic_version import SemanticVersion
from oncelog.errors import EventFromFuture, InputInvalid, LogDamaged, SchemaGap, SchemaUnsupported
from oncelog.read_models.document import document_of
from tests.domain.former_events import fold_1_0_0, sealed, write
from tests.domain.record_events import FOLDER
from tests.domain.strategies import json_objects

VERSIONS = ["1.0.0", "1.1.0", "2.0.0"]
KINDS = [name for name in EVENT_SCHEMAS if name.startswith("INSTANCE")]

#: SHA-256 of all samples in a folder, in order of their names: stored events never change.
SAMPLES = {
    "instances-1.0.0": "565153ba2369d9a904eb9a6be053a7200b0b6c49df1f8ebdff57590f1cf7aa9a",
    "instances-1.1.0": "8a6b015e9722751bc0e45f174c83f1763596eaa6382aaab2e6fad2abbf8e3ad8",
    "instances-2.0.0": "82083527cc708dbff6ae6c36f0e885d06664a746e40fa6cd81ef430606692473",
    "classes-1.0.0": "e1652987e7a57130348747bd7e57d5dc3e4d97c7678c8caa12c6c36b28724465",
    "defined-2.0.0": "7ffe1b67579762a964f094b2af540f02db15ecb79cf2924a8b0ca020aa2170aa",
}


def sample_files(folder: str) -> list[Path]:
    return sorted(path for path in (FOLDER / folder).iterdir() if not path.name.endswith("-state.json"))


def samples(folder: str) -> list[Event]:
    return [read_event(path.read_bytes(), where=path.name) for path in sample_files(folder)]


def fold(events: Sequence[Event]) -> Instance:
    return reduce(evolve, events, Instance(aggregate_id=events[0].aggregate_id))


def read(fields: dict[str, Any]) -> Event:
    return read_event(canonical_bytes(fields), where="here")


# --- versions ever stored


def test_every_version_ever_stored_has_its_samples():
    assert set(SAMPLES) == {path.name for path in FOLDER.iterdir()}
    sampled = {(event.event_type, event.schema_version) for folder in SAMPLES for event in samples(folder)}
    stored = {(name, str(version)) for name, schemas in EVENT_SCHEMAS.items() for version in schemas.ever_stored}
    assert sampled == stored, "record samples: python -m tests.domain.record_events"


@pytest.mark.parametrize("folder", SAMPLES)
def test_samples_are_those_that_were_stored(folder: str):
    assert sha256_hex(b"".join(path.read_bytes() for path in sample_files(folder))) == SAMPLES[folder]


@pytest.mark.parametrize("folder", SAMPLES)
def test_sample_events_fold_as_they_did_then(folder: str):
    events = samples(folder)
    assert [event.canonical for event in events] == [path.read_bytes() for path in sample_files(folder)]
    for number in range(1, len(events) + 1):
        then = (FOLDER / folder / f"{number}-state.json").read_text()
        assert fold(events[:number]) == INSTANCE_JSON.validate_json(then)


def test_a_log_may_hold_every_version():
    parts = [
        json.loads(sample_files(f"instances-{version}")[number].read_bytes()) for number, version in enumerate(VERSIONS)
    ]
    for before, after in pairwise(parts):
        after["previous_checksum"] = before["checksum"]
        after["checksum"] = checksum_of(after)
    state = fold([read(fields) for fields in parts])
    assert (state.sequence_number, state.deleted, state.schema_version) == (3, True, "2.0.0")


# --- the registry


def test_every_version_ever_stored_leads_to_the_newest():
    check_event_schemas()
    assert {name: SCHEMA_VERSIONS[EventType(name)] for name in EVENT_SCHEMAS} == {
        **dict.fromkeys(KINDS, "2.0.0"),
        **dict.fromkeys(["CLASS_DEFINED", "CLASS_RETIRED"], "1.0.0"),
    }


@pytest.mark.parametrize("lost", [SemanticVersion(1, 0, 0), SemanticVersion(1, 1, 0)], ids=str)
def test_a_step_that_is_missing_is_found_before_anything_is_read(lost: SemanticVersion):
    schemas = EVENT_SCHEMAS["INSTANCE_UPDATED"]
    steps = {start: step for start, step in schemas.steps.items() if start != lost}
    with pytest.raises(SchemaGap, match=f"no step leads from {lost}"):
        SchemaVersions(schemas.name, schemas.ever_stored, steps).check()


def test_a_step_that_leads_nowhere_or_back_is_found():
    a, b = SemanticVersion(1, 0, 0), SemanticVersion(1, 1, 0)
    for steps in ({a: (a, dict)}, {a: (SemanticVersion(1, 0, 5), dict)}):
        with pytest.raises(SchemaGap, match="no step"):
            SchemaVersions("X", (a, b), steps).check()
    with pytest.raises(SchemaGap, match="rising"):
        SchemaVersions("X", (b, a), {b: (a, dict)}).check()


@pytest.mark.parametrize("text", ["", "1", "1.0", "v1.0.0", "1.0.0-rc.1", "01.0.0", "1.0.0\n", "1.0.\u0661"])
def test_what_is_no_version_is_refused(text: str):
    with pytest.raises(InputInvalid):
        SemanticVersion.parse(text)


def test_versions_sort_by_precedence():
    texts = ["1.0.0", "1.2.0", "1.10.0", "2.0.0", "10.0.0"]
    assert [str(version) for version in sorted(map(SemanticVersion.parse, reversed(texts)))] == texts


# --- compatibility


@pytest.mark.parametrize(
    ("version", "read_as"),
    [("2.0.0", 0), ("2.0.7", 0), ("2.9.0", 0), ("1.1.0", 1), ("1.1.3", 1), ("1.7.0", 1), ("1.0.9", 2), ("1.0.0", 2)],
)
def test_a_version_is_read_as_the_nearest_below_it_in_its_major(version: str, read_as: int):
    """``read_as``: how many steps it is from the newest."""
    assert len(steps_from("INSTANCE_CREATED", version)) == read_as


def test_what_a_newer_minor_adds_is_kept_and_not_looked_at():
    fields = write("2.1.0", "INSTANCE_CREATED", {"n": 1}, number=1, after=None, colour={"of": "tomorrow"})
    event = read(fields)
    assert event.canonical == canonical_bytes(fields)
    assert fold([event]).data == {"n": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": "3.0.0"},
        {"schema_version": "3.0.0", "data": ["of", "another", "form"]},
        {"schema_version": "12.4.1", "event_type": "INSTANCE_UPDATED", "occurred_at": 7},
        {"event_type": "INSTANCE_MERGED", "schema_version": "1.0.0"},
    ],
)
def test_an_event_from_the_future_is_that_and_no_damage(change: dict[str, Any]):
    fields = sealed(write("2.0.0", "INSTANCE_CREATED", {}, number=1, after=None) | change)
    with pytest.raises(EventFromFuture, match="upgrade") as caught:
        read(fields)
    assert not isinstance(caught.value, LogDamaged)
    assert not caught.value.retryable
    named = {"aggregate_id": "geo/Country/DE", "sequence_number": 1, "schema_version": fields["schema_version"]}
    assert named.items() <= caught.value.details.items()


def test_an_altered_event_is_damage_whatever_version_it_claims():
    fields = write("3.0.0", "INSTANCE_CREATED", {"n": 1}, number=1, after=None)
    with pytest.raises(LogDamaged):
        read({**fields, "data": {"n": 2}})
    with pytest.raises(LogDamaged):
        read({**write("2.0.0", "INSTANCE_CREATED", {"n": 1}, number=1, after=None), "schema_version": "3.0.0"})


def test_a_version_that_nobody_stored_is_refused_as_such():
    with pytest.raises(SchemaGap, match="no release of ours") as caught:
        read(write("0.9.0", "INSTANCE_CREATED", {}, number=1, after=None))
    assert isinstance(caught.value, SchemaUnsupported)


@pytest.mark.parametrize("version", ["two", "", None, 2, "2.0.0-rc.1"])
def test_what_has_no_version_is_no_event(version: object):
    with pytest.raises(LogDamaged, match="not an event"):
        read(write("2.0.0", "INSTANCE_CREATED", {}, number=1, after=None, schema_version=version))


@pytest.mark.parametrize("more", [{"effect": "ADD"}, {"definition": 7}])
def test_event_that_breaks_its_versions_form_is_not_folded(more: dict[str, Any]):
    event = read(write("2.0.0", "INSTANCE_CREATED", {}, number=1, after=None, **more))
    with pytest.raises(LogDamaged, match="promises"):
        content_of(event)


def test_an_update_may_replace_everything():
    first = write("1.0.0", "INSTANCE_CREATED", {"a": 1, "b": None}, number=1, after=None)
    second = write("2.0.0", "INSTANCE_UPDATED", {"a": None}, number=2, after=first["checksum"], effect="REPLACE")
    assert fold([read(first), read(second)]).data == {"a": None}


# --- migrating and projecting commute (P6)

kinds = st.lists(st.sampled_from(KINDS), min_size=1, max_size=6).map(lambda drawn: ["INSTANCE_CREATED", *drawn])


@st.composite
def histories(draw: st.DrawFn, versions: Sequence[str] = VERSIONS) -> list[Event]:
    """Draw what a log may hold: any versions in any order, as when releases change while others still run."""
    events: list[Event] = []
    for number, kind in enumerate(draw(kinds), start=1):
        data = {} if kind == "INSTANCE_DELETED" else draw(json_objects)
        version = draw(st.sampled_from(versions))
        after = events[-1].checksum if events else None
        events.append(read(write(version, kind, data, number=number, after=after)))
    return events


def rewritten(events: Sequence[Event]) -> list[Event]:
    """Return the log as it would be if today's release had written all of it; this is done nowhere but here."""
    newest: list[Event] = []
    for event in events:
        fields = event.model_dump(mode="json") | to_jsonable_python(content_of(event)._asdict())
        fields |= {"schema_version": SCHEMA_VERSIONS[event.event_type]}
        fields |= {"previous_checksum": newest[-1].checksum if newest else None}
        del fields["checksum"]
        newest.append(read(sealed(fields)))
    return newest


@given(histories())
def test_migration_commutes_with_projection(events: list[Event]):
    projected, migrated = fold(events), fold(rewritten(events))
    as_stored = replace(migrated, checksum=projected.checksum, schema_version=projected.schema_version)
    assert projected == as_stored
    bodies = [dict(document_of(state).body) for state in (projected, migrated)]
    assert bodies[0] == bodies[1] | {"schema_version": projected.schema_version}


@given(histories(versions=["1.0.0"]))
def test_snapshot_of_an_earlier_release_equals_todays_fold(events: list[Event]):
    kept = json.dumps(fold_1_0_0(events))
    assert INSTANCE_JSON.validate_json(kept) == fold(events)


@given(histories(), st.data())
def test_going_on_from_a_kept_state_is_folding_all(events: list[Event], data: st.DataObject):
    at = data.draw(st.integers(1, len(events)))
    kept = INSTANCE_JSON.validate_json(INSTANCE_JSON.dump_json(fold(events[:at])))
    assert INSTANCE_JSON.dump_json(reduce(evolve, events[at:], kept)) == INSTANCE_JSON.dump_json(fold(events))


@given(histories())
def test_bytes_and_checksums_are_those_that_were_stored(events: list[Event]):
    for event in events:
        again = read_event(event.canonical, where="here")
        content_of(again)
        assert again.canonical == event.canonical
        assert again.checksum == event.checksum
        assert json.loads(again.canonical)["schema_version"] == event.schema_version
