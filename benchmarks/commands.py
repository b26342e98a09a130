"""The commands that benchmarks send: instances of some 200 bytes in the database ``bench``."""

from typing import Any

from oncelog.client.client import new_command_id
from oncelog.domain.commands import Command, CommandType

PRODUCT = "Product"


def payload() -> dict[str, Any]:
    """Return an instance's data, of some 200 bytes."""
    return {"name": "Lamp", "price": 12.5, "tags": ["new", "indoor"], "description": "x" * 100}


def creation(class_id: str = PRODUCT, **more: Any) -> Command:
    """Return a command that creates a new instance; ``more``: further members of its data."""
    return command(CommandType.CREATE_INSTANCE, {**payload(), **more}, class_id=class_id, instance_id=new_command_id())


def command(
    command_type: CommandType, body: dict[str, Any], *, class_id: str = PRODUCT, instance_id: str | None = None
) -> Command:
    """Return a new command; ``instance_id``: None for one about a class."""
    return Command(
        command_id=new_command_id(),
        command_type=command_type,
        db_name="bench",
        class_id=class_id,
        instance_id=instance_id,
        payload=body,
    )
