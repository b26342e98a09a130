"""References that must exist and lead nowhere are listed by a verification, which stays sound."""

import pytest

from oncelog.checks.scope import CheckMode
from oncelog.checks.verify import Verdict, nothing_in_flight, verify
from oncelog.settings import Settings
from oncelog.verification.findings import Code, Severity
from tests.commands import create, delete, update
from tests.required_references import PRODUCTS, applied, define_products, delete_maker, maker
from tests.verification.damage import Damage, planted
from tests.verification.modes import EVERYTHING, checked
from tests.verification.reference_damage import PLANTED, healthy
from tests.write.sweeper import sweep
from tests.write.world import World


@pytest.fixture
async def world() -> World:
    world = World(settings=Settings(snapshot_interval_events=10))
    await world.process().run(define_products())
    await applied(world.process(), maker("m1"), maker("m2"), create("p2"))
    await applied(world.process(), create("p1", {"maker": "m1", "parts": ["p2", "p1"], "alike": ["p9"]}))
    return world


async def dangling(world: World) -> dict[str, str]:
    """Return what a verification says of each instance, after the consistency check's repair."""
    await sweep(world)
    report = await verify(world.sources, in_flight=nothing_in_flight)
    assert report.verdict is Verdict.SOUND, report.findings
    assert {finding.code for finding in report.findings} <= {Code.REFERENCE_DANGLING}
    assert {finding.severity for finding in report.findings} <= {Severity.PENDING}
    return {finding.where: finding.found for finding in report.findings}


async def test_existing_targets_are_no_finding(world: World):
    assert await dangling(world) == {}


async def test_target_deleted_afterwards_is_listed(world: World):
    await applied(world.process(), delete_maker("m1"), delete("p2"))
    found = await dangling(world)
    assert list(found) == ["aggregate shop/Product/p1"]
    words = found["aggregate shop/Product/p1"]
    assert "expected has_part to refer to an instance that exists, found shop/Product/p2" in words
    assert "which was deleted at version 2" in words
    assert "and 1 more; create the target, or drop the reference" in words


@pytest.mark.parametrize("mended_by", ["target", "reference", "referrer"])
async def test_listed_reference_is_mended(world: World, mended_by: str):
    await applied(world.process(), delete_maker("m1"))
    assert len(await dangling(world)) == 1
    mending = {"target": maker("m1"), "reference": update("p1", {"maker": "m2"}), "referrer": delete("p1")}
    await applied(world.process(), mending[mended_by])
    assert await dangling(world) == {}


async def test_only_the_definition_of_the_last_event_counts(world: World):
    """The instance is held to the definition that its last event names, not to the newest one."""
    lax = {name: {**each, "must_exist": False} for name, each in PRODUCTS["relationships"].items()}
    await applied(world.process(), define_products(version="1.0.1", relationships=lax))
    await applied(world.process(), create("p3", {"maker": "m9"}), define_products(version="1.0.2"))
    assert await dangling(world) == {}
    await applied(world.process(), update("p3", {"n": 1}))
    found = await dangling(world)
    assert list(found) == ["aggregate shop/Product/p3"]
    assert "shop/Maker/m9, which never was" in found["aggregate shop/Product/p3"]


async def test_reference_dropped_during_the_check_is_no_finding(world: World):
    """The check has read the referrer; then one command drops the reference, and one deletes its target."""
    meanwhile = [update("p1", {"maker": "m2"}), delete_maker("m1")]
    looked: list[str] = []
    world.bucket.before = lambda _operation, key: looked.append(key)

    async def change() -> None:
        if any(key.startswith("events/shop/Product/p1/") and key.endswith(".json") for key in looked):
            looked.clear()
            world.bucket.before = lambda _operation, _key: None
            while meanwhile:
                await applied(world.process(), meanwhile.pop(0))

    world.bucket.pause = change
    report = await verify(world.sources, in_flight=nothing_in_flight)
    assert meanwhile == []
    assert [finding for finding in report.findings if finding.code is Code.REFERENCE_DANGLING] == []


@pytest.mark.parametrize("mode", EVERYTHING)
async def test_nothing_is_found_where_nothing_is_wrong(mode: CheckMode):
    world = await healthy()
    assert (await verify(world.sources, in_flight=nothing_in_flight)).findings == []
    report, _ = await checked(world, EVERYTHING[mode])
    assert report.findings.kept == ()


@pytest.mark.parametrize("damage", PLANTED, ids=lambda damage: damage.name)
async def test_planted_reference_is_found_as_pending(damage: Damage):
    world = await healthy()
    await planted(damage, world)
    found = (await verify(world.sources, in_flight=nothing_in_flight)).findings
    assert damage.is_named_by(found), found
    assert {each.severity for each in found if each.code is damage.code} == {Severity.PENDING}


@pytest.mark.parametrize("damage", PLANTED, ids=lambda damage: damage.name)
@pytest.mark.parametrize("mode", EVERYTHING)
async def test_check_of_each_mode_finds_a_planted_reference(mode: CheckMode, damage: Damage):
    world = await healthy()
    await planted(damage, world)
    report, _ = await checked(world, EVERYTHING[mode])
    assert damage.is_named_by(report.findings.kept), report.findings.kept
