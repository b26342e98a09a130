"""The largest permitted things, written on real servers, are read back once Redis and Temporal have forgotten them."""

from collections.abc import AsyncIterator

import pytest

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.commands import Command
from oncelog.domain.results import CommandResult, Outcome
from tests.bulks import ndjson, reference
from tests.integration.installation import Installation
from tests.largest import stories

#: aiohttp warns of bodies above 1 MiB; tests take warnings for errors.
LARGE = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
pytestmark = [pytest.mark.integration, pytest.mark.slow, LARGE]


async def uploaded(installation: Installation, bulk: Bulk) -> Bulk:
    """Return the same command by reference, its items lying in the bucket."""
    items = bulk.payload.items or []
    payload, _ = reference(items)

    async def parts() -> AsyncIterator[bytes]:
        yield ndjson(items)

    await installation.stores.ports.large_objects.write_object(payload["items_key"], parts())
    return Bulk.model_validate(bulk.as_json | {"payload": payload, "command_id": f"{bulk.command_id}-uploaded"})


async def run_all(installation: Installation, commands: list[Command | Bulk]) -> list[CommandResult]:
    async with installation.worker():
        return [await installation.client.submit(command) for command in commands]


async def test_largest_things_are_read_back(installation: Installation):
    commands = [command for story in stories().values() for command in story]
    commands += [await uploaded(installation, command) for command in commands if isinstance(command, Bulk)]
    first = await run_all(installation, commands)
    for command, result in zip(commands, first, strict=True):
        if isinstance(result, BulkResult):
            assert result.counts.applied + result.counts.rejected == result.counts.items > 0
        elif command.class_id == "Product":
            assert result.outcome is Outcome.APPLIED, result
    await installation.empty_redis()
    await installation.lose_temporal()
    statuses = [await installation.client.status(command.command_id) for command in commands]
    assert [status.result for status in statuses] == first
    assert await run_all(installation, commands) == first
    await installation.check()
