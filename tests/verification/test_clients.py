"""Clients' histories are compared with the stored data: each untruth under its code, and none in what is true."""

import pytest

from oncelog.checks.verify import Report, Verdict, nothing_in_flight, verify
from oncelog.verification.findings import Severity
from tests.bulks import bulk_create, item
from tests.verification.seen import UNTRUE, Recorder, Untruth, healthy
from tests.write.bulks import run_bulk
from tests.write.world import World


async def _verified(world: World, recorder: Recorder) -> Report:
    return await verify(world.sources, in_flight=nothing_in_flight, history=recorder.history)


async def test_a_true_history_is_found_sound_and_counted():
    report = await _verified(*await healthy())
    assert (report.verdict, report.findings) == (Verdict.SOUND, [])
    run = report.run
    assert run is not None
    assert (run.counts, run.commands, run.answered, run.applied, run.rejected) == (True, 21, 19, 16, 3)
    assert (run.clients, run.aggregates, run.reads, run.faults, run.seeds) == (3, 5, 2, {"kill": 1}, [7])
    unknowns = run.unknowns
    assert (unknowns.commands, unknowns.committed, unknowns.absent, unknowns.answered) == (2, 1, 1, 0)
    assert run.recovery.first_answer_p50_s == 2.0
    assert run.recovery.all_answered_p99_s is None  # two commands that were under way never had an answer


@pytest.mark.parametrize("untruth", UNTRUE, ids=lambda untruth: untruth.name)
async def test_an_untruth_is_found_under_its_code(untruth: Untruth):
    world, recorder = await healthy()
    untruth.plant(world, recorder)
    report = await _verified(world, recorder)
    assert untruth.code in {finding.code for finding in report.findings}, report.findings
    assert report.verdict is not Verdict.SOUND


async def test_a_run_in_which_nothing_happened_proves_nothing():
    report = await _verified(World(), Recorder())
    assert report.verdict is Verdict.UNCOUNTED
    assert [finding.severity for finding in report.findings] == [Severity.UNCOUNTED]


@pytest.mark.parametrize(("made", "told", "codes"), [(5, 5, []), (5, 6, ["AcknowledgedLost"]), (5, 4, ["AnswerWrong"])])
async def test_a_bulk_command_is_held_to_the_counts_it_answered(made: int, told: int, codes: list[str]):
    world, recorder = World(), Recorder()
    bulk = bulk_create(*(item(f"p{number}", {"nothing": None}) for number in range(made)))
    op_id = recorder.invoke(bulk)
    result = await run_bulk(world, bulk)
    recorder.answered(op_id, result.model_copy(update={"counts": result.counts.model_copy(update={"applied": told})}))
    assert [finding.code for finding in (await _verified(world, recorder)).findings] == codes
