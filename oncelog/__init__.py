"""Oncelog: an event-sourced CQRS command pipeline on durable execution.

The names below are the public API; [compatibility](compatibility.md) has its promises. Each is loaded when it
is first used, so that a program that only makes commands loads no client of any server.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from oncelog.client.bulk import Bulks
    from oncelog.client.client import Oncelog, Submission, new_command_id
    from oncelog.client.many_commands import Answer, submit_all
    from oncelog.client.runs import Checks
    from oncelog.client.subscribe import subscribe
    from oncelog.domain.bulk.command import BulkType
    from oncelog.domain.bulk.results import BulkResult
    from oncelog.domain.commands import Command, CommandType, command_to
    from oncelog.domain.events import Event
    from oncelog.domain.identifiers import AggregateId
    from oncelog.domain.queries import Search
    from oncelog.domain.results import CommandResult, Outcome, Rejection, RejectionCode
    from oncelog.errors import (
        CommandFailed,
        CommandNotSent,
        CommandUnknown,
        ContainerUnusable,
        EventFromFuture,
        HandlerFailed,
        InputInvalid,
        LogDamaged,
        NotYetVisible,
        ObjectRefused,
        OncelogError,
        ProjectionParked,
        SchemaGap,
        SchemaUnsupported,
        SettingsInvalid,
        StoreUnavailable,
        StoreUnsafe,
        TokenInvalid,
    )
    from oncelog.ports import Changes, CommandStatus, Document, EventReadModel, ReadModel, Stage
    from oncelog.reactions.reaction import NewCommand, Reaction
    from oncelog.settings import Settings

_MODULES = {
    "oncelog.client.bulk": ("Bulks",),
    "oncelog.client.runs": ("Checks",),
    "oncelog.client.subscribe": ("subscribe",),
    "oncelog.client.client": ("Oncelog", "Submission", "new_command_id"),
    "oncelog.client.many_commands": ("Answer", "submit_all"),
    "oncelog.domain.bulk.command": ("BulkType",),
    "oncelog.domain.bulk.results": ("BulkResult",),
    "oncelog.domain.commands": ("Command", "CommandType", "command_to"),
    "oncelog.domain.events": ("Event",),
    "oncelog.domain.identifiers": ("AggregateId",),
    "oncelog.domain.queries": ("Search",),
    "oncelog.domain.results": ("CommandResult", "Outcome", "Rejection", "RejectionCode"),
    "oncelog.errors": (
        "CommandFailed",
        "CommandNotSent",
        "CommandUnknown",
        "ContainerUnusable",
        "EventFromFuture",
        "HandlerFailed",
        "InputInvalid",
        "LogDamaged",
        "NotYetVisible",
        "ObjectRefused",
        "OncelogError",
        "ProjectionParked",
        "SchemaGap",
        "SchemaUnsupported",
        "SettingsInvalid",
        "StoreUnavailable",
        "StoreUnsafe",
        "TokenInvalid",
    ),
    "oncelog.ports": ("Changes", "CommandStatus", "Document", "EventReadModel", "ReadModel", "Stage"),
    "oncelog.reactions.reaction": ("NewCommand", "Reaction"),
    "oncelog.settings": ("Settings",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AggregateId",
    "Answer",
    "BulkResult",
    "BulkType",
    "Bulks",
    "Changes",
    "Checks",
    "Command",
    "CommandFailed",
    "CommandNotSent",
    "CommandResult",
    "CommandStatus",
    "CommandType",
    "CommandUnknown",
    "ContainerUnusable",
    "Document",
    "Event",
    "EventFromFuture",
    "EventReadModel",
    "HandlerFailed",
    "InputInvalid",
    "LogDamaged",
    "NewCommand",
    "NotYetVisible",
    "ObjectRefused",
    "Oncelog",
    "OncelogError",
    "Outcome",
    "ProjectionParked",
    "Reaction",
    "ReadModel",
    "Rejection",
    "RejectionCode",
    "SchemaGap",
    "SchemaUnsupported",
    "Search",
    "Settings",
    "SettingsInvalid",
    "Stage",
    "StoreUnavailable",
    "StoreUnsafe",
    "Submission",
    "TokenInvalid",
    "__version__",
    "command_to",
    "new_command_id",
    "submit_all",
    "subscribe",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # takes as long to load as all else that a program needs of this package

        return version("oncelog")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'oncelog' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
