"""Search attributes: what commands are found by in the Web UI. Keywords are few, and none holds personal data."""

from collections.abc import Mapping
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

DB_NAME = SearchAttributeKey.for_keyword("DbName")
CLASS_ID = SearchAttributeKey.for_keyword("ClassId")
AGGREGATE_ID = SearchAttributeKey.for_keyword("AggregateId")
COMMAND_TYPE = SearchAttributeKey.for_keyword("CommandType")
COMMAND_OUTCOME = SearchAttributeKey.for_keyword("CommandOutcome")
SEQUENCE_NUMBER = SearchAttributeKey.for_int("SequenceNumber")
SEARCH_ATTRIBUTES = (DB_NAME, CLASS_ID, AGGREGATE_ID, COMMAND_TYPE, COMMAND_OUTCOME, SEQUENCE_NUMBER)


def lacking(wanted: Mapping[SearchAttributeKey[str], str]) -> list[SearchAttributeUpdate[Any]]:
    """Return what sets these attributes of the running workflow, less those its starter has set already."""
    present = workflow.info().typed_search_attributes
    return [key.value_set(value) for key, value in wanted.items() if present.get(key) != value]
