"""Command statuses in Redis: the fast answer to a duplicate, and how far a command has come."""

from collections.abc import Mapping, Sequence

import structlog

from oncelog.domain.bulk.results import read_result
from oncelog.ports import CommandStatus, Stage
from oncelog.stores.redis.server import RedisServer

_log = structlog.get_logger()


class RedisCommandStatuses:
    """``CommandStatuses`` in Redis: a hash per command, with a field ``at:STAGE`` for each stage reached."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    async def claim_command(self, status: CommandStatus) -> CommandStatus | None:
        arguments = (self._server.memory_s, *_pairs(_identity(status)), *_pairs(_times(status.history)))
        existing = await self._server.run("claim_command", [self._key(status.command_id)], arguments)
        if existing is None:
            return None
        found = self._status(status.command_id, dict(zip(existing[::2], existing[1::2], strict=True)))
        if found is None:  # unreadable is not known, so it gives way
            await self.complete_command(status)
        return found

    async def complete_command(self, status: CommandStatus) -> None:
        fields = _pairs(_identity(status))
        arguments = (self._server.memory_s, status.command_hash, len(fields), *fields, *_pairs(_times(status.history)))
        await self._server.run("complete_command", [self._key(status.command_id)], arguments)

    async def read_status(self, command_id: str) -> CommandStatus | None:
        fields = await self._server.fields(self._key(command_id))
        return self._status(command_id, fields) if fields else None

    def _key(self, command_id: str) -> str:
        return f"{self._server.prefix}command:{command_id}"

    def _status(self, command_id: str, fields: Mapping[bytes, bytes]) -> CommandStatus | None:
        try:
            return _read_status(command_id, {name.decode(): value.decode() for name, value in fields.items()})
        except (KeyError, ValueError) as error:
            _log.warning("status_unreadable", command_id=command_id, reason=repr(error))
            return None


def _identity(status: CommandStatus) -> dict[str, str]:
    fields = {
        "command_hash": status.command_hash,
        "command_type": status.command_type,
        "aggregate_id": status.aggregate_id,
        "stage": status.stage.value,
    }
    return fields if status.result is None else fields | {"result": status.result.model_dump_json()}


def _times(history: Sequence[tuple[Stage, str]]) -> dict[str, str]:
    return {f"at:{stage}": time for stage, time in reversed(history)}  # of two times of one stage, the first


def _pairs(fields: Mapping[str, str]) -> list[str]:
    return [text for pair in fields.items() for text in pair]


def _read_status(command_id: str, fields: Mapping[str, str]) -> CommandStatus:
    """Read the fields back; raises KeyError and ValueError for fields that are not a status."""
    history = tuple((stage, fields[f"at:{stage}"]) for stage in Stage if f"at:{stage}" in fields)
    reached = [Stage(fields["stage"]), *(stage for stage, _ in history)]
    return CommandStatus(
        command_id=command_id,
        command_hash=fields["command_hash"],
        command_type=fields["command_type"],
        aggregate_id=fields["aggregate_id"],
        stage=max(reached, key=list(Stage).index),
        history=history,
        result=read_result(fields["result"]) if "result" in fields else None,
    )
