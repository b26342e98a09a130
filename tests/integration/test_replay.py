"""Replays on real servers: workers are killed in the middle, and the digests are the same."""

import json

import pytest
from pydantic import SecretStr

from oncelog.client.runs import Replays
from oncelog.composition.replays import signer_of
from oncelog.domain.signed_note import Checkpoint
from oncelog.errors import CommandUnknown
from oncelog.replay_runs.files import checkpoint_name
from oncelog.replay_runs.request import ReplayMode, ReplayOutcome, ReplayRequest, ReplayScope
from tests.commands import create, update
from tests.integration.installation import Installation
from tests.integration.mortals import killed_in_activities, repeated_attempts
from tests.integration.replays import fill, replayed

pytestmark = pytest.mark.integration

INSTANCES = 300
#: Of the workers of each of two replays, so that there are twenty random points, and a rate that lasts for them.
WAVES, KILLS, MANY_INSTANCES, EVENTS_PER_S = 2, 5, 1_000, 40.0
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.mark.parametrize(("mode", "seed"), [(ReplayMode.VERIFY, 13), (ReplayMode.REBUILD, 31)])
async def test_killed_replay_ends_with_the_same_digest(installation: Installation, mode: ReplayMode, seed: int):
    await fill(installation, MANY_INSTANCES)
    undisturbed = await replayed(installation)
    replays = Replays(installation.temporal, installation.settings)
    replay_id = await replays.start(
        ReplayRequest(mode=mode, partition_events=10, parallel=8, events_per_s=EVENTS_PER_S)
    )
    run = installation.temporal.get_workflow_handle(replay_id)
    await killed_in_activities(run, installation, seed=seed, waves=WAVES, kills=KILLS)
    report = await replays.result(replay_id)
    assert await repeated_attempts(run) >= WAVES * KILLS
    assert undisturbed.end is not None
    assert report.end is not None
    assert (report.end.databases, report.end.classes) == (undisturbed.end.databases, undisturbed.end.classes)
    assert (report.outcome, report.counts.aggregates) == (ReplayOutcome.SOUND, MANY_INSTANCES)
    assert report.end.comparison is not None
    assert (report.end.comparison.replay_id, report.end.comparison.same) == (undisturbed.replay_id, MANY_INSTANCES)
    assert len(report.end.switched) == (mode is ReplayMode.REBUILD)
    await installation.check()


async def test_archive_and_slots_fold_to_the_same_root(installation: Installation):
    await fill(installation, INSTANCES)
    from_slots = await replayed(installation)
    async with installation.worker():
        handle = await installation.temporal.start_workflow(
            "Archive", id=installation.settings.named("archive-1"), task_queue=installation.settings.task_queue
        )
        await handle.result()
        await installation.client.submit(update("p1", {"later": True}))
        await installation.client.submit(create("p-new"))
    from_both = await replayed(installation)
    assert from_slots.counts.archived == 0
    assert from_both.counts.archived == from_slots.counts.events
    assert from_both.end is not None
    found = from_both.end.comparison
    assert found is not None
    assert (found.same, found.changed, found.added, found.findings_count) == (INSTANCES - 1, 1, 1, 0)


async def test_roots_are_signed(installation: Installation):
    await fill(installation, INSTANCES)
    worker = await (await installation.worker_process(ONCELOG_SIGNING_KEY=KEY)).ready()
    replays = Replays(installation.temporal, installation.settings)
    report = await replays.result(await replays.start(ReplayRequest()))
    assert await worker.stop() == 0
    assert KEY not in worker.output()
    note = await read(installation, report.files + checkpoint_name("shop"))
    signer = signer_of(installation.settings.model_copy(update={"signing_key": SecretStr(KEY)}))
    assert signer is not None
    assert report.end is not None
    checkpoint = Checkpoint.parse(signer.verifier.opened(note))
    assert checkpoint.root.hex() == report.end.databases[0].root


async def test_export_of_a_class_lists_every_instance(installation: Installation):
    await fill(installation, INSTANCES)
    scope = ReplayScope(db_name="shop", class_id="Product")
    report = await replayed(installation, ReplayRequest(mode=ReplayMode.AS_OF, scope=scope, partition_events=100))
    assert report.end is not None
    assert report.end.manifest is not None
    listed = json.loads(await read(installation, report.end.manifest))["files"]
    rows = [json.loads(line) for file in listed for line in (await read(installation, file["key"])).splitlines()]
    assert len(listed) == 4
    assert {row["instance_id"]: row["data"]["n"] for row in rows} == {f"p{n}": n for n in range(INSTANCES)}


async def test_unknown_replay_is_named(installation: Installation):
    replays = Replays(installation.temporal, installation.settings)
    with pytest.raises(CommandUnknown, match="replay unknown: no workflow has this ID"):
        await replays.pause("unknown")


async def read(installation: Installation, key: str) -> str:
    objects = installation.stores.ports.large_objects
    size = await objects.object_size(key)
    assert size is not None
    return (await objects.read_object(key, range(size))).decode()
