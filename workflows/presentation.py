"""How a command is shown and queued: its line and its attributes in the Web UI, and its share among others."""

import hashlib

from temporalio.common import Priority, SearchAttributePair, TypedSearchAttributes

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.commands import Command
from oncelog.workflows.attributes import AGGREGATE_ID, CLASS_ID, COMMAND_TYPE, DB_NAME


def summary(command: Command | Bulk) -> str:
    """Return a command's summary in the list of the Web UI: distinct words first."""
    about = f"{command.db_name}/{command.class_id}" if isinstance(command, Bulk) else command.aggregate_id
    return f"{command.command_type} {about}"


def fairness(command: Command | Bulk) -> Priority:
    """Return the priority by which Temporal takes aggregates in turn, however many commands of one of them wait."""
    about = f"{command.db_name}/{command.class_id}" if isinstance(command, Bulk) else str(command.aggregate_id)
    return Priority(fairness_key=hashlib.sha256(about.encode()).hexdigest())


def search_attributes(command: Command | Bulk) -> TypedSearchAttributes:
    """Return the search attributes of a command for the Web UI."""
    pairs = [
        SearchAttributePair(DB_NAME, command.db_name),
        SearchAttributePair(CLASS_ID, command.class_id),
        SearchAttributePair(COMMAND_TYPE, str(command.command_type)),
    ]
    if isinstance(command, Command):
        pairs.append(SearchAttributePair(AGGREGATE_ID, str(command.aggregate_id)))
    return TypedSearchAttributes(pairs)
