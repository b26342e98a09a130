"""Definitions and commands about classes for tests, each with an ID of its own."""

from itertools import count
from typing import Any

from oncelog.domain.commands import Command, CommandType, parse_command

_numbers = count(1)


def schema(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


TEXT, WHOLE, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}

#: Three versions, each following from the one before.
FIRST: dict[str, Any] = {
    "version": "1.0.0",
    "schema": schema("name", name=TEXT, price=TEXT, maker=TEXT),
    "relationships": {"made_by": {"target_class": "Maker", "cardinality": "one", "path": "/maker"}},
}
WIDER: dict[str, Any] = {
    **FIRST,
    "version": "1.1.0",
    "schema": schema("name", name=TEXT, price=TEXT, maker=TEXT, colour=TEXT),
}
SECOND: dict[str, Any] = {
    **FIRST,
    "version": "2.0.0",
    "schema": schema("name", "cost", name=TEXT, cost=NUMBER, maker=TEXT, colour=TEXT),
    "migration": [
        {"rename": {"at": "/price", "to": "cost"}},
        {"default": {"at": "/cost", "value": 0}},
        {"convert": {"at": "/cost", "to": "number", "otherwise": 0}},
    ],
}


def define(payload: dict[str, Any], **more: Any) -> Command:
    return _command(CommandType.DEFINE_CLASS, {"payload": payload, **more})


def retire(**more: Any) -> Command:
    return _command(CommandType.RETIRE_CLASS, more)


def _command(command_type: CommandType, more: dict[str, Any]) -> Command:
    named = {"command_id": f"d{next(_numbers)}", "db_name": "shop", "class_id": "Product"}
    return parse_command({"command_type": command_type, **named, **more})
