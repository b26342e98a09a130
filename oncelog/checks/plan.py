"""The plan of a check: the log in parts, the commands in slices, and the steps that collect the facts for the parts."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial

from oncelog.checks.scope import (
    PART_EVENTS,
    SLICE_COMMANDS,
    CheckMode,
    CheckPlan,
    CollectKind,
    CollectTask,
    ProofScope,
)
from oncelog.checks.servers import Servers
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.stored_names import COMMANDS, EVENTS, UNIQUE
from oncelog.errors import LogDamaged
from oncelog.ports import LogCatalogue
from oncelog.replay_runs.partitions import Partition
from oncelog.replay_runs.plan import Listed, plan_replay
from oncelog.replay_runs.request import ReplayScope
from oncelog.stores.s3 import S3EventLog, S3LogCatalogue, S3TopicRecords
from oncelog.verification.findings import Code, Finding
from oncelog.verification.reading import PatientBucket, TimedBucket, answered
from oncelog.verification.stream import StreamAudit

#: S3's clock goes in seconds: how long the next one is waited for, at most.
SECOND_WAITED_S = 3.0
CLOCK_EVERY_S = 0.1
PAST_CLASS = "0"  # the character after "/"


async def make_plan(
    servers: Servers,
    scope: ProofScope,
    *,
    part_events: int = PART_EVENTS,
    slice_commands: int = SLICE_COMMANDS,
    listed: Listed = lambda _: None,
) -> CheckPlan:
    """Divide a check. Lists events and commands once; raises StoreUnavailable."""
    sources, bucket = servers.sources, PatientBucket(servers.sources.bucket)
    if scope.due_before is None:
        scope = scope.model_copy(update={"due_before": await next_second(bucket)})
    catalogue = S3LogCatalogue(bucket, S3EventLog(bucket))
    partitions = [
        each.model_copy(update={"number": number})
        for number, each in enumerate(await _partitions(catalogue, scope, part_events, listed))
    ]
    generations, findings = await _topics(servers)
    names = [(each.part.db_name, each.part.class_id) for each in partitions]
    tasks = [task async for task in _tasks(bucket, catalogue, scope, list(dict.fromkeys(names)), slice_commands)]
    return CheckPlan(
        scope=scope,
        partitions=tuple(partitions),
        tasks=tuple(task.model_copy(update={"number": number}) for number, task in enumerate(tasks)),
        generations=generations,
        indices=tuple(await answered(partial(sources.scan.indices, db_name=scope.db_name))),
        findings=tuple(findings),
    )


async def next_second(bucket: TimedBucket) -> datetime:
    """Return the beginning of a second by S3's clock before which everything is written that is there now.

    Every later object is written at or after it.
    """
    first = await bucket.now()
    until_s = time.monotonic() + SECOND_WAITED_S
    while True:
        now = await bucket.now()
        if now > first or time.monotonic() > until_s:
            return now
        await asyncio.sleep(CLOCK_EVERY_S)


async def _partitions(catalogue: LogCatalogue, scope: ProofScope, part_events: int, listed: Listed) -> list[Partition]:
    of_scope = ReplayScope(db_name=scope.db_name, class_id=scope.class_id, since=scope.since)
    plan = await plan_replay(catalogue, of_scope, events_per_partition=part_events, listed=listed)
    if scope.db_name is None or scope.class_id is None:
        return list(plan.partitions)
    of_class = ReplayScope(aggregate_id=str(AggregateId(scope.db_name, CLASSES, scope.class_id)))
    return [*(await plan_replay(catalogue, of_class)).partitions, *plan.partitions]


async def _topics(servers: Servers) -> tuple[dict[bool, int], list[Finding]]:
    """Look at the topics of events, and at the records of their generations."""
    records = S3TopicRecords(PatientBucket(servers.sources.bucket))
    audit = StreamAudit({})
    for topic in await answered(servers.sources.stream.topics):
        try:
            audit.add_topic(topic, await records.topic_history(topic.topic))
        except LogDamaged as error:
            finding = Finding(Code.OBJECT_UNREADABLE, f"records of topic {topic.topic}", error.message)
            audit.findings.append(finding)
    return audit.generations, audit.findings


async def _tasks(
    bucket: TimedBucket,
    catalogue: LogCatalogue,
    scope: ProofScope,
    names: list[tuple[str, str]],
    slice_commands: int,
) -> AsyncIterator[CollectTask]:
    if scope.mode is not CheckMode.SAMPLED:
        async for task in _slices(catalogue, scope, slice_commands):
            yield task
    yield CollectTask(number=0, kind=CollectKind.STREAM)
    async for name in _claimed_classes(bucket, scope):
        yield CollectTask(number=0, kind=CollectKind.UNIQUE, place=name)
    if scope.class_id is None:
        yield CollectTask(number=0, kind=CollectKind.FOREIGN, place=UNIQUE)
    if scope.mode is not CheckMode.FULL:
        return
    yield CollectTask(number=0, kind=CollectKind.DOCUMENTS)
    for db_name in dict.fromkeys(db_name for db_name, _ in names):
        yield CollectTask(number=0, kind=CollectKind.NODES, place=db_name)
    for db_name, class_id in names:
        yield CollectTask(number=0, kind=CollectKind.ARCHIVE, place=f"{db_name}/{class_id}")
    if scope.class_id is None:
        yield CollectTask(number=0, kind=CollectKind.FOREIGN, place=EVENTS)


async def _claimed_classes(bucket: TimedBucket, scope: ProofScope) -> AsyncIterator[str]:
    """Yield the classes of which unique values were ever claimed; leaps from one to the next."""
    within = f"{UNIQUE}{scope.db_name}/" if scope.db_name else UNIQUE
    after, more = within, True
    while more:
        listed, more = await bucket.list_after(within, after, count_max=1)
        if not listed:
            return
        _, *names = listed[0].key.split("/", 3)
        if len(names) < 3:  # a key that lies in no class, which is found as that
            after = listed[0].key
            continue
        db_name, class_id, _ = names
        if scope.class_id in (None, class_id):
            yield f"{db_name}/{class_id}"
        after, more = f"{UNIQUE}{db_name}/{class_id}{PAST_CLASS}", True


async def _slices(catalogue: LogCatalogue, scope: ProofScope, slice_commands: int) -> AsyncIterator[CollectTask]:
    """Yield the commands in slices; of an incremental check without those that have no new one."""
    after, position, count, is_new = COMMANDS, "", 0, False
    while True:
        page = await catalogue.commands(after=position)
        count += len(page.items)
        is_new = is_new or any(not scope.is_old(command.written_at) for command in page.items)
        if page.position is None or count >= slice_commands:
            if is_new or (page.position is None and scope.since is None):
                yield CollectTask(number=0, kind=CollectKind.COMMANDS, after=after, end=page.position)
            if page.position is None:
                return
            after, count, is_new = page.position, 0, False
        position = page.position
