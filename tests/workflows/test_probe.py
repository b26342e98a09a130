"""The probe of a consistency check as a workflow, on servers in memory: its failures, and the reads of its status."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.client import WorkflowHandle

from oncelog.activities.check_models import CheckReport, CheckRequest
from oncelog.checks.probe import PROBE_CLASS, PROBE_DATABASE
from oncelog.checks.report import CheckVerdict, Invariant
from oncelog.domain.results import Outcome
from oncelog.errors import StoreUnavailable
from oncelog.ports import CommandStatus, Stage
from oncelog.testing.memory.redis import MemoryCommandStatuses
from oncelog.workflows.check import ConsistencyCheck
from oncelog.write.command_outcomes import CommandOutcomes
from tests.classes import FIRST, define
from tests.workflows.conftest import TASK_QUEUE, Bench
from tests.workflows.test_instance_command import current_details

pytestmark = pytest.mark.integration

Handle = WorkflowHandle[ConsistencyCheck, CheckReport]
ReadStatus = Callable[[MemoryCommandStatuses, str], Awaitable[CommandStatus | None]]
Change = Callable[[CommandStatus], CommandStatus | None]


@pytest.fixture(autouse=True)
def short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the servers is skipped, that of a watching activity is not."""
    monkeypatch.setattr("oncelog.checks.probe.PROBE_S", 0.5)


async def start(bench: Bench) -> Handle:
    request = CheckRequest(grace_s=10**8, probe=True)
    return await bench.client.start_workflow(ConsistencyCheck.run, request, id="check", task_queue=TASK_QUEUE)


async def finding_of(bench: Bench, handle: Handle) -> tuple[str, str]:
    """Return the code and the text of the check's only finding, which its details and its page tell as well."""
    invariants = (await handle.result()).invariants
    assert invariants is not None
    assert invariants.verdict is CheckVerdict.VIOLATED
    (finding,) = (each for section in invariants.sections for each in section.findings)
    assert finding in invariants.sections[Invariant.READ_YOUR_WRITES - 1].findings
    assert f"- **{finding.code}** {finding.where}: {finding.found}" in await current_details(handle)
    page = bench.world.bucket.objects["reports/checks/check/report.html"].body.decode()
    assert f"<td>{finding.code}</td><td>{finding.where}</td>" in page
    return finding.code, finding.found


def change_readings(monkeypatch: pytest.MonkeyPatch, *changes: Change) -> None:
    """Let the readable statuses of each probe pass through the changes in turn, all later ones through the last."""
    read: ReadStatus = MemoryCommandStatuses.read_status
    readings: Counter[str] = Counter()

    async def read_status(statuses: MemoryCommandStatuses, command_id: str) -> CommandStatus | None:
        status = await read(statuses, command_id)
        if status is None or "-probe-" not in command_id:
            return status
        readings[command_id] += 1
        return changes[min(readings[command_id], len(changes)) - 1](status)

    monkeypatch.setattr(MemoryCommandStatuses, "read_status", read_status)


def at(stage: Stage) -> Change:
    return lambda status: replace(status, stage=stage, result=None)


def as_told(status: CommandStatus) -> CommandStatus:
    return status


def forgotten(_status: CommandStatus) -> None:
    return None


def unanswered(_status: CommandStatus) -> CommandStatus:
    raise StoreUnavailable("Redis", "reading a status", "silence")


def lose_records(monkeypatch: pytest.MonkeyPatch) -> None:
    async def last_record(_outcomes: CommandOutcomes, _command_id: str) -> None:
        return None

    monkeypatch.setattr(CommandOutcomes, "last_record", last_record)


async def test_rejected_probe_is_found(bench: Bench):
    defined = await bench.world.process().complete(define(FIRST, db_name=PROBE_DATABASE, class_id=PROBE_CLASS))
    assert defined.outcome is Outcome.APPLIED
    code, found = await finding_of(bench, await start(bench))
    assert code == "ProbeFailed"
    assert found.startswith("expected it to be applied, found PayloadInvalid: aggregate ")


async def test_probe_without_a_result_is_found(bench: Bench):
    bench.world.publisher.available = False
    handle = await start(bench)
    await bench.env.sleep(timedelta(minutes=2))
    bench.world.publisher.available = True
    code, found = await finding_of(bench, handle)
    assert code == "ProbeFailed"
    assert found.startswith("expected it to be applied, found no result: ")


UNREADABLE: dict[str, tuple[tuple[Change, ...], str]] = {
    "vanished": ((at(Stage.ACCEPTED), forgotten, as_told), "expected its status after ACCEPTED, found none"),
    "gone back": (
        (at(Stage.PUBLISHED), at(Stage.ACCEPTED), as_told),
        "expected stage PUBLISHED or a later one, found ACCEPTED",
    ),
    "without its end": ((at(Stage.ACCEPTED),), "expected its status with a result, found none"),
}


@pytest.mark.parametrize("case", UNREADABLE)
async def test_unreadable_status_of_a_probe_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch, case: str):
    changes, expected = UNREADABLE[case]
    change_readings(monkeypatch, *changes)
    lose_records(monkeypatch)
    assert await finding_of(bench, await start(bench)) == ("ProbeUnreadable", expected)


@pytest.mark.parametrize("change", [forgotten, unanswered])
async def test_redis_may_forget_a_probe_or_be_away(bench: Bench, monkeypatch: pytest.MonkeyPatch, change: Change):
    change_readings(monkeypatch, at(Stage.ACCEPTED), change, change, forgotten)
    report = await (await start(bench)).result()
    assert report.invariants is not None
    assert report.invariants.verdict is CheckVerdict.SOUND
