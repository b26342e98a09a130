"""Refusing new instances of classes that are not defined, in the databases that the operator names as strict."""

from collections.abc import Callable

from oncelog.domain.bulk.command import Bulk, BulkType
from oncelog.domain.commands import Command, CommandType
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.replay.class_schemas import ClassSchemas

_CREATING = frozenset({CommandType.CREATE_INSTANCE, BulkType.BULK_CREATE_INSTANCES})


class Strictness:
    """Decides for whole commands; ``is_strict`` tells whether a database is strict."""

    def __init__(self, class_schemas: ClassSchemas, is_strict: Callable[[str], bool]) -> None:
        self._class_schemas = class_schemas
        self._is_strict = is_strict

    async def refusal(self, command: Command | Bulk) -> Rejection | None:
        """Return the rejection of a command that creates in an undefined class of a strict database, else None."""
        db_name, class_id = command.db_name, command.class_id
        if command.command_type not in _CREATING or not self._is_strict(db_name):
            return None
        if await self._class_schemas.is_defined(db_name, class_id):
            return None
        message = (
            f"class {db_name}/{class_id}: expected a defined class, for database {db_name} is strict; mend the name, "
            "or define the class first"
        )
        return Rejection(
            code=RejectionCode.INVALID_COMMAND, message=message, details={"undefined_class": f"{db_name}/{class_id}"}
        )
