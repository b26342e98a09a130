"""How earlier releases wrote and folded instance events, kept as it was: the other side of "readable for ever".

``write`` gives an event as a release of that schema version stored it, ``fold_1_0_0`` the state that release kept.
``forget_versions`` makes this release one that was there before a version.
"""

from dataclasses import replace
from typing import Any

import pytest

from oncelog.domain import event_schemas
from oncelog.domain.event_schemas import EVENT_SCHEMAS
from oncelog.domain.events import Event, checksum_of
from oncelog.domain.identifiers import derive_event_id
from oncelog.domain.merge_patch import merge_patch
from oncelog.domain.semantic_version import SemanticVersion

KINDS = {"INSTANCE_CREATED": "REPLACE", "INSTANCE_UPDATED": "MERGE", "INSTANCE_DELETED": "REMOVE"}
Fields = dict[str, Any]


def write(version: str, kind: str, data: Fields, *, number: int, after: str | None, **more: Any) -> Fields:
    """Return a stored event of one of our versions; ``after``: the checksum of the one before."""
    fields: Fields = {
        "event_id": derive_event_id(f"c{number}", 0),
        "event_type": kind,
        "schema_version": version,
        "sequence_number": number,
        "aggregate_id": "geo/Country/DE",
        "db_name": "geo",
        "class_id": "Country",
        "instance_id": "DE",
        "command_id": f"c{number}",
        "command_hash": "0" * 64,
        "data": data,
        "occurred_at": f"2026-01-01T00:00:{number:02d}.000000Z",
        "actor": None,
        "correlation_id": None,
        "causation_id": None,
        "previous_checksum": after,
    }
    if version >= "1.1.0":
        fields["definition"] = None
    if version >= "2.0.0":
        fields["effect"] = KINDS[kind]
    return sealed(fields | more)


def sealed(fields: Fields) -> Fields:
    """Return the fields with the checksum that is theirs, whatever stood there."""
    return {**fields, "checksum": checksum_of(fields)}


def forget_versions(patch: pytest.MonkeyPatch, event_type: str, *, since: str) -> None:
    """Let this process read as a release did that was there before a version: later ones come from the future."""
    schemas = EVENT_SCHEMAS[event_type]
    known = [version for version in schemas.ever_stored if version < SemanticVersion.parse(since)]
    steps = {version: step for version, step in schemas.steps.items() if step[0] in known}
    patch.setitem(EVENT_SCHEMAS, event_type, replace(schemas, ever_stored=known, steps=steps))
    # Looked-up values must be forgotten before and after.
    patch.setattr(event_schemas, "_steps_from", event_schemas._steps_from.__wrapped__)  # noqa: SLF001


def fold_1_0_0(stored: list[Event]) -> Fields:
    """Fold as release 0.1.0 did, which knew nothing but type and data; the result is its kept state."""
    state: Fields = {"deleted": False, "created_at": None, "data": {}}
    for event in stored:
        assert event.schema_version == "1.0.0"
        created, deleted = event.event_type == "INSTANCE_CREATED", event.event_type == "INSTANCE_DELETED"
        state = {
            "aggregate_id": event.aggregate_id,
            "sequence_number": event.sequence_number,
            "checksum": event.checksum,
            "event_id": event.event_id,
            "schema_version": event.schema_version,
            "deleted": deleted,
            "created_at": event.occurred_at if created else state["created_at"],
            "updated_at": event.occurred_at,
            "data": event.data if created else {} if deleted else merge_patch(state["data"], event.data),
        }
    return state
