"""Unique values on real servers: many contenders, workers killed, Redis emptied, bulk commands, status."""

import asyncio
from collections import Counter

import pytest

from oncelog.client.bulk import Bulks
from oncelog.domain.bulk.command import BulkType
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.results import CommandResult, Outcome, RejectionCode
from oncelog.stores.s3 import StoredObject
from oncelog.workflows.attributes import COMMAND_OUTCOME
from tests.bulks import item
from tests.commands import create, delete, update
from tests.integration.installation import Installation
from tests.integration.mortals import killed_until
from tests.unique_values import define_users, doubled, holders

pytestmark = pytest.mark.integration

CREATE = BulkType.BULK_CREATE_INSTANCES


def codes(results: list[CommandResult]) -> Counter[str]:
    return Counter(result.rejection.code if result.rejection else result.outcome for result in results)


async def stored(installation: Installation) -> dict[str, StoredObject]:
    objects = await asyncio.to_thread(installation.objects, "events/")
    return {key: StoredObject(body) for key, body in objects.items()}


async def test_of_many_contenders_one_gets_the_value(installation: Installation):
    async with installation.worker(), installation.worker():
        await installation.client.submit(define_users())
        commands = [create(f"u{number}", {"email": "x@y"}) for number in range(32)]
        results = list(await asyncio.gather(*map(installation.client.submit, commands)))
        assert codes(results) == {Outcome.APPLIED: 1, RejectionCode.UNIQUE_VIOLATED: 31}
        (winner,) = [result.aggregate_id for result in results if result.outcome is Outcome.APPLIED]
        refusals = [result.rejection for result in results if result.rejection]
        assert {refusal.details["holder"] for refusal in refusals} == {winner}
        described = await installation.temporal.get_workflow_handle(str(results[0].command_id)).describe()
        assert described.typed_search_attributes[COMMAND_OUTCOME] == results[0].outcome
        assert (await installation.client.status(str(results[1].command_id))).result == results[1]
        await installation.client.submit(delete(str(winner).rpartition("/")[2]))
        again = [create(f"v{number}", {"email": "x@y"}) for number in range(8)]
        results = list(await asyncio.gather(*map(installation.client.submit, again)))
    assert codes(results) == {Outcome.APPLIED: 1, RejectionCode.UNIQUE_VIOLATED: 7}
    objects = await stored(installation)
    assert doubled(objects) == {}
    assert list(holders(objects, "email")) == [("x@y",)]


@pytest.mark.parametrize("step", ["allocate", "record", "persist"])
async def test_killed_worker_blocks_no_value(installation: Installation, step: str):
    """Its command's workflow is terminated besides: nothing carries it on but a contender."""
    async with installation.worker():
        await installation.client.submit(define_users())
    worker = await (await installation.worker_process(ONCELOG_CRASH_AFTER=step)).ready()
    dead = create("dead", {"email": "x@y", "country": "CH", "plate": "1"})
    submitting = asyncio.create_task(installation.client.submit(dead))
    assert await worker.ended() == -9
    await installation.temporal.get_workflow_handle(dead.command_id).terminate()
    await asyncio.gather(submitting, return_exceptions=True)
    await installation.empty_redis()
    async with installation.worker():
        result = await installation.client.submit(create("alive", {"email": "x@y"}))
    assert (result.outcome is Outcome.APPLIED) == (step != "persist")
    assert doubled(await stored(installation)) == {}


async def test_bulk_items_claim_while_workers_are_killed(installation: Installation):
    async with installation.worker():
        await installation.client.submit(define_users())
    bulks = Bulks(installation.client)
    items = [item(f"u{number}", {"email": f"m{number % 900}"}) for number in range(1_000)]
    running = asyncio.ensure_future(bulks.submit(CREATE, "shop", "Product", items))
    singles = asyncio.gather(*(installation.client.submit(create(f"s{n}", {"email": f"m{n}"})) for n in range(20)))
    ended = asyncio.gather(running, singles)
    assert await killed_until(ended, installation, seed=16, kills=3, within_s=2.0) > 0
    result, results = await ended
    assert isinstance(result, BulkResult)
    applied = result.counts.applied + sum(single.outcome is Outcome.APPLIED for single in results)
    objects = await stored(installation)
    assert doubled(objects) == {}
    assert (applied, len(holders(objects, "email"))) == (900, 900)
    async with installation.worker():
        changed = await installation.client.submit(update("u899", {"email": "m5"}))
        assert codes([changed]) == {RejectionCode.UNIQUE_VIOLATED: 1}
