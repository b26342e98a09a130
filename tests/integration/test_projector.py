"""The projector on real servers: whatever happens to it and to them, documents come to equal the log."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from oncelog.checks.verify import Verdict, verify
from oncelog.composition.checks import projectors_of, sources_of
from oncelog.composition.replays import assemble_replays
from oncelog.domain.dead_letters import DeadLetter, DeadLetterKind
from oncelog.domain.events import Event
from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, evolve
from oncelog.domain.results import Outcome
from oncelog.errors import ProjectionParked, StoreUnavailable
from oncelog.ports import Watermark, last_numbers
from oncelog.projector import new_projector
from oncelog.read_models.projector import loop
from oncelog.read_models.projector.loop import Projector
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.replay.trace import AfterStep, nothing_after
from oncelog.replay_runs.request import ReplayMode, ReplayRequest, ReplayScope
from oncelog.settings import Settings
from oncelog.stores.kafka.topic_reader import read_topic
from oncelog.stores.opening import Stores
from oncelog.verification.findings import Code, Severity
from stack import Stack
from tests import promises
from tests.clients import prepare
from tests.commands import create, update
from tests.contract.chains import PLACE, chain, event_of, state_at
from tests.contract.topics import drop_topic
from tests.domain.former_events import forget_versions
from tests.integration.installation import Installation, run_oncelog
from tests.replay_runs.runs import replay_with

pytestmark = pytest.mark.integration

UNTIL_S = 60.0  # nothing takes as long, unless it never comes


@dataclass
class Projection:
    """An installation's read side: its stream is fed by the test, and projectors come and go."""

    settings: Settings
    variables: Mapping[str, str]
    folder: Path
    stores: Stores
    chains: dict[AggregateId, list[Event]] = field(default_factory=dict)
    here: list[Projector] = field(default_factory=list)
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def write(self, events: list[Event]) -> None:
        """Put an aggregate's events into the log only."""
        self.chains[events[0].aggregate] = events
        for event in events:
            await self.stores.ports.event_log.append_event(
                event, published_through=Watermark(1, event.sequence_number - 1)
            )

    async def send(self, events: Sequence[Event]) -> None:
        """Put events into the stream only, in this order."""
        await self.stores.ports.publisher.publish_events(events)

    async def fill(self, names: range, length: int = 3) -> None:
        """Put whole streams into log and stream."""
        chains = [chain(length, f"p{number}", name=f"Lamp {number}") for number in names]
        await asyncio.gather(*map(self.write, chains))
        await asyncio.gather(*map(self.send, chains))

    @asynccontextmanager
    async def running(self, after_step: AfterStep = nothing_after) -> AsyncIterator[ProjectorMetrics]:
        """Run a projector in this process, on connections of its own."""
        stopping, metrics = asyncio.Event(), ProjectorMetrics("documents")
        async with await Stores.connect(self.settings) as stores:
            self.here.append(new_projector(stores, self.settings, metrics, after_step=after_step))
            task = asyncio.create_task(self.here[-1].run(stopping))
            try:
                yield metrics
            finally:
                stopping.set()
                async with asyncio.timeout(UNTIL_S):
                    await task

    async def process(self, **variables: str) -> asyncio.subprocess.Process:
        """Start ``oncelog-projector`` as an operator does."""
        with self.log_of(len(self.processes)).open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "oncelog.projector",
                env={**self.variables, **variables},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.processes.append(process)
        return process

    def log_of(self, index: int) -> Path:
        return self.folder / f"projector-{index}.log"

    async def ready(self, index: int) -> None:
        """Wait until the projector started as number ``index`` has its share."""
        async with asyncio.timeout(UNTIL_S):
            while "projector_ready" not in self.log_of(index).read_text():
                assert self.processes[index].returncode is None, self.log_of(index).read_text()
                await asyncio.sleep(0.05)

    async def all_shown(self, *, but: Sequence[AggregateId] = ()) -> None:
        """Wait until every document has reached its log's head, and hold it to be the fold of it."""
        wanted = [place for place in self.chains if place not in but]
        async with asyncio.timeout(UNTIL_S):
            while True:
                with contextlib.suppress(StoreUnavailable):  # an index that is just being made does not answer yet
                    found = await self.stores.documents.read_documents(wanted)
                    reached = [document.sequence_number if document else 0 for document in found]
                    if reached == [len(self.chains[place]) for place in wanted]:
                        break
                await asyncio.sleep(0.05)
        objects = {
            f"events/{place}/{event.sequence_number:020d}.json": event.canonical
            for place in wanted
            for event in self.chains[place]
        }
        audit = promises.audit_of(objects, [], [document for document in found if document])
        promises.hold(audit.documents.judge())

    async def all_in_graph(self) -> None:
        """Wait until every node has reached its log's head; no class here is defined, so none has edges."""
        wanted = [GraphNode(place, len(events)) for place, events in self.chains.items()]
        async with asyncio.timeout(UNTIL_S):
            while list(await self.stores.graph.read_nodes(list(self.chains))) != wanted:
                await asyncio.sleep(0.05)

    async def parked(self, place: AggregateId) -> DeadLetter:
        """Wait until the aggregate is parked."""
        async with asyncio.timeout(UNTIL_S):
            while (
                not (dead_letter := await self.stores.ports.dead_letters.latest_dead_letter("documents", place))
                or not dead_letter.waits
            ):
                await asyncio.sleep(0.05)
        return dead_letter

    async def heard_of(self, place: AggregateId) -> None:
        """Wait until the projector of this process has heard that the aggregate waits."""
        async with asyncio.timeout(UNTIL_S):
            while not self.here[-1]._parking.may_wait(place):
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def in_vain(self, index: int, *signs: str) -> AsyncIterator[None]:
        """At the end, wait until the projector started as number ``index`` has said since that it works in vain."""
        begun = len(self.log_of(index).read_text())
        yield
        async with asyncio.timeout(UNTIL_S):
            while not any(sign in self.log_of(index).read_text()[begun:] for sign in signs):
                await asyncio.sleep(0.05)

    async def oncelog(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """Run the command line; returns its exit code and the JSON it prints."""
        return await run_oncelog(self.variables, *arguments)


async def _opened(settings: Settings, environment: Mapping[str, str], folder: Path) -> AsyncIterator[Projection]:
    async with await Stores.connect(settings) as stores:
        await prepare(stores)
        variables = {**os.environ, **environment, "ONCELOG_NAMESPACE": settings.namespace}
        projection = Projection(settings, variables, folder, stores)
        try:
            yield projection
        finally:
            for process in projection.processes:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
                await process.wait()


@pytest.fixture
async def projection(settings: Settings, environment: Mapping[str, str], tmp_path: Path) -> AsyncIterator[Projection]:
    async for opened in _opened(settings, environment, tmp_path):
        yield opened


async def test_duplicates_gaps_and_any_order_come_to_the_same(projection: Projection):
    dice = Random(7)
    chains = [chain(8, f"p{number}") for number in range(30)]
    await asyncio.gather(*map(projection.write, chains))
    messages = [event for events in chains for event in (*dice.sample(events[:-1], 4), *dice.choices(events, k=3))]
    dice.shuffle(messages)
    async with projection.running() as metrics:
        await asyncio.gather(*(projection.send(messages[index::10]) for index in range(10)))
        await projection.send([events[-1] for events in chains])
        await projection.all_shown()
        await projection.send(messages[:50])
        async with asyncio.timeout(UNTIL_S):
            while not metrics.registry.get_sample_value("events_skipped_total", {"read_model": "documents"}):
                await asyncio.sleep(0.05)
    assert await last_numbers(projection.stores.ports.dead_letters, "documents") == {}


@pytest.mark.parametrize(
    ("step", "read_model"),
    [*((step, "documents") for step in ("fetch", "fold", "show", "park", "commit")), ("show", "graph")],
)
async def test_killed_projector_is_finished_by_the_next(projection: Projection, step: str, read_model: str):
    await projection.fill(range(40))
    doomed = await projection.process(ONCELOG_CRASH_AFTER=step, ONCELOG_PROJECTOR_READ_MODEL=read_model)
    async with asyncio.timeout(UNTIL_S):
        assert await doomed.wait() == -signal.SIGKILL, projection.log_of(0).read_text()
    await projection.fill(range(40, 60))
    next_one = await projection.process(ONCELOG_PROJECTOR_READ_MODEL=read_model)
    await (projection.all_in_graph() if read_model == "graph" else projection.all_shown())
    next_one.terminate()
    async with asyncio.timeout(UNTIL_S):
        assert await next_one.wait() == 0, projection.log_of(1).read_text()


async def test_projectors_share_work_while_others_come_and_die(projection: Projection):
    async def feed() -> None:
        for start in range(0, 300, 30):
            await projection.fill(range(start, start + 30))

    for _ in range(2):
        await projection.process()
    await projection.ready(0)
    feeding = asyncio.create_task(feed())
    third = await projection.process()
    await projection.ready(2)
    projection.processes[0].kill()
    await projection.process()
    await projection.ready(3)
    third.terminate()
    async with asyncio.timeout(UNTIL_S):
        assert await third.wait() == 0, projection.log_of(2).read_text()
        await feeding
    await projection.all_shown()


@pytest.mark.parametrize("lands", [True, False], ids=["lands in time", "is called off"])
async def test_batch_in_a_rebalance_is_written_or_repeated(
    projection: Projection, monkeypatch: pytest.MonkeyPatch, *, lands: bool
):
    """One projector has written a batch, and not committed it yet, when another one joins and asks for a share."""
    if not lands:
        monkeypatch.setattr(loop, "HAND_OVER_S", 0.1)
    steps: list[tuple[str, str]] = []
    held, may_go_on = asyncio.Event(), asyncio.Event()

    async def of_the_first(step: str) -> None:
        if step == "show" and not held.is_set():
            held.set()
            await may_go_on.wait()
        steps.append(("first", step))

    async def of_the_second(step: str) -> None:
        steps.append(("second", step))

    await projection.fill(range(60))
    async with projection.running(of_the_first) as first, asyncio.timeout(3 * UNTIL_S):
        await held.wait()
        epoch = projection.here[0]._epoch
        async with projection.running(of_the_second) as second:
            while projection.here[0]._epoch == epoch:  # until it is to give up its partitions
                await asyncio.sleep(0.02)
            if lands:
                may_go_on.set()
            await projection.fill(range(60, 120))
            await projection.all_shown()
    begun = steps.index(("second", "fetch"))
    assert (("first", "commit") in steps[:begun]) == lands
    label = {"read_model": "documents"}
    done = [metrics.registry.get_sample_value("events_processed_total", label) for metrics in (first, second)]
    assert done[1], "the second one has its share of it"
    assert lands or sum(filter(None, done)) > 2 * 60 * 3, "what was called off came again"


async def _make_choosy_index(projection: Projection) -> str:
    """Make the class's index with a mapping that refuses all but numbers, as an operator's own mapping might."""
    alias = projection.stores.documents.alias_of(PLACE)
    mappings = {"properties": {"data": {"properties": {"n": {"type": "integer"}}}}}
    await projection.stores.elasticsearch.client.indices.delete_index_template(
        name=projection.settings.named("instances")
    )
    await projection.stores.elasticsearch.client.indices.create(
        index=f"{alias}.000001", aliases={alias: {"is_write_index": True}}, mappings=mappings
    )
    return f"{alias}.000001"


def _typed_chain(name: str, *values: object) -> list[Event]:
    events = chain(len(values), name)
    state, found = Instance(aggregate_id=events[0].aggregate_id), []
    for number, value in enumerate(values):
        make = update if number else create
        found.append(event_of(state, make(name, {"n": value})))
        state = evolve(state, found[-1])
    return found


async def test_refused_document_is_retried_skipped_and_resumed(projection: Projection):
    index = await _make_choosy_index(projection)
    bad, good = _typed_chain("p1", 1, "x", "y", 4), _typed_chain("p2", 1, 2)
    for events in (bad, good):
        await projection.write(events)
    async with projection.running():
        await projection.send(bad[:2])
        dead_letter = await projection.parked(PLACE)
        assert (dead_letter.code, dead_letter.sequence_number) == ("ObjectRefused", 2)
        await projection.send([bad[2], *good])
        await projection.all_shown(but=[PLACE])
        told = await read_topic(projection.settings, projection.settings.failure_topic)
        assert {json.loads(one.value)["aggregate_id"] for one in told} == {str(PLACE)}

        code, (listed,) = await projection.oncelog("dead-letters", "list")
        assert (code, listed["kind"], listed["shown_version"]) == (1, "PARKED", 1)
        assert (await projection.stores.documents.read_documents([PLACE]))[0].body["data"] == {"n": 1}  # type: ignore[union-attr]

        code, (mended,) = await projection.oncelog("dead-letters", "retry", str(PLACE), "--by", "ann")
        assert (code, mended["kind"]) == (0, "RESOLVED"), "the log has a fourth event by now, which can be shown"
        await projection.all_shown()
        await projection.stores.elasticsearch.client.indices.delete(index=index)
        request = ReplayRequest(mode=ReplayMode.REBUILD, scope=ReplayScope(db_name="shop", class_id="Product"))
        counts, _ = await replay_with(assemble_replays(projection.stores.ports), "replay-1", request)
        assert counts.parked == 0
        await projection.all_shown()
    history = await projection.stores.ports.dead_letters.dead_letter_history("documents", PLACE)
    assert [each.kind for each in history] == [DeadLetterKind.PARKED, DeadLetterKind.RETRYING, DeadLetterKind.RESOLVED]


async def test_skip_is_recorded_and_later_versions_are_projected(projection: Projection):
    await _make_choosy_index(projection)
    events = _typed_chain("p1", "x", 2)
    await projection.write(events[:1])
    async with projection.running():
        await projection.send(events[:1])
        await projection.parked(PLACE)
        code, (again,) = await projection.oncelog("dead-letters", "retry", "--all")
        assert (code, again["kind"]) == (1, "PARKED")
        code, (skipped,) = await projection.oncelog("dead-letters", "skip", str(PLACE), "--reason", "of no use")
        assert (code, skipped["kind"]) == (0, "RESOLVED")
        await projection.write(events)
        await projection.send(events)
        await projection.all_shown()
    code, dead_letters = await projection.oncelog("dead-letters", "show", str(PLACE))
    assert code == 0
    assert [dead_letter["kind"] for dead_letter in dead_letters] == [
        "PARKED",
        "RETRYING",
        "PARKED",
        "SKIPPED",
        "RESOLVED",
    ]
    assert dead_letters[3]["reason"] == "of no use"


async def test_a_paused_aggregate_waits_and_the_others_flow(projection: Projection):
    await projection.fill(range(1, 3))
    async with projection.running() as metrics:
        await projection.all_shown()
        code, _ = await projection.oncelog("dead-letters", "pause", str(PLACE), "--reason", "an audit")
        assert code == 0
        await projection.heard_of(PLACE)
        longer = chain(2, "p9")
        events = projection.chains[PLACE]
        events.append(event_of(state_at(events), update(payload={"n": 99})))
        await projection.write(events)
        await projection.write(longer)
        await projection.send([events[-1], *longer])
        async with asyncio.timeout(UNTIL_S):
            while not metrics.registry.get_sample_value("events_waiting_total", {"read_model": "documents"}):
                await asyncio.sleep(0.05)
        await projection.all_shown(but=[PLACE])
        (document,) = await projection.stores.documents.read_documents([PLACE])
        assert document is not None
        assert document.sequence_number == len(events) - 1, "it waits"
        assert (await projection.oncelog("dead-letters", "resume", str(PLACE)))[0] == 0
        await projection.all_shown()


async def test_a_damaged_event_parks_its_aggregate_only(projection: Projection):
    await projection.fill(range(2, 6))
    events = chain(3)
    await projection.write(events)
    bucket = projection.stores.bucket
    key = f"{bucket.prefix}events/{PLACE}/{2:020d}.json"
    spoiled = events[1].canonical.replace(b'"n":1', b'"n":7')
    await asyncio.to_thread(bucket.client.put_object, Bucket=bucket.name, Key=key, Body=spoiled)
    async with projection.running():
        await projection.send(events[2:])
        dead_letter = await projection.parked(PLACE)
        assert (dead_letter.code, dead_letter.sequence_number) == ("LogDamaged", 2)
        await projection.all_shown(but=[PLACE])
        (document,) = await projection.stores.documents.read_documents([PLACE])
        assert document is not None
        assert document.sequence_number == 1
        await asyncio.to_thread(bucket.client.put_object, Bucket=bucket.name, Key=key, Body=events[1].canonical)
        assert (await projection.oncelog("dead-letters", "retry", str(PLACE)))[0] == 0
        await projection.all_shown()


async def test_event_from_the_future_waits_for_an_upgrade(projection: Projection, monkeypatch: pytest.MonkeyPatch):
    future, known = chain(3), chain(1, "p2")
    for events in (future, known):
        await projection.write(events)
    with monkeypatch.context() as patch:
        forget_versions(patch, "INSTANCE_UPDATED", since="2.0.0")
        async with projection.running() as metrics:
            await projection.send(future[:2])
            dead_letter = await projection.parked(PLACE)
            assert (dead_letter.code, dead_letter.sequence_number) == ("EventFromFuture", 2)
            await projection.send([future[2], *known])
            await projection.all_shown(but=[PLACE])
            async with asyncio.timeout(UNTIL_S):
                while not metrics.registry.get_sample_value("events_waiting_total", {"read_model": "documents"}):
                    await asyncio.sleep(0.05)
            (document,) = await projection.stores.documents.read_documents([PLACE])
            assert document is not None
            assert document.sequence_number == 1, "what can be read is shown"
    code, (listed,) = await projection.oncelog("dead-letters", "list")
    assert (code, listed["code"], listed["shown_version"]) == (1, "EventFromFuture", 1)
    assert "upgrade" in listed["reason"]
    code, (mended,) = await projection.oncelog("dead-letters", "retry", str(PLACE))  # a program that knows them
    assert (code, mended["kind"]) == (0, "RESOLVED")
    await projection.all_shown()


async def test_lost_topic_loses_no_later_event(projection: Projection):
    await projection.fill(range(10))
    async with projection.running():
        await projection.all_shown()
        await drop_topic(projection.settings)
        await projection.stores.kafka.prepare()
        await projection.fill(range(10, 40), length=4)
        await projection.all_shown()


async def test_its_metrics_are_served_where_the_setting_says(projection: Projection):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    await projection.fill(range(20))
    process = await projection.process(ONCELOG_PROJECTOR_METRICS_ADDRESS=f"127.0.0.1:{port}")
    await projection.all_shown()

    def served() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            return str(answer.read().decode())

    async with asyncio.timeout(UNTIL_S):
        while 'events_processed_total{read_model="documents"} 60.0' not in (text := await asyncio.to_thread(served)):
            await asyncio.sleep(0.2)
        while text.count("projection_lag_events{") != 6:
            text = await asyncio.to_thread(served)
            await asyncio.sleep(0.2)
    assert 'projection_lag_ms{partition="0",read_model="documents"}' in text
    assert "stamina_retries_total" in text
    process.terminate()
    async with asyncio.timeout(UNTIL_S):
        assert await process.wait() == 0


@asynccontextmanager
async def _projecting(installation: Installation, read_model: str) -> AsyncIterator[None]:
    """Run a projector of the read model until the block ends, and what it has in hand is shown."""
    settings = installation.settings.model_copy(update={"projector_read_model": read_model})
    stopping = asyncio.Event()
    projector = new_projector(installation.stores, settings, ProjectorMetrics(read_model))
    running = asyncio.create_task(projector.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await running


async def _verified(installation: Installation) -> dict[Code, Severity]:
    """Return what ``oncelog verify`` finds."""
    report = await verify(
        sources_of(installation.stores, installation.settings),
        in_flight=installation.client.under_way,
        projectors=projectors_of(installation.settings),
    )
    assert (report.verdict is Verdict.SOUND) == (not report.summary.violations)
    return {finding.code: finding.severity for finding in report.findings}


async def test_token_waits_for_the_projector(installation: Installation):
    installation.settings = installation.settings.model_copy(update={"projection": "stream"})
    graph = installation.stores.ports.graph
    async with installation.worker():
        result = await installation.client.submit(create())
        assert await installation.client.get(PLACE) is None
        status = await installation.client.status(str(result.command_id))
        assert [stage for stage, _ in status.history] == ["ACCEPTED", "PERSISTED", "PUBLISHED", "COMPLETED"]
        pending = dict.fromkeys((Code.DOCUMENT_MISSING, Code.NODE_MISSING), Severity.PENDING)
        async with asyncio.timeout(UNTIL_S):  # objects younger than a second by S3's clock are not judged yet
            while (unprojected := await _verified(installation)) != pending:
                assert not unprojected
        async with _projecting(installation, "documents"):
            document = await installation.client.get(PLACE, token=result.consistency_token, deadline_s=30)
        assert document is not None
        assert document.sequence_number == 1
        assert await _verified(installation) == {Code.NODE_MISSING: Severity.PENDING}, "nobody projects the graph"
        async with _projecting(installation, "graph"), asyncio.timeout(UNTIL_S):
            found: list[GraphNode | None] = [None]
            while found == [None]:
                await asyncio.sleep(0.05)
                with contextlib.suppress(StoreUnavailable):  # an index that is just being made does not answer yet
                    found = list(await graph.read_nodes([PLACE]))
    await installation.check()
    indices = installation.stores.elasticsearch.client.indices
    await indices.delete(index=list(await indices.get(index=installation.settings.named("graph.*"))))
    assert await _verified(installation) == {Code.NODE_MISSING: Severity.VIOLATION}, "it was passed, and is lost"


async def test_command_with_a_refused_document_completes(installation: Installation):
    stores = installation.stores
    alias = stores.documents.alias_of(PLACE)
    await stores.elasticsearch.client.indices.delete_index_template(name=installation.settings.named("instances"))
    await stores.elasticsearch.client.indices.create(
        index=f"{alias}.000001",
        aliases={alias: {"is_write_index": True}},
        mappings={"properties": {"data": {"properties": {"n": {"type": "integer"}}}}},
    )
    async with installation.worker():
        result = await installation.client.submit(create(payload={"n": "x"}))
        assert result.outcome is Outcome.APPLIED
        with pytest.raises(ProjectionParked, match="ObjectRefused"):
            await installation.client.get(PLACE, token=result.consistency_token)
        status = await installation.client.status(str(result.command_id))
        assert [stage for stage, _ in status.history] == ["ACCEPTED", "PERSISTED", "PUBLISHED", "COMPLETED"]
        other = await installation.client.submit(create("p2", payload={"n": 2}))
        assert await installation.client.get(AggregateId.parse("shop/Product/p2"), token=other.consistency_token)
    dead_letter = await stores.ports.dead_letters.latest_dead_letter("documents", PLACE)
    assert dead_letter is not None
    assert (dead_letter.kind, dead_letter.sequence_number) == (DeadLetterKind.PARKED, 1)


@pytest.mark.slow
async def test_it_outlives_kafka_and_elasticsearch_killed_and_frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with Stack.temporary(["s3", "kafka", "elasticsearch", "redis"]) as stack:
        environment = stack.environment()
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        async for projection in _opened(Settings.from_environment(), environment, tmp_path):
            await projection.process()
            await projection.fill(range(20))
            await projection.all_shown()
            kafka, elasticsearch = stack.server("kafka"), stack.server("elasticsearch")
            async with projection.in_vain(0, "topic_id_unknown", "projector_waits"):
                await asyncio.to_thread(kafka.kill)
            await asyncio.to_thread(kafka.start)
            await projection.fill(range(100, 120))
            await projection.all_shown()
            async with projection.in_vain(0, "projector_waits"):
                await asyncio.to_thread(elasticsearch.kill)
                await projection.fill(range(1000, 1020))
            await asyncio.to_thread(elasticsearch.start)
            await projection.fill(range(200, 220))
            await projection.all_shown()
            await asyncio.to_thread(kafka.pause)
            projection.processes[0].terminate()
            async with asyncio.timeout(120):
                assert await projection.processes[0].wait() == 0, "it does not hang in stop"
            await asyncio.to_thread(kafka.resume)
