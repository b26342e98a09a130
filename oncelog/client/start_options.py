"""How a command is started: its ID, its workflow, and the attributes that the Web UI finds it by."""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict, cast
from uuid import UUID

from temporalio.common import (
    Priority,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.commands import CLASS_COMMANDS, Command, CommandType, parse_command
from oncelog.domain.results import CommandResult
from oncelog.workflows.bulk import BulkCommand
from oncelog.workflows.command import ClassCommand, InstanceCommand
from oncelog.workflows.presentation import fairness, search_attributes, summary


def new_command_id() -> str:
    """Return a UUIDv7 (RFC 9562, section 5.7): unique, and sorted by the time at which it was made."""
    milliseconds = time.time_ns() // 1_000_000
    bits = (
        (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    )
    return str(UUID(int=bits))


class StartOptions(TypedDict):
    id: str
    task_queue: str
    id_reuse_policy: WorkflowIDReusePolicy
    id_conflict_policy: WorkflowIDConflictPolicy
    search_attributes: TypedSearchAttributes
    static_summary: str
    priority: Priority


def start_options(command: Command | Bulk, *, task_queue: str) -> StartOptions:
    """Return the options that start a command, by any call: exactly once, and to be found in the Web UI."""
    return {
        "id": command.command_id,
        "task_queue": task_queue,
        "id_reuse_policy": WorkflowIDReusePolicy.REJECT_DUPLICATE,
        "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
        "search_attributes": search_attributes(command),
        "static_summary": summary(command),
        "priority": fairness(command),
    }


def class_command(
    command_type: CommandType, db_name: str, class_id: str, command_id: str | None = None, **fields: Any
) -> Command:
    """Return a command about a class, with a new ID if none is given; raises InputInvalid."""
    given = {name: value for name, value in fields.items() if value is not None}
    named = {"command_id": command_id or new_command_id(), "db_name": db_name, "class_id": class_id}
    return parse_command({"command_type": command_type, **named, **given})


def run_of(command: Command | Bulk) -> Callable[[InstanceCommand, Command | Bulk], Awaitable[CommandResult]]:
    """Return the workflow that the command is run by; on those of one aggregate, an update gives the early answer."""
    if isinstance(command, Bulk):
        run: Any = BulkCommand.run
    else:
        run = ClassCommand.run if command.command_type in CLASS_COMMANDS else InstanceCommand.run
    return cast("Callable[[InstanceCommand, Command | Bulk], Awaitable[CommandResult]]", run)
