"""The last words of a demo."""

import pytest

from examples.atlas.farewell import print_other_release
from oncelog.client.many_commands import Answer
from oncelog.domain.commands import Command
from tests.classes import define
from tests.commands import create
from tests.unique_values import USERS
from tests.write.world import World


async def answer_to(world: World, command: Command) -> Answer:
    return Answer(command, await world.process().run(command), error=None, duplicate=False, latency_ms=1.0)


async def test_demo_of_another_release_is_named_with_the_remedy(capsys: pytest.CaptureFixture[str]):
    world = World()
    command = define(USERS)
    print_other_release([await answer_to(world, command), await answer_to(world, create())])
    assert capsys.readouterr().err == ""
    other = define({**USERS, "version": "2.0.0"}).model_copy(update={"command_id": command.command_id})
    print_other_release([await answer_to(world, other)])
    said = capsys.readouterr().err
    assert command.command_id in said
    assert "python -m stack down --wipe" in said
