"""Search attributes, by which the Web UI finds commands. Keywords are few, and none holds personal data."""

from collections.abc import Mapping
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

from oncelog.domain.stored_names import (
    AGGREGATE_ID_ATTRIBUTE,
    CHECK_VERDICT_ATTRIBUTE,
    CLASS_ID_ATTRIBUTE,
    COMMAND_OUTCOME_ATTRIBUTE,
    COMMAND_TYPE_ATTRIBUTE,
    DB_NAME_ATTRIBUTE,
    SEQUENCE_NUMBER_ATTRIBUTE,
)

DB_NAME = SearchAttributeKey.for_keyword(DB_NAME_ATTRIBUTE)
CLASS_ID = SearchAttributeKey.for_keyword(CLASS_ID_ATTRIBUTE)
AGGREGATE_ID = SearchAttributeKey.for_keyword(AGGREGATE_ID_ATTRIBUTE)
COMMAND_TYPE = SearchAttributeKey.for_keyword(COMMAND_TYPE_ATTRIBUTE)
COMMAND_OUTCOME = SearchAttributeKey.for_keyword(COMMAND_OUTCOME_ATTRIBUTE)
SEQUENCE_NUMBER = SearchAttributeKey.for_int(SEQUENCE_NUMBER_ATTRIBUTE)
CHECK_VERDICT = SearchAttributeKey.for_keyword(CHECK_VERDICT_ATTRIBUTE)
SEARCH_ATTRIBUTES = (DB_NAME, CLASS_ID, AGGREGATE_ID, COMMAND_TYPE, COMMAND_OUTCOME, SEQUENCE_NUMBER, CHECK_VERDICT)


def lacking(wanted: Mapping[SearchAttributeKey[str], str]) -> list[SearchAttributeUpdate[Any]]:
    """Return the updates for these attributes of the running workflow, less those its starter has set already."""
    present = workflow.info().typed_search_attributes
    return [key.value_set(value) for key, value in wanted.items() if present.get(key) != value]
