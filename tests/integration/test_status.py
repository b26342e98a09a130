"""Where a command stands, on real servers: from its acceptance on, whichever server dies or forgets."""

from collections.abc import Awaitable, Callable

import pytest

from oncelog.client.bulk import Bulks, BulkStage
from oncelog.client.client import Oncelog
from oncelog.composition.pipeline import assemble
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.commands import Command
from oncelog.domain.results import Outcome
from oncelog.errors import CommandFailed, CommandUnknown, StoreUnavailable
from oncelog.ports import CommandStatus, Stage
from oncelog.replay.trace import Trace
from oncelog.stores.opening import Stores
from tests.bulks import bulk_create, item
from tests.classes import FIRST, define
from tests.commands import create, update
from tests.integration.installation import Installation
from tests.integration.test_consistency_check import _check as check
from tests.settings import with_server
from tests.write.world import NOON

pytestmark = pytest.mark.integration

Made = Callable[[], Command | Bulk]
KINDS = [
    pytest.param(create, id="single"),
    pytest.param(lambda: define(FIRST), id="class"),
    pytest.param(lambda: bulk_create(item("p1", {"n": 1}), item("p2", {"n": 2})), id="bulk"),
]
NOWHERE = "127.0.0.1:1"


class Died(Exception):
    """The attempt is gone."""


async def _die_after(installation: Installation, command: Command | Bulk, step: str) -> None:
    """Make an attempt, as a worker does, that dies after this step."""

    async def die(done: str) -> None:
        if done.removeprefix("bulk_") == step:
            raise Died

    pipeline, trace = assemble(installation.stores.ports, installation.settings), Trace(die)
    attempt: Awaitable[object]
    if isinstance(command, Bulk):
        attempt = pipeline.bulk.opener.open(command, occurred_at=NOON, trace=trace)
    else:
        attempt = pipeline.committer.commit(command, occurred_at=NOON, trace=trace)
    with pytest.raises(Died):
        await attempt


async def _status(installation: Installation, command: Command | Bulk) -> CommandStatus:
    """Ask, and hold that it is the status of this very command."""
    status = await installation.client.status(command.command_id)
    assert (status.command_id, status.command_type) == (command.command_id, command.command_type)
    assert status.command_hash in (command.hash, "")
    if isinstance(command, Command):
        assert status.aggregate_id == str(command.aggregate_id)
    return status


@pytest.mark.parametrize("made", KINDS)
async def test_status_is_known_until_only_records_are_left(installation: Installation, made: Made):
    command = made()
    with pytest.raises(CommandUnknown):
        await installation.client.status(command.command_id)
    await installation.client.start(command)  # no worker is there
    accepted = await _status(installation, command)
    assert (accepted.stage, accepted.workflow, accepted.remark) == (Stage.ACCEPTED, "RUNNING", "")
    async with installation.worker():
        result = await installation.client.result(command.command_id)
    ended = await _status(installation, command)
    assert (ended.stage, ended.result) == (Stage.COMPLETED, result)
    assert ended.history[0][0] is Stage.ACCEPTED

    if isinstance(command, Bulk):  # no worker is there to say how far it is
        view = await Bulks(installation.client).progress(command.command_id)
        assert (view.stage, view.counts.applied, view.ended) == (BulkStage.DONE, 2, None)

    await installation.empty_redis()
    of_temporal = await _status(installation, command)
    assert (of_temporal.stage, of_temporal.result, of_temporal.workflow) == (Stage.COMPLETED, result, "COMPLETED")
    await installation.lose_temporal()
    recorded = await _status(installation, command)
    # Of a single command the records tell that the fact stands, of a bulk one that all was delivered as well.
    assert recorded.stage is (Stage.COMPLETED if isinstance(command, Bulk) else Stage.PERSISTED)
    assert (recorded.result, recorded.workflow, recorded.remark) == (result, "UNKNOWN", "")


@pytest.mark.parametrize(
    ("made", "claimed"),
    [
        pytest.param(create, False, id="single, unclaimed"),
        *(pytest.param(*kind.values, True, id=f"{kind.id}, claimed") for kind in KINDS),
    ],
)
async def test_status_of_one_terminated_before_its_record_is_unstarted(
    installation: Installation, made: Made, claimed: bool
):
    command = made()
    handle = await installation.client.start(command)
    if claimed:  # so that Redis goes on saying ACCEPTED until it forgets
        await _die_after(installation, command, "claim")
    await handle.terminate("never mind")
    status = await _status(installation, command)
    assert (status.stage, status.workflow, status.result) == (Stage.ACCEPTED, "TERMINATED", None)
    assert "before anything was written" in status.remark
    if not claimed:
        for more in ([], ["--wait"]):
            code, (told,) = await installation.oncelog("status", command.command_id, *more)
            assert (code, told["workflow"], told["remark"]) == (1, "TERMINATED", status.remark)
        return
    await installation.lose_temporal()
    forgotten = await _status(installation, command)
    assert (forgotten.stage, forgotten.workflow) == (Stage.ACCEPTED, "UNKNOWN")
    assert "submit it again" in forgotten.remark
    with pytest.raises(CommandFailed, match="submit it again"):
        await installation.client.result(command.command_id)
    async with installation.worker():
        assert (await installation.client.submit(command)).outcome is Outcome.APPLIED
    assert (await _status(installation, command)).stage is Stage.COMPLETED


