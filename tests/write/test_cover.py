"""Unique constraints that a class gets when its instances are there: covered, duplicates named, safe to repeat."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from oncelog.client.cover import ClassCover
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.commands import Command
from oncelog.domain.events import Effect, content_of
from oncelog.domain.stored_names import cover_report_key
from oncelog.errors import InputInvalid
from oncelog.ports import ListedStream, Page
from oncelog.query.coverage import ConstraintCoverage, CoverageState, Evidence
from oncelog.replay.class_schemas import RECHECK_S
from oncelog.stores.s3 import StoredObject
from oncelog.stores.s3.catalogue import S3LogCatalogue
from tests.classes import NUMBER, TEXT, retire, schema
from tests.commands import create, delete, update
from tests.unique_values import doubled, holders
from tests.write.covering import NAME, Commands, Scene

FREE: dict[str, Any] = {"version": "1.0.0", "schema": schema(email=TEXT, plate=TEXT, n=NUMBER)}
BY_MAIL: dict[str, Any] = {**FREE, "version": "1.1.0", "unique": {"email": ["/email"]}}
BY_BOTH: dict[str, Any] = {**BY_MAIL, "version": "1.2.0", "unique": {**BY_MAIL["unique"], "plate": ["/plate"]}}


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.define(FREE)
    return scene


def mails(*names: str) -> list[Command]:
    """Return commands that create instances ``n``, whose mail is the part after ``:``, or else their own name."""
    return [create(name.partition(":")[0], {"email": name.partition(":")[2] or name}) for name in names]


async def test_instances_that_were_there_are_covered(scene: Scene):
    await scene.run(*mails(*(f"u{number}" for number in range(11))))
    await scene.define(BY_MAIL)
    assert (await scene.states())["email"] == ConstraintCoverage(CoverageState.COVERING, 2, 11, 11, Evidence.LOG)
    report = await scene.cover()
    assert (report.instances, report.covered, report.refused, report.uncovered) == (11, 11, 0, {"email": 0})
    assert report.is_complete
    assert len(scene.commands.sent) == 3
    assert sorted(holders(scene.world.bucket.objects, "email").values()) == sorted(
        [f"shop/Product/u{number}"] for number in range(11)
    )
    assert len([key for key in scene.world.bucket.objects if key.startswith("unique/")]) == 11
    scene.world.check(published=False)
    assert (await scene.states())["email"].state is CoverageState.COMPLETE


async def test_second_run_sends_nothing(scene: Scene):
    await scene.run(*mails("a", "b"))
    await scene.define(BY_MAIL)
    await scene.cover()
    sent = list(scene.commands.sent)
    again = await scene.cover()
    assert (scene.commands.sent, again.covered, again.instances) == (sent, 0, 2)


async def test_run_of_another_operator_has_commands_of_its_own(scene: Scene):
    await scene.run(*mails("a:x", "b:x"))
    await scene.define(BY_MAIL)
    first, second = await scene.cover(actor="ann"), await scene.cover(actor="bob")
    assert (first.covered, first.refused) == (1, 1)
    assert (second.covered, second.refused) == (0, 1)
    assert len(set(scene.commands.sent)) == 2


async def test_duplicates_are_named_mended_and_covered(scene: Scene):
    await scene.run(*mails("a:x", "b:x", "c:y", "d:x"))
    await scene.define(BY_MAIL)
    report = await scene.cover()
    assert (report.covered, report.refused, report.uncovered) == (2, 2, {"email": 2})
    assert [(each.aggregate_id, each.is_duplicate, each.detail("holder")) for each in report.refusals] == [
        ("shop/Product/b", True, "shop/Product/a"),
        ("shop/Product/d", True, "shop/Product/a"),
    ]
    assert report.commands == (scene.commands.sent[0],)
    assert doubled(scene.world.bucket.objects) == {("x",): [f"shop/Product/{name}" for name in "abd"]}
    same = await scene.cover()
    assert (same.refused, len(set(scene.commands.sent))) == (2, 2), "another attempt, with an ID of its own"
    await scene.run(update("b", {"email": "z"}), delete("d"))
    mended = await scene.cover()
    assert (mended.covered, mended.refused, mended.uncovered) == (0, 0, {"email": 0})
    assert doubled(scene.world.bucket.objects) == {}


async def test_value_that_its_holder_lets_go_is_claimed(scene: Scene):
    """The instance that was refused has not changed: only another attempt at the same update covers it."""
    await scene.run(*mails("a:x", "b:x"))
    await scene.define(BY_MAIL)
    assert (await scene.cover()).refused == 1
    await scene.run(delete("a"))
    assert (await scene.cover()).covered == 1
    assert holders(scene.world.bucket.objects, "email") == {("x",): ["shop/Product/b"]}


async def test_deleted_instances_are_left_alone(scene: Scene):
    await scene.run(*mails("a", "b"), delete("a"))
    await scene.define(BY_MAIL)
    report = await scene.cover()
    assert (report.instances, report.covered) == (1, 1)
    assert len(scene.events("a")) == 2


async def test_run_waits_for_processes_that_know_no_constraint(scene: Scene):
    await scene.run(*mails("a"))
    await scene.define(BY_MAIL, seconds=10)
    assert (await scene.cover()).covered == 1
    assert scene.slept_s == [RECHECK_S + 1 - 10]
    assert scene.shown[0].wait_s == scene.slept_s[0]


async def test_instance_written_meanwhile_gets_no_empty_update(scene: Scene):
    await scene.run(*mails("a", "b", "c"))
    await scene.define(BY_MAIL)

    class Beside(Commands):
        async def follow(self, bulk: Bulk) -> AsyncIterator[BulkResult]:
            if not self.sent:
                await scene.run(update("a", {"n": 7}), delete("b"))
            async for result in super().follow(bulk):
                yield result

    report = await scene.cover(commands=Beside(scene.world))
    assert (report.instances, report.covered, report.refused, report.is_complete) == (2, 1, 0, True)
    assert [event.data for event in scene.events("a")] == [{"email": "a"}, {"n": 7}]


async def test_migrated_instance_is_replaced_by_its_update(scene: Scene):
    await scene.run(*mails("a:x"))
    moved = {
        "version": "2.0.0",
        "schema": schema(mail=TEXT, plate=TEXT, n=NUMBER),
        "migration": [{"rename": {"at": "/email", "to": "mail"}}],
        "unique": {"mail": ["/mail"]},
    }
    await scene.define(moved)
    assert (await scene.cover()).covered == 1
    last = content_of(scene.events("a")[-1])
    assert (last.effect, last.data) == (Effect.REPLACE, {"mail": "x"})
    assert holders(scene.world.bucket.objects, "mail") == {("x",): ["shop/Product/a"]}


async def test_second_constraint_covers_what_the_first_one_does(scene: Scene):
    await scene.define(BY_MAIL)
    await scene.run(create("a", {"email": "x", "plate": "1"}), create("b", {"email": "y", "plate": "1"}))
    await scene.define(BY_BOTH)
    await scene.run(create("c", {"email": "z", "plate": "2"}))
    states = await scene.states()
    assert states["email"] == ConstraintCoverage(CoverageState.COMPLETE, 2, 0, 3, Evidence.LOG)
    assert states["plate"] == ConstraintCoverage(CoverageState.COVERING, 3, 2, 3, Evidence.LOG)
    report = await scene.cover()
    assert (report.uncovered, [each.detail("constraint") for each in report.refusals]) == (
        {"email": 0, "plate": 1},
        ["plate"],
    )


async def test_data_that_cannot_be_held_is_named(scene: Scene):
    await scene.run(create("a", {"email": "x" * 2000}))
    await scene.define(BY_MAIL)
    report = await scene.cover()
    assert [(each.rejection.code, each.is_duplicate) for each in report.refusals] == [("PayloadInvalid", False)]
    assert not report.is_complete


async def test_retired_class_is_left_alone(scene: Scene):
    await scene.run(*mails("a"))
    await scene.define(BY_MAIL)
    await scene.world.process().run(retire())
    report = await scene.cover()
    assert (report.retired, scene.commands.sent) == (True, [])


@pytest.mark.parametrize("name", ["Product", "Nothing"])
async def test_class_without_constraints_is_refused(scene: Scene, name: str):
    cover = ClassCover(scene.world.ports(), scene.coverage, scene.commands, scene.commands.under_way)
    with pytest.raises(InputInvalid, match="unique"):
        await cover.run("shop", name)


async def test_command_under_way_is_attached_to(scene: Scene):
    """As after Ctrl-C while no worker runs: the next run waits for the command that was sent."""
    await scene.run(*mails("a:x", "b:x"))
    await scene.define(BY_MAIL)
    await scene.cover()
    await scene.cover()
    *_, last = scene.commands.sent
    scene.commands.running = {last}
    await scene.cover()
    assert scene.commands.sent[-2:] == [last, last]


async def test_unreadable_instance_leaves_a_constraint_incomplete(scene: Scene):
    await scene.run(*mails("a", "b"))
    await scene.define(BY_MAIL)
    key = "events/shop/Product/a/00000000000000000001.json"
    stored = scene.world.bucket.objects[key]
    scene.world.bucket.objects[key] = StoredObject(stored.body.replace(b'"a"', b'"z"'), stored.metadata)
    report = await scene.cover()
    assert (report.covered, report.unreadable, report.is_complete) == (1, 1, False)


async def test_class_without_constraints_costs_no_request(scene: Scene):
    spans = await scene.coverage.spans(NAME)
    assert spans is not None
    scene.world.bucket.requests.clear()
    assert await scene.coverage.states("shop", "Product", spans) == {}
    assert not scene.world.bucket.requests


async def test_large_class_is_known_by_its_last_run(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    await scene.run(*mails("a:x", "b:x", "c"))
    await scene.define(BY_MAIL)
    many: Page[ListedStream] = Page(items=[], position="more")

    async def paged(_self: object, **_more: object) -> Page[ListedStream]:
        return many

    report = await scene.cover()
    monkeypatch.setattr(S3LogCatalogue, "listed_streams", paged)
    assert (await scene.states())["email"] == ConstraintCoverage(
        CoverageState.COVERING, 2, 1, 3, Evidence.RUN, report.ended_at
    )
    key = cover_report_key("shop", "Product")
    del scene.world.bucket.objects[key]
    assert (await scene.states())["email"] == ConstraintCoverage(CoverageState.NOT_COUNTED, 2)


async def test_constraint_that_left_and_came_back_is_covered_anew(scene: Scene):
    await scene.define(BY_MAIL)
    await scene.run(*mails("a"))
    await scene.define({**FREE, "version": "1.2.0"})
    await scene.define({**BY_MAIL, "version": "1.3.0"})
    assert (await scene.states())["email"] == ConstraintCoverage(CoverageState.COVERING, 4, 1, 1, Evidence.LOG)
    assert (await scene.cover()).is_complete
