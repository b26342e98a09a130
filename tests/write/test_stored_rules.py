"""Commands that were accepted stay readable, repeatable and sound when a rule for input becomes narrower."""

import pytest

from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.commands import Command, parse_command
from oncelog.domain.results import Outcome
from oncelog.errors import InputInvalid
from tests.bulks import bulk_create, item
from tests.commands import create, update
from tests.write.bulks import Attempt, check_results, run_bulk, upload
from tests.write.world import World

DATA = {"colours": ["red", "green"], "size": 3}


@pytest.fixture
def narrow_rules(monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes every rule for the size of input so narrow that nothing passes."""

    def narrow() -> None:
        monkeypatch.setattr("oncelog.domain.json_size.INDEXED_BYTES_MAX", 10)

    return narrow


def again(command: Command) -> Command:
    """Return the command as an activity gets it from its workflow."""
    return parse_command(command.model_dump(mode="json", exclude_none=True), stored=True)


async def test_command_is_repeated_under_narrower_rules(narrow_rules):
    world = World()
    commands = [create("p1", DATA), update("p1", {"size": 4})]
    results = [await world.process().complete(command) for command in commands]
    narrow_rules()
    world.redis.flush()
    with pytest.raises(InputInvalid, match="to index"):
        parse_command(commands[0].model_dump(mode="json", exclude_none=True))
    for command, result in zip(commands, results, strict=True):
        assert await world.process().complete(again(command)) == result
    world.check()


async def test_bound_command_is_finished_under_narrower_rules(narrow_rules):
    world = World()
    await world.process().complete(create("p1", DATA))
    command = update("p1", {"size": 4})

    async def dies(step: str) -> None:
        if step == "record":
            raise RuntimeError("the worker died")

    with pytest.raises(RuntimeError):
        await world.process().commit(command, after_step=dies)
    narrow_rules()
    assert (await world.process().complete(again(command))).outcome is Outcome.APPLIED
    world.check()


@pytest.mark.parametrize("inline", [True, False])
async def test_bulk_is_repeated_under_narrower_rules(narrow_rules, inline: bool):
    world = World()
    bulk = bulk_create(*(item(f"p{number}", DATA) for number in range(3)))
    if not inline:
        bulk = upload(world, bulk)
    first = await run_bulk(world, bulk)
    assert isinstance(first, BulkResult)
    assert first.counts.applied == 3
    narrow_rules()
    world.redis.flush()
    assert await Attempt(world.process()).run(bulk) == first
    check_results(world, first)
    world.check()
