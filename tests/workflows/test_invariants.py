"""The second half of a consistency check as a workflow, on servers in memory."""

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from temporalio.client import Client

import oncelog.domain.instance
import oncelog.verification.log
from oncelog.activities.check_models import CheckOutcome, CheckPhase, CheckReport, CheckRequest
from oncelog.checks.probe import PROBE
from oncelog.checks.report import CheckVerdict, Invariant
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.stored_names import CHECK_VERDICT_ATTRIBUTE
from oncelog.workflows.check import ConsistencyCheck
from tests.commands import create, update
from tests.verification import damage
from tests.workflows.conftest import TASK_QUEUE, Bench
from tests.workflows.test_instance_command import current_details
from tests.write.world import World

pytestmark = pytest.mark.integration


@pytest.fixture
async def world() -> World:
    """A healthy installation."""
    return await damage.healthy()


async def check(client: Client, request: CheckRequest, check_id: str = "check") -> CheckReport:
    handle = await client.start_workflow(ConsistencyCheck.run, request, id=check_id, task_queue=TASK_QUEUE)
    return await handle.result()


def violated(report: CheckReport) -> set[int]:
    assert report.invariants is not None
    return {section.invariant for section in report.invariants.sections if section.violations}


async def test_healthy_installation_is_proven_sound(bench: Bench):
    report = await check(bench.client, CheckRequest(grace_s=0, probe=True))
    told = report.invariants
    assert told is not None
    assert (report.phase, told.verdict, violated(report)) == (CheckPhase.DONE, CheckVerdict.SOUND, set())
    assert [section.invariant for section in told.sections] == list(Invariant)
    assert all(sum(section.checked.values()) for section in told.sections), "each has looked at something"
    assert told.seconds > 0
    assert told.read.aggregates == 4, "three of the installation, and the probe's"
    described = await bench.client.get_workflow_handle("check").describe()
    assert described.search_attributes[CHECK_VERDICT_ATTRIBUTE] == ["SOUND"]


BROKEN: dict[Invariant, Callable[[World], object]] = {
    Invariant.DOCUMENTS_AND_GRAPH: lambda w: w.graph.nodes.pop(AggregateId.parse(damage.LAMP)),
    Invariant.ONE_EFFECT: lambda w: damage.drop(w, "commands/desk-3/000001.json"),
    Invariant.ORDER: lambda w: damage.drop_message(w, damage.LAMP, 3),
    Invariant.SCHEMA_AND_PROJECTION: lambda w: damage.change_document(w, "lamp", data={}),
}


async def test_result_told_otherwise_than_recorded_is_found(bench: Bench):
    await bench.world.process().complete(create("told", command_id="told-1"))
    statuses = bench.world.ports().statuses
    status = await statuses.read_status("told-1")
    assert status is not None
    assert status.result is not None
    await statuses.complete_command(replace(status, result=status.result.model_copy(update={"event_id": "0" * 36})))
    report = await check(bench.client, CheckRequest(grace_s=10**8))
    assert violated(report) == {Invariant.ONE_EFFECT}
    assert report.invariants is not None
    assert [finding.code for finding in report.invariants.sections[1].findings] == ["ClaimWrong"]


@pytest.mark.parametrize("invariant", BROKEN, ids=lambda invariant: invariant.name.lower())
async def test_each_broken_invariant_is_told_in_its_section(bench: Bench, invariant: Invariant):
    BROKEN[invariant](bench.world)
    report = await check(bench.client, CheckRequest(grace_s=10**8))
    assert violated(report) == {invariant}
    described = await bench.client.get_workflow_handle("check").describe()
    assert described.search_attributes[CHECK_VERDICT_ATTRIBUTE] == ["VIOLATED"]


def spoil(world: World) -> None:
    """Let a document and a node say something else at their right versions."""
    lamp, desk = AggregateId.parse(damage.LAMP), AggregateId.parse(damage.DESK)
    damage.change_document(world, "lamp", data={"forged": True})
    world.graph.nodes[desk] = replace(world.graph.nodes[desk], edges={"near": (lamp,)})


async def test_wrong_documents_and_nodes_are_projected_again(bench: Bench):
    spoil(bench.world)
    found = await check(bench.client, CheckRequest(grace_s=0), "look")
    assert violated(found) == {Invariant.DOCUMENTS_AND_GRAPH, Invariant.SCHEMA_AND_PROJECTION}
    report = await check(bench.client, CheckRequest(grace_s=0, repair=True), "repair")
    assert report.invariants is not None
    assert (report.outcome, report.invariants.verdict) == (CheckOutcome.REPAIRED, CheckVerdict.SOUND)
    told = [(each.code, each.where, each.severity) for one in report.invariants.sections for each in one.findings]
    assert told == [
        ("NodeWrong", f"node {damage.DESK}", "repaired"),
        ("DocumentWrong", f"document {damage.LAMP}", "repaired"),
    ]
    bench.world.check_shown()
    again = await check(bench.client, CheckRequest(grace_s=0), "again")
    assert (again.outcome, violated(again)) == (CheckOutcome.CLEAN, set())


