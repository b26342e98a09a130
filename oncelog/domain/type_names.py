"""The types of commands and events that every installation has; aggregates of one's own add theirs by name."""

from enum import StrEnum


class CommandType(StrEnum):
    CREATE_INSTANCE = "CREATE_INSTANCE"
    UPDATE_INSTANCE = "UPDATE_INSTANCE"
    DELETE_INSTANCE = "DELETE_INSTANCE"
    DEFINE_CLASS = "DEFINE_CLASS"
    RETIRE_CLASS = "RETIRE_CLASS"


class EventType(StrEnum):
    INSTANCE_CREATED = "INSTANCE_CREATED"
    INSTANCE_UPDATED = "INSTANCE_UPDATED"
    INSTANCE_DELETED = "INSTANCE_DELETED"
    CLASS_DEFINED = "CLASS_DEFINED"
    CLASS_RETIRED = "CLASS_RETIRED"


#: Commands about a class itself.
CLASS_COMMANDS = frozenset({CommandType.DEFINE_CLASS, CommandType.RETIRE_CLASS})

#: The types of bulk commands begin so; no command of one's own may.
BULK_PREFIX = "BULK_"
