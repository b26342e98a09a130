"""The shop's commands as Oncelog takes them."""

from typing import Any

from oncelog import Command
from oncelog.domain.aggregates import Aggregate, DomainCommand
from oncelog.domain.commands import parse_command

DB_NAME = "shop"


def command_to(aggregate: Aggregate[Any], instance_id: str, request: DomainCommand, *, command_id: str) -> Command:
    """Return the command that makes the request of one instance of the aggregate."""
    return parse_command(
        {
            "command_id": command_id,
            "command_type": request.type_name,
            "db_name": DB_NAME,
            "class_id": aggregate.name,
            "instance_id": instance_id,
            "payload": request.model_dump(mode="json"),
        }
    )