async def test_fold_that_differs_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    calls = iter(range(10**6))

    def unsteady(state: Instance, event: Any) -> Instance:
        folded = oncelog.domain.instance.evolve(state, event)
        return oncelog.domain.instance.Instance(
            **{**{name: getattr(folded, name) for name in folded.__slots__}, "data": {"call": next(calls)}}
        )

    monkeypatch.setattr(oncelog.verification.log, "evolve", unsteady)
    report = await check(bench.client, CheckRequest(grace_s=10**8))
    assert Invariant.REPLAY_DETERMINISM in violated(report)


async def test_digest_that_changed_since_the_last_check_is_found(bench: Bench):
    await check(bench.client, CheckRequest(grace_s=10**8), "first")
    for key, stored in bench.world.bucket.objects.items():
        if key.startswith("reports/checks/first/digests/") and stored.body:
            line, rest = stored.body.split(b"\n", 1)
            forged = line[:-8] + (b"0" * 8) + b"\n" + rest
            bench.world.bucket.objects[key] = replace(stored, body=forged)
    report = await check(bench.client, CheckRequest(grace_s=10**8), "second")
    assert violated(report) == {Invariant.REPLAY_DETERMINISM}


@pytest.mark.parametrize(
    ("lost", "code", "found"),
    [
        ([5], "StreamShorter", "found 4 events now; restore the log's objects"),
        ([1, 2, 3, 4, 5], "AggregateGone", "found nothing of it now; restore the log's objects"),
    ],
)
async def test_lost_events_are_held_against_the_last_check(bench: Bench, lost: list[int], code: str, found: str):
    await check(bench.client, CheckRequest(grace_s=10**8), "first")
    for number in lost:
        damage.drop(bench.world, damage.key_of(damage.DESK, number))
    report = await check(bench.client, CheckRequest(grace_s=10**8), "second")
    assert report.invariants is not None
    (finding,) = report.invariants.sections[Invariant.REPLAY_DETERMINISM - 1].findings
    assert (finding.code, finding.where) == (code, f"aggregate {damage.DESK}")
    assert finding.found.startswith("expected event 5 with digest ")
    assert finding.found.endswith(f" as in first, {found}")
    line = f"- **{code}** aggregate {damage.DESK}: {finding.found}"
    assert line in await current_details(bench.client.get_workflow_handle("second"))


async def test_probe_that_is_not_projected_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("oncelog.checks.probe.DEADLINE_S", 0.1)
    await check(bench.client, CheckRequest(grace_s=10**8, probe=True), "first")
    read_nodes = bench.world.graph.read_nodes

    async def without_probe(aggregate_ids: Any) -> Any:
        found = zip(aggregate_ids, await read_nodes(aggregate_ids), strict=True)
        return [None if each == PROBE else node for each, node in found]

    monkeypatch.setattr(bench.world.graph, "read_nodes", without_probe)
    report = await check(bench.client, CheckRequest(grace_s=10**8, probe=True), "second")
    assert violated(report) == {Invariant.READ_YOUR_WRITES}


class Links(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, _attributes: Any) -> None:
        self.tags.append(tag)


async def test_report_is_kept_as_json_and_as_a_safe_page(bench: Bench):
    evil = "<script>alert(1)</script>"
    bench.world.publisher.append(b"?", evil.encode())
    report = await check(bench.client, CheckRequest(grace_s=10**8))
    assert report.invariants is not None
    objects = bench.world.bucket.objects
    kept = json.loads(objects["reports/checks/check/report.json"].body)
    assert kept["verdict"] == "VIOLATED"
    page = objects["reports/checks/check/report.html"].body.decode()
    assert "script" not in page.replace("&lt;script&gt;", "").replace("&lt;/script&gt;", "")
    links = Links()
    links.feed(page)
    assert {"script", "img", "iframe"}.isdisjoint(links.tags)


async def test_incremental_check_covers_what_is_new(bench: Bench):
    await check(bench.client, CheckRequest(grace_s=10**8), "full")
    await bench.world.process().complete(create("new"))
    await bench.world.process().complete(update("new"))
    report = await check(bench.client, CheckRequest(grace_s=10**8, mode="incremental"), "next")
    told = report.invariants
    assert told is not None
    assert (told.verdict, told.mode) == (CheckVerdict.SOUND, "incremental")


async def test_sample_is_drawn_by_its_seed(bench: Bench):
    for number in range(40):
        await bench.world.process().complete(create(f"s{number}"))
    reads = []
    for number, seed in enumerate((7, 7, 8)):
        request = CheckRequest(grace_s=10**8, mode="sampled", share=0.25, seed=seed)
        report = await check(bench.client, request, f"sample-{number}")
        assert report.invariants is not None
        assert report.invariants.verdict is CheckVerdict.SOUND
        reads.append(report.invariants.read.aggregates)
    assert reads[0] == reads[1]
    assert 0 < reads[0] < 43
    progress = await bench.client.get_workflow_handle("sample-0").query(ConsistencyCheck.progress)
    assert progress.invariants is not None
    assert "drawn by seed 7" in progress.invariants.coverage
