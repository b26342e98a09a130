"""Repairs by a check of what is shown wrongly: only what the log says beyond doubt is written over it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import pytest

from oncelog.checks.scope import ProofScope
from oncelog.checks.step_report import StepReport
from oncelog.composition.checks import assemble_checks
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import InputInvalid
from oncelog.ports import Document
from oncelog.read_models.parking import Parking
from oncelog.testing.memory.s3 import MemoryDeadLetters
from oncelog.verification.findings import Severity
from tests.commands import update
from tests.verification import damage, graph_damage
from tests.verification.damage import LAMP
from tests.write.world import World

PLACE = AggregateId.parse(LAMP)
FORGED = {"forged": True}
check_ids = (f"check-{number}" for number in count())


async def repaired(world: World) -> StepReport:
    """Return what a full check with repair finds."""
    sources = replace(world.sources, statuses=None)
    runner = assemble_checks(sources, world.ports(), world.workflows, world.settings).runner
    check_id = next(check_ids)
    plan = await runner.plan(check_id, ProofScope())
    for task in plan.tasks:
        await runner.collect(check_id, task.number)
    for number in range(plan.parts):
        await runner.part(check_id, number, repair=True)
    report, _ = await runner.end(check_id, None)
    return report


def found(report: StepReport) -> set[tuple[str, Severity]]:
    return {(finding.code, finding.severity) for finding in report.findings.kept}


async def body_of_lamp(world: World) -> object:
    (document,) = await world.documents.read_documents([PLACE])
    assert document is not None
    return document.body["data"]


async def test_older_form_and_wrong_edges_are_projected_again():
    world = await graph_damage.healthy()
    await graph_damage.show_old_form(world)
    graph_damage.change(world, graph_damage.SHELF, deleted=False)
    report = await repaired(world)
    assert found(report) == {("DocumentWrong", Severity.REPAIRED), ("NodeWrong", Severity.REPAIRED)}
    world.check_shown()
    assert found(await repaired(world)) == set()


async def test_event_that_comes_meanwhile_is_not_written_over(monkeypatch: pytest.MonkeyPatch):
    world = await damage.healthy()
    damage.change_document(world, "lamp", data=FORGED)
    write = world.documents.write_documents

    async def behind_an_update(documents: Sequence[Document], *, replaces: bool = False) -> Sequence[Exception | None]:
        monkeypatch.setattr(world.documents, "write_documents", write)
        await world.process().run(update("lamp", {"late": True}))
        return await write(documents, replaces=replaces)

    monkeypatch.setattr(world.documents, "write_documents", behind_an_update)
    assert found(await repaired(world)) == {("DocumentWrong", Severity.REPAIRED)}
    (document,) = await world.documents.read_documents([PLACE])
    assert document is not None
    assert document.sequence_number == damage.VERSIONS + 1
    world.check_shown()


async def test_document_above_the_log_is_left_to_a_person():
    world = await damage.healthy()
    damage.change_document(world, "lamp", data=FORGED, sequence_number=damage.VERSIONS + 1)
    assert found(await repaired(world)) == {("DocumentForeign", Severity.VIOLATION)}
    assert await body_of_lamp(world) == FORGED


async def test_forged_event_is_never_shown():
    world = await damage.healthy()
    before = await body_of_lamp(world)
    damage.rewrite(world, LAMP, damage.VERSIONS, data={"price": 9})
    report = await repaired(world)
    assert {("EventForged", Severity.VIOLATION), ("DocumentWrong", Severity.VIOLATION)} <= found(report)
    assert await body_of_lamp(world) == before


async def test_damaged_log_is_never_shown():
    world = await damage.healthy()
    damage.flip(world, damage.key_of(LAMP, 5), at=b'"seen":')
    damage.change_document(world, "lamp", sequence_number=4, data=FORGED)
    report = await repaired(world)
    assert ("DocumentWrong", Severity.VIOLATION) in found(report)
    assert Severity.REPAIRED not in {finding.severity for finding in report.findings.kept}
    assert await body_of_lamp(world) == FORGED


async def test_damaged_class_leaves_documents_as_they_are():
    world = await graph_damage.healthy()
    name = str(graph_damage.CLASS)
    damage.flip(world, damage.key_of(name, 2), at=b'"version":"')
    damage.change_document(world, "lamp", data=FORGED)
    report = await repaired(world)
    assert ("ChecksumWrong", Severity.VIOLATION) in found(report)
    assert Severity.REPAIRED not in {finding.severity for finding in report.findings.kept}
    assert await body_of_lamp(world) == FORGED


async def test_parked_aggregate_is_left_alone():
    world = await damage.healthy()
    parking = Parking(read_model="documents", dead_letters=MemoryDeadLetters(world.bucket), failures=world.failures)
    await parking.park(PLACE, sequence_number=1, error=InputInvalid("never to be held"))
    damage.change_document(world, "lamp", data=FORGED)
    assert _wrong(await repaired(world)) == {Severity.VIOLATION}
    assert await body_of_lamp(world) == FORGED


async def test_index_without_writes_leaves_a_violation():
    world = await damage.healthy()
    damage.change_document(world, "lamp", data=FORGED)
    world.documents.generations["shop.product"].closed = True
    assert _wrong(await repaired(world)) == {Severity.VIOLATION}
    world.documents.generations["shop.product"].closed = False
    assert _wrong(await repaired(world)) == {Severity.REPAIRED}


def _wrong(report: StepReport) -> set[Severity]:
    return {finding.severity for finding in report.findings.kept if finding.code == "DocumentWrong"}
