"""The document of an instance: the full state, so that the newest one alone carries everything before it."""

from dataclasses import replace

from oncelog.domain.aggregates.reading import document_data
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.ports import Document


def document_of(state: Instance) -> Document:
    """Return the state as the read side holds it; a deleted instance gives a tombstone, without data.

    Raises ValueError for an instance to which nothing has happened yet: there is nothing to project.
    """
    if state.sequence_number == 0:
        raise ValueError(f"aggregate {state.aggregate_id}: expected at least one event, found none; do not project it")
    aggregate_id = AggregateId.parse(state.aggregate_id)
    return Document(
        aggregate_id=aggregate_id,
        sequence_number=state.sequence_number,
        body={
            "aggregate_id": state.aggregate_id,
            "db_name": aggregate_id.db_name,
            "class_id": aggregate_id.class_id,
            "instance_id": aggregate_id.instance_id,
            "sequence_number": state.sequence_number,
            "schema_version": state.schema_version,
            "event_id": state.event_id,
            "deleted": state.deleted,
            "created_at": state.created_at,
            "updated_at": state.updated_at,
            "data": document_data(state),
        },
        definition=state.definition,
    )


def migrated(document: Document, class_schema: ClassSchema | None) -> Document:
    """Return the document with its data migrated to this class schema; as it is where there is none, or no data."""
    if class_schema is None:
        return document
    if document.body["deleted"]:
        return replace(document, document_schema=class_schema.reference)
    data = class_schema.current(document.body["data"], document.definition)
    return replace(document, body={**document.body, "data": data}, document_schema=class_schema.reference)
