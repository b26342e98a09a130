"""The versions in which each event type has been stored, and the steps from one to the next.

Only an event's content is migrated. Its envelope (identity, type, version, place in the chain, checksums) has the same
form in every version, for ever, so that a chain can be verified without migration.

- 1.0.0: ``data`` alone.
- 1.1.0 adds ``definition``: which version of its class' definition the data was validated against, null for none.
- 2.0.0 adds ``effect``, which says how ``data`` is applied: ``REPLACE`` all that was there, ``MERGE`` into it as a JSON
  Merge Patch, or ``REMOVE`` it. Before, an update always merged; now it may replace, where a patch cannot express
  the change (a member that became null, or data brought into the form of a new definition). A reader that ignores
  ``effect`` would read this update wrongly: hence a new MAJOR.

Class events came later, in the form of 2.0.0, and begin with 1.0.0. So do those of aggregates of one's own, with the
``effect`` ``EVOLVE``: their own code applies ``data``.
"""

from functools import lru_cache

from oncelog.domain.aggregates.aggregate_registry import registry
from oncelog.domain.schema_versions import Fields, SchemaVersions, Step
from oncelog.domain.semantic_version import SemanticVersion


def _without_definition(fields: Fields) -> Fields:
    """1.0.0 to 1.1.0: there were no definitions."""
    return {**fields, "definition": None}


def _with_effect(effect: str) -> Step:
    """1.1.0 to 2.0.0: the type alone said how the data is applied."""
    return lambda fields: {**fields, "effect": effect}


def _of_instances(name: str, *, effect: str) -> SchemaVersions:
    return SchemaVersions.starting(name, "1.0.0").then("1.1.0", _without_definition).then("2.0.0", _with_effect(effect))


#: By event type.
EVENT_SCHEMAS = {
    schemas.name: schemas
    for schemas in (
        _of_instances("INSTANCE_CREATED", effect="REPLACE"),
        _of_instances("INSTANCE_UPDATED", effect="MERGE"),
        _of_instances("INSTANCE_DELETED", effect="REMOVE"),
        SchemaVersions.starting("CLASS_DEFINED", "1.0.0"),
        SchemaVersions.starting("CLASS_RETIRED", "1.0.0"),
    )
}


def check_event_schemas() -> None:
    """Raise SchemaGap unless every version ever stored can be read; a worker refuses to start without."""
    for schemas in EVENT_SCHEMAS.values():
        schemas.check()


def steps_from(event_type: str, schema_version: str) -> tuple[Step, ...]:
    """Return the steps that lead from a stored version to the newest.

    Raises EventFromFuture, SchemaGap, and InputInvalid for a text that is no version.
    """
    if event_type in EVENT_SCHEMAS:
        return _steps_from(event_type, schema_version)
    return registry().steps_from(event_type, schema_version)


@lru_cache(maxsize=256)
def _steps_from(event_type: str, schema_version: str) -> tuple[Step, ...]:
    return EVENT_SCHEMAS[event_type].steps_from(SemanticVersion.parse(schema_version))
