"""The running definition of a class: what follows from a definition is theirs to bring along for as long as
they are at work.
"""

from oncelog.domain.identifiers import AggregateId
from oncelog.errors import LogDamaged, SchemaUnsupported
from oncelog.ports import RunningWorkflows
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StreamReader


class RunningDefinitions:
    """Asks about the workflows of definitions; only to save work, as everywhere in reconciliation."""

    def __init__(self, *, class_schemas: ClassSchemas, reader: StreamReader, running: RunningWorkflows) -> None:
        self._class_schemas = class_schemas
        self._reader = reader
        self._running = running

    async def are_at_work(self, class_name: AggregateId) -> bool:
        """Return whether the command of the class's newest definition has not come to its end."""
        instance = AggregateId(class_name.db_name, class_name.instance_key, "-")
        try:
            class_schema = await self._class_schemas.newest(instance)
            if class_schema is None:
                return False
            defined = await self._reader.required(class_name, class_schema.reference.sequence_number)
        except (LogDamaged, SchemaUnsupported):
            return False  # the class itself is told of; here it holds up no other class
        return await self._running.is_running(defined.event.command_id)
