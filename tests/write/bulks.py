"""Bulk commands run as their workflow runs them, on servers in memory, and what must hold of what they leave behind."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from oncelog.bulk.run import Progress, RunControl
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.records import Closed
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.identifiers import AggregateId, derive_event_id
from oncelog.replay.trace import AfterStep, Trace, nothing_after
from oncelog.stores.s3 import StoredObject
from oncelog.verification.findings import Code
from tests import promises
from tests.bulks import reference
from tests.write.world import NOON, Process, World


@dataclass
class Attempt:
    """One attempt at a bulk command by one process. ``stop_after``: how many chunks until it is told to stop."""

    process: Process
    after_step: AfterStep = nothing_after
    stop_after: int = 1_000_000
    heard: Progress | None = None

    async def run(self, bulk: Bulk, progress: Progress | None = None) -> BulkResult | Progress:
        """Open, run, deliver what was left, and report; or return how far it came when it was told to stop."""
        path = self.process.pipeline.bulk
        trace = Trace(self.after_step)
        opened = await path.opener.open(bulk, occurred_at=NOON, trace=trace)
        if isinstance(opened, BulkResult):
            return opened
        began = progress or Progress(next_chunk=1)
        done = await path.runner.run(opened, began, self._run_control(began.next_chunk + self.stop_after))
        if done.closed is None and done.next_chunk <= len(opened.accepted_plan.chunks):
            return done
        left = await path.runner.deliver(opened, list(done.undelivered), self._run_control(1_000_000))
        assert left == []
        return await path.reporter.report(opened, trace=trace)

    async def close(self, bulk: Bulk, progress: Progress, reason: Closed = Closed.CANCELLED) -> BulkResult:
        """End the command before its next chunk, and report."""
        path = self.process.pipeline.bulk
        record = await path.opener.record(bulk.command_id)
        done = await path.runner.close(record, progress, reason, self._run_control(1_000_000))
        await path.runner.deliver(record, list(done.undelivered), self._run_control(1_000_000))
        return await path.reporter.report(record, trace=Trace(self.after_step))

    def _run_control(self, stop_before: int) -> RunControl:
        reached = Progress(next_chunk=0)

        def hear(progress: Progress) -> None:
            nonlocal reached
            reached = self.heard = progress

        return RunControl(lambda: reached.next_chunk >= stop_before, hear, self.after_step)


async def run_bulk(world: World, bulk: Bulk, after_step: AfterStep = nothing_after) -> BulkResult:
    """Run a bulk command to its end in a process of its own."""
    result = await Attempt(world.process(), after_step).run(bulk)
    assert isinstance(result, BulkResult)
    return result


def upload(world: World, bulk: Bulk) -> Bulk:
    """Return the same command by reference, its items lying in the bucket."""
    payload, body = reference(bulk.payload.items or [])
    world.bucket.objects[payload["items_key"]] = StoredObject(body)
    return Bulk.model_validate(bulk.as_json | {"payload": payload})


def lines(world: World, result: BulkResult) -> list[dict[str, Any]]:
    """Return the results line by line."""
    assert result.results_key is not None
    body = world.bucket.objects[result.results_key].body
    return [json.loads(line) for line in body.splitlines()]


async def run_for_lines(world: World, bulk: Bulk, after_step: AfterStep = nothing_after) -> list[dict[str, Any]]:
    """Run a bulk command to its end, and return the results line by line."""
    return lines(world, await run_bulk(world, bulk, after_step))


def ends(found: list[dict[str, Any]], naming: str) -> list[str]:
    """Return how each item ended: APPLIED, or its rejection's code and the member ``naming`` of its details."""
    return [
        line["outcome"]
        if line["outcome"] == "APPLIED"
        else f"{line['rejection']['code']} {line['rejection']['details'].get(naming, '')}".strip()
        for line in found
    ]


def check(world: World, *, published: bool = True, finished: bool = True) -> promises.Logs:
    """Hold the promises of log, commands and stream, and that no item has two events; return the logs.

    ``finished`` False: that a command has not come to its end is no finding.
    """
    audit = world.audit()
    commands = [one for one in audit.commands.judge() if finished or one.code is not Code.COMMAND_UNFINISHED]
    promises.hold(audit.judge_log(), commands, audit.stream.judge(), published=published)
    logs = world.logs()
    made = [event.event_id for events in logs.values() for event in events]
    assert len(made) == len(set(made)), "two events of one item"
    return logs


def check_results(world: World, result: BulkResult) -> list[dict[str, Any]]:
    """Hold that the results tell what the logs and documents show, item by item, and return them."""
    found = lines(world, result)
    logs = check(world)
    events = {event.event_id: event for log in logs.values() for event in log if event.command_id == result.command_id}
    assert [line["index"] for line in found] == list(range(result.counts.items))
    outcomes = Counter(str(line["outcome"]) for line in found)
    counts = result.counts
    assert outcomes == {
        name: count
        for name, count in (
            ("APPLIED", counts.applied),
            ("REJECTED", counts.rejected),
            ("NOT_ATTEMPTED", counts.not_attempted),
        )
        if count
    }
    for line in found:
        event = events.pop(derive_event_id(str(result.command_id), int(str(line["index"]))), None)
        assert (event is not None) == (line["outcome"] == "APPLIED")
        if event:
            told = (line["aggregate_id"], line["sequence_number"], line["event_id"])
            assert told == (event.aggregate_id, event.sequence_number, event.event_id)
            assert event.command_hash == result.command_hash
    assert events == {}
    for aggregate_id in logs:
        world.check_document(AggregateId.parse(aggregate_id))
    return found
