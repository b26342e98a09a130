"""Exports of replays: the same rows in every format, each instance as it stood."""

import csv
import io
import json
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from oncelog.domain.canonical import canonical_bytes, sha256_hex
from oncelog.replay_runs.export import MANIFEST
from oncelog.replay_runs.formats import ExportFormat
from oncelog.replay_runs.request import ExportedFiles, ReplayMode, ReplayRequest, ReplayScope
from tests.commands import create, delete
from tests.replay_runs.runs import filled, replay, runner
from tests.write.world import World


async def exported(world: World, replay_id: str) -> list[bytes]:
    files = runner(world).files(replay_id)
    listed = ExportedFiles.model_validate_json(await files.read(MANIFEST) or b"")
    found = []
    for file in listed.files:
        data = await files.read(file.key.removeprefix(files.folder))
        assert data is not None
        assert (sha256_hex(data), len(data)) == (file.sha256, file.size_bytes)
        found.append(data)
    return found


@pytest.mark.parametrize(
    ("scope", "data"),
    [
        (ReplayScope(), {"n": 2, "m": 1}),
        (ReplayScope(as_of_version=1), {"n": 2}),
        (ReplayScope(as_of_time=datetime(2026, 1, 1, 18, tzinfo=UTC)), {"n": 2}),
        (ReplayScope(as_of_time=datetime(2026, 1, 2, 18, tzinfo=UTC)), {"n": 2, "m": 1}),
        (ReplayScope(aggregate_id="shop/Product/p1"), {"n": 2, "m": 1}),
    ],
)
async def test_export_shows_instances_as_they_stood(scope: ReplayScope, data: dict[str, int]):
    world = await filled(["p1"])
    _, end = await replay(world, "e", ReplayRequest(mode=ReplayMode.AS_OF, scope=scope))
    (line,) = (await exported(world, "e"))[0].splitlines()
    assert (json.loads(line)["data"], end.rows) == (data, 1)


async def test_export_before_everything_is_empty():
    world = await filled(["p1"])
    scope = ReplayScope(as_of_time=datetime(2025, 1, 1, tzinfo=UTC))
    _, end = await replay(world, "e", ReplayRequest(mode=ReplayMode.AS_OF, scope=scope))
    assert (await exported(world, "e"), end.rows) == ([], 0)


async def test_deleted_instance_is_in_the_digest_and_in_no_export():
    world = await filled(["p1", "p2"])
    await world.process().run(delete("p1"))
    _, end = await replay(world, "e", ReplayRequest(mode=ReplayMode.AS_OF))
    (line,) = (await exported(world, "e"))[0].splitlines()
    assert json.loads(line)["instance_id"] == "p2"
    assert [tree.size for tree in end.classes] == [2]


TEXTS = ["", "plain", 'quote " comma , newline \n', "=formula", "ü", "\u2028", " lead"]


@pytest.mark.parametrize("export_format", ExportFormat)
async def test_every_format_holds_the_same_rows(export_format: ExportFormat):
    world = World()
    payloads = {f"p{number}": {"text": text, "n": number, "none": None} for number, text in enumerate(TEXTS)}
    for name, payload in payloads.items():
        await world.process().run(create(name, payload))
    await replay(world, "e", ReplayRequest(mode=ReplayMode.AS_OF, format=export_format))
    (data,) = await exported(world, "e")
    if export_format is ExportFormat.NDJSON:
        rows = [json.loads(line) for line in data.split(b"\n") if line]
        found = {row["instance_id"]: canonical_bytes(row["data"]).decode() for row in rows}
    elif export_format is ExportFormat.CSV:
        rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
        found = {row["instance_id"]: row["data"] for row in rows}
    else:
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
        found = {row["instance_id"]: row["data"] for row in rows}
    stored = {name.rpartition("/")[2]: events[0].data for name, events in world.logs().items()}
    assert found == {name: canonical_bytes(payload).decode() for name, payload in stored.items()}
    assert {int(row["sequence_number"]) for row in rows} == {1}


async def test_files_of_an_export_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("oncelog.replay_runs.export.FILE_BYTES", 1)
    monkeypatch.setattr("oncelog.replay.fold.BATCH_STATES", 2)
    world = await filled(["p1", "p2", "p3", "p4", "p5"])
    await replay(world, "e", ReplayRequest(mode=ReplayMode.AS_OF))
    assert [len(data.splitlines()) for data in await exported(world, "e")] == [2, 2, 1]
