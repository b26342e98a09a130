"""The judge of unique values finds a sound run sound, and sees each kind of damage that is planted."""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.commands import Command
from oncelog.errors import AggregateBusy, StoreUnavailable
from oncelog.settings import Settings
from tests.bulks import bulk_create, bulk_update, item
from tests.chaos.unique_judge import UniqueVerdict, judge_unique
from tests.chaos.unique_log import Stored, UniqueLog, value_of
from tests.commands import create, delete, update
from tests.unique_values import define_users
from tests.write.bulks import Attempt
from tests.write.schedules import Dead, Schedule, mishaps_of
from tests.write.world import World

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONSTRAINTS = {"email": ("email",), "plate": ("country", "plate")}
Objects = dict[str, Stored]


def judge(objects: Objects, began_at: Mapping[str, datetime] | None = None) -> UniqueVerdict:
    return judge_unique(UniqueLog("shop/Product", CONSTRAINTS, objects), began_at=began_at or {})


class Clock:
    """S3's clock, which goes on by ten seconds with each object."""

    def __init__(self) -> None:
        self._at = BEGAN

    def __call__(self) -> datetime:
        self._at += timedelta(seconds=10)
        return self._at


def world_with_a_clock() -> World:
    world = World(settings=Settings(projection="stream", bulk_chunk_items_max=3))
    world.bucket.clock = Clock()
    return world


def objects_of(world: World) -> Objects:
    return {key: Stored(found.body, world.bucket.written_at[key]) for key, found in world.bucket.objects.items()}


@pytest.fixture
async def story() -> Objects:
    """A value goes from instance to instance, is refused in between, and one entry comes to nothing."""
    world = world_with_a_clock()
    process = world.process()
    commands = [
        create("a", {"email": "x"}, command_id="first"),
        create("b", {"email": "x"}, command_id="refused"),
        update("a", {"email": None}, command_id="gives-up"),
        create("b", {"email": "x", "country": "CH", "plate": "1"}, command_id="second"),
        delete("b", command_id="leaves"),
        create("c", {"country": "CH", "plate": "2"}, command_id="plated"),
    ]
    await process.run(define_users())
    for command in commands:
        await process.run(command)
    await Attempt(world.process()).run(
        bulk_create(item("d", {"email": "x"}), item("e", {"email": "x"}), command_id="many")
    )
    world.redis.flush()
    await process.run(create("f", {"email": "w", "country": "CH", "plate": "2"}, command_id="in-vain"))
    await process.run(create("g", {"email": "w"}, command_id="after-it"))
    return objects_of(world)


def test_a_sound_story_is_found_sound(story: Objects):
    verdict = judge(story, {"refused": BEGAN})
    assert verdict.findings == []
    assert verdict.figures == {
        "values": 4,
        "holdings": 6,
        "handed_over": 2,
        "held_at_the_end": 3,
        "entries": 7,
        "entries_that_came_to_nothing": 1,
        "refused": 3,
    }


def event(name: str, number: int) -> str:
    return f"events/shop/Product/{name}/{number:020d}.json"


def entry(value: str, place: int) -> str:
    return f"unique/shop/Product/email/{value_of('email', [value])[1]}/{place:06d}.json"


def changed(key: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Objects], None]:
    def damage(objects: Objects) -> None:
        fields = json.loads(objects[key].body)
        change(fields)
        objects[key] = objects[key]._replace(body=json.dumps(fields).encode())

    return damage


def moved(key: str, seconds: int) -> Callable[[Objects], None]:
    def damage(objects: Objects) -> None:
        written_at = objects[key].written_at + timedelta(seconds=seconds)
        objects[key] = objects[key]._replace(written_at=written_at)

    return damage


def doubled(objects: Objects) -> None:
    """A command that was refused has an event besides."""
    fields = json.loads(objects[event("a", 1)].body)
    fields |= {"aggregate_id": "shop/Product/z", "command_id": "refused", "data": {}}
    objects[event("z", 1)] = objects[event("a", 1)]._replace(body=json.dumps(fields).encode())


def cites_the_creation(record: dict[str, Any]) -> None:
    record["places"][0]["ended_by"]["key"] = event("a", 1)


def names_another_version(record: dict[str, Any]) -> None:
    record["rejection"]["details"]["holder_version"] = 2


DAMAGE: dict[str, tuple[Callable[[Objects], object], str]] = {
    "an event written past the protocol": (
        changed(event("c", 1), lambda fields: fields["data"].update(email="x")),
        "two hold it now",
    ),
    "an entry lost": (lambda objects: objects.pop(entry("x", 3)), "is not its own"),
    "an entry lost amid its chain": (lambda objects: objects.pop(entry("x", 2)), "expected places 1 to 2"),
    "an entry of another slot": (changed(entry("x", 2), lambda fields: fields.update(slot=7)), "no record names it"),
    "a place named too early": (changed("commands/second/000001.json", cites_the_creation), "does not end the entry"),
    "the event that let go, lost": (lambda objects: objects.pop(event("a", 2)), "had not ended before"),
    "the event that let go, written late": (moved(event("a", 2), 500), "by S3's clock"),
    "an event before its entry": (moved(event("b", 1), -50), "written before its entry"),
    "an entry before its record": (moved(entry("x", 2), -50), "written before its record"),
    "a refusal for another version": (changed("commands/refused/000001.json", names_another_version), "does not hold"),
    "a refusal before the holder held": (moved(event("a", 1), 100), "before shop/Product/a came to version 1"),
    "an event of a refused command": (doubled, "which its last record does not bind"),
    "an event of an applied command, lost": (lambda objects: objects.pop(event("g", 1)), "another's or empty"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_planted_damage_is_found(story: Objects, damage: str):
    plant, expected = DAMAGE[damage]
    plant(story)
    found = judge(story).findings
    assert any(expected in finding for finding in found), found


def test_a_refusal_by_a_holder_of_the_past_is_found(story: Objects):
    late = story[event("a", 2)].written_at + timedelta(seconds=60)
    (finding,) = judge(story, {"refused": late}).findings
    assert "before the command began" in finding


@pytest.mark.parametrize("seed", range(25))
async def test_runs_in_any_order_are_found_sound(seed: int):
    dice = random.Random(seed)
    world = world_with_a_clock()
    await world.process().run(define_users())
    names, emails = ("a", "b", "c", "d"), ("x", "y", None)

    def user(name: str) -> tuple[str, dict[str, Any]]:
        return name, {"email": dice.choice(emails), "country": "CH", "plate": dice.choice(("1", "2"))}

    def drawn() -> Command | Bulk:
        if dice.random() < 0.2:
            return dice.choice((bulk_create, bulk_update))(*(item(*user(dice.choice(names))) for _ in range(5)))
        name = dice.choice(names)
        return dice.choice((create(*user(name)), update(*user(name)), delete(name)))

    async def attempt(command: Command | Bulk) -> None:
        while True:
            try:
                if isinstance(command, Bulk):
                    await Attempt(world.process()).run(command)
                else:
                    await world.process().commit(command)
            except (Dead, StoreUnavailable, AggregateBusy):
                continue
            return

    schedule = Schedule(dice, mishaps_of(world), chance=0.05, dying=0.02)
    world.bucket.pause = world.redis.pause = schedule.pause
    attempts = [asyncio.create_task(attempt(command)) for command in [drawn() for _ in range(8)] for _ in range(2)]
    await schedule.drive(attempts)  # type: ignore[arg-type]
    await asyncio.gather(*attempts)
    verdict = judge(objects_of(world))
    assert verdict.findings == []
