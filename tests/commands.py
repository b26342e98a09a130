"""Commands for tests, on one class, each with an ID of its own."""

import json
from itertools import count
from typing import Any

from oncelog.domain.commands import Command, CommandType

_numbers = count(1)


def create(instance_id: str = "p1", payload: dict[str, Any] | None = None, **more: Any) -> Command:
    return _command(CommandType.CREATE_INSTANCE, instance_id, payload if payload is not None else {"n": 0}, more)


def update(instance_id: str = "p1", payload: dict[str, Any] | None = None, **more: Any) -> Command:
    return _command(CommandType.UPDATE_INSTANCE, instance_id, payload if payload is not None else {"n": 1}, more)


def delete(instance_id: str = "p1", **more: Any) -> Command:
    return _command(CommandType.DELETE_INSTANCE, instance_id, {}, more)


def _command(command_type: CommandType, instance_id: str, payload: dict[str, Any], more: dict[str, Any]) -> Command:
    fields = {
        "command_id": f"c{next(_numbers)}",
        "command_type": command_type,
        "db_name": "shop",
        "class_id": "Product",
        "instance_id": instance_id,
        "payload": json.loads(json.dumps(payload)),
    }
    return Command.model_validate(fields | more)
