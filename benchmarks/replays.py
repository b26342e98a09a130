"""Replays: a rebuild against Elasticsearch's own bulk helper on finished documents, and a restore, in one run.

``python -m benchmarks.replays --events 20000``, against the servers of the environment. The steps are those of the
workflow, run in one process, ``PARALLEL`` partitions at a time; Temporal itself is left out. The helper is given
finished documents in memory, terms of filters included, in as many streams, and an index of the same mapping and
settings, refreshed at the end. The rebuild lists the log, reads the archive, verifies, folds, digests, migrates, writes
the same documents into an index beside the live one, compares, catches up, and moves the alias.
"""

import argparse
import asyncio
import json
import resource
import time
import uuid
from dataclasses import replace
from typing import Any

from elasticsearch import AsyncElasticsearch
from elasticsearch.helpers import async_streaming_bulk

from benchmarks.instance_events import stream
from benchmarks.projection import action_of
from oncelog.archive.archiver import Archiver
from oncelog.bounded_gather import bounded_gather
from oncelog.composition.replays import assemble_replays
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.ports import UNPUBLISHED, Document, IndexSchema
from oncelog.process import collect_garbage_rarely
from oncelog.read_models.document import document_of
from oncelog.replay_runs.request import ReplayCounts, ReplayMode, ReplayRequest, ReplayScope
from oncelog.replay_runs.run import ReplayRunner
from oncelog.settings import Settings
from oncelog.stores.elasticsearch.mapping import as_indexed
from oncelog.stores.opening import Stores

SCOPE = ReplayScope(db_name="bench", class_id="Product")
PARALLEL = 4


def _stream(number: int, events_per_stream: int) -> tuple[list[Event], Instance]:
    def payload(version: int) -> dict[str, Any]:
        return {
            "name": f"Lamp number {number}",
            "description": "A lamp for the desk, with an arm that turns and a shade of steel.",
            "price": number / 8,
            "version": version,
            "tags": ["light", "desk", f"shelf {number % 50}"],
        }

    return stream(number, events_per_stream, payload)


async def _run(runner: ReplayRunner, replay_id: str, request: ReplayRequest) -> tuple[ReplayCounts, float]:
    """Take a replay through its steps; returns its counts and the seconds that it took."""
    began = time.perf_counter()
    totals = await runner.plan(replay_id, request)

    async def partition(number: int) -> ReplayCounts:
        return await runner.partition(replay_id, request, number)

    done = await bounded_gather(partition, range(totals.partitions), at_once=PARALLEL)
    await runner.end(replay_id, request, totals)
    return sum(done, ReplayCounts()), time.perf_counter() - began


async def _helper(stores: Stores, states: list[Instance]) -> float:
    """Write the documents of states with terms of filters, as a rebuild does; returns the seconds that it took."""
    documents = [document_of(state) for state in states]
    finished = [replace(document, body=as_indexed(document.body)) for document in documents]
    name = AggregateId.of_class("bench", "Helper")
    index = await stores.ports.indices.create_index(name, IndexSchema(), first=False, beside="helper")
    async with AsyncElasticsearch(Settings.from_environment().elasticsearch.url, request_timeout=60) as client:

        async def write(some: list[Document]) -> None:
            actions = [action_of(index.name, document) for document in some]
            async for ok, result in async_streaming_bulk(client, actions, chunk_size=500):
                if not ok:
                    raise RuntimeError(str(result))

        began = time.perf_counter()
        await bounded_gather(write, [finished[number::PARALLEL] for number in range(PARALLEL)], at_once=PARALLEL)
        await client.indices.refresh(index=index.name)
        return time.perf_counter() - began


async def measure(events: int, events_per_stream: int) -> dict[str, float]:
    """Write events, archive them, rebuild, and restore; times in seconds."""
    settings = Settings.from_environment().model_copy(update={"namespace": f"bench-{uuid.uuid4().hex[:8]}"})
    async with await Stores.connect(settings) as stores:
        await stores.prepare()
        ports = stores.ports
        streams = [_stream(number, events_per_stream) for number in range(events // events_per_stream)]

        async def write(stream: list[Event]) -> None:
            for event in stream:
                await ports.event_log.append_event(event, published_through=UNPUBLISHED)

        await bounded_gather(write, [stream for stream, _ in streams], at_once=32)
        report = await Archiver(ports).pack("bench", "Product")
        while report.position is not None:
            report = await Archiver(ports).pack("bench", "Product", first=report.position)
        runner = assemble_replays(ports)
        _, restore_s = await _run(runner, "restore", ReplayRequest(mode=ReplayMode.RESTORE, scope=SCOPE))
        _, rebuild_s = await _run(runner, "rebuild", ReplayRequest(mode=ReplayMode.REBUILD, scope=SCOPE))
        _, verify_s = await _run(runner, "verify", ReplayRequest(scope=SCOPE))
        _, export_s = await _run(runner, "export", ReplayRequest(mode=ReplayMode.AS_OF, scope=SCOPE))
        helper_s = await _helper(stores, [state for _, state in streams])
        left = await stores.elasticsearch.client.indices.get(index=f"{settings.namespace}.*")
        await stores.elasticsearch.client.indices.delete(index=list(left))
    documents = len(streams)
    return {
        "events": documents * events_per_stream,
        "documents": documents,
        "restore_s": restore_s,
        "restored_events_per_s": documents * events_per_stream / restore_s,
        "restored_aggregates_per_s": documents / restore_s,
        "rebuild_s": rebuild_s,
        "rebuilt_documents_per_s": documents / rebuild_s,
        "helper_documents_per_s": documents / helper_s,
        "rebuild_share_of_helper": helper_s / rebuild_s,
        "verify_s": verify_s,
        "verified_events_per_s": documents * events_per_stream / verify_s,
        "export_s": export_s,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--events-per-stream", type=int, default=1)
    options = parser.parse_args()
    collect_garbage_rarely()
    found = asyncio.run(measure(options.events, options.events_per_stream))
    print(json.dumps({name: round(value, 3) for name, value in found.items()}, indent=2))


if __name__ == "__main__":
    main()