@pytest.mark.parametrize(
    ("made", "step", "stage", "forgotten"),
    [
        pytest.param(create, "record", Stage.ACCEPTED, True, id="single with a record"),
        pytest.param(create, "persist", Stage.PERSISTED, False, id="single with its event"),
        pytest.param(create, "persist", Stage.PERSISTED, True, id="single with its event, Redis emptied"),
        pytest.param(lambda: define(FIRST), "persist", Stage.PERSISTED, False, id="class with its event"),
        pytest.param(lambda: bulk_create(item("p1")), "open", Stage.ACCEPTED, False, id="bulk with its record"),
    ],
)
async def test_status_of_one_terminated_with_a_record_names_the_check(
    installation: Installation, made: Made, step: str, stage: Stage, forgotten: bool
):
    command = made()
    handle = await installation.client.start(command)
    await _die_after(installation, command, step)
    if forgotten:
        await installation.empty_redis()
    running = await _status(installation, command)
    assert (running.stage, running.workflow, running.remark) == (stage, "RUNNING", "")
    await handle.terminate("lost")
    left = await _status(installation, command)
    assert (left.stage, left.workflow, left.result is not None) == (stage, "TERMINATED", stage is Stage.PERSISTED)
    assert "oncelog check --repair" in left.remark
    if isinstance(command, Bulk):
        assert (await Bulks(installation.client).progress(command.command_id)).ended == "TERMINATED"
    async with installation.worker():
        await check(installation)
        result = await installation.client.result(command.command_id)
    mended = await _status(installation, command)
    assert mended.result == result
    # An event that Redis had forgotten all of is delivered as what its aggregate lacks, and no status is kept of it.
    assert mended.stage is (Stage.PERSISTED if forgotten and stage is Stage.PERSISTED else Stage.COMPLETED)
    await installation.check()


async def test_a_refusal_is_told_whoever_has_forgotten(installation: Installation):
    refused, no_command = update("absent"), "no-command"
    async with installation.worker():
        result = await installation.client.submit(refused)
        await installation.temporal.execute_workflow(
            "InstanceCommand", {"n": 1}, id=no_command, task_queue=installation.settings.task_queue
        )
    assert (await _status(installation, refused)).stage is Stage.REJECTED
    at_the_door = await installation.client.status(no_command)  # nothing but Temporal ever knew it
    assert (at_the_door.stage, at_the_door.workflow) == (Stage.REJECTED, "COMPLETED")
    await installation.empty_redis()
    assert (await _status(installation, refused)).stage is Stage.REJECTED
    await installation.lose_temporal()
    recorded = await _status(installation, refused)
    assert (recorded.stage, recorded.result) == (Stage.REJECTED, result)
    with pytest.raises(CommandUnknown):
        await installation.client.status(no_command)


async def test_it_stays_that_of_the_first_content(installation: Installation):
    command = create()
    other = update(command_id=command.command_id)
    async with installation.worker():
        result = await installation.client.submit(command)
    await installation.lose_temporal()
    await installation.empty_redis()
    handle = await installation.client.start(other)  # no server knows it
    await _die_after(installation, other, "claim")
    assert (await _status(installation, command)).result == result
    async with installation.worker():
        assert (await handle.result()).outcome is Outcome.REJECTED
    assert (await _status(installation, command)).result == result


@pytest.mark.parametrize(
    ("away", "stage_of_done", "incomplete"),
    [
        ("redis", Stage.COMPLETED, (Stage.PERSISTED, "RUNNING")),
        ("temporal", Stage.COMPLETED, (Stage.PERSISTED, None)),
        ("s3", Stage.COMPLETED, (Stage.ACCEPTED, "RUNNING")),
        ("redis and temporal", Stage.PERSISTED, (Stage.PERSISTED, None)),
    ],
)
async def test_it_is_told_as_far_as_those_who_answer_know(
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    away: str,
    stage_of_done: Stage,
    incomplete: tuple[Stage, str | None],
):
    done, begun = create("p1"), create("p2")
    async with installation.worker():
        result = await installation.client.submit(done)
    await installation.client.start(begun)
    await _die_after(installation, begun, "persist")
    elsewhere: dict[str, dict[str, str]] = {}
    if "redis" in away:
        elsewhere["redis"] = {"url": f"redis://{NOWHERE}/0"}
    if "s3" in away:
        elsewhere["s3"] = {"endpoint_url": f"http://{NOWHERE}"}
    settings = with_server(installation.settings, **elsewhere)
    monkeypatch.setenv("TEMPORAL_ADDRESS", NOWHERE)
    temporal = None if "temporal" in away else installation.temporal
    async with await Stores.connect(settings) as stores:
        client = Oncelog(stores.ports, settings, temporal=temporal)
        ended, left = await client.status(done.command_id), await client.status(begun.command_id)
        assert (ended.stage, ended.result) == (stage_of_done, result)
        assert (left.stage, left.workflow) == incomplete
        with pytest.raises(StoreUnavailable):  # the server that is away may be the one that knows it
            await client.status("nobody-knows")
