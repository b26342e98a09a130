"""A reader in another language, written from docs/log-format.md alone, verifies a real bucket and finds damage."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from oncelog.archive.archiver import Archiver
from oncelog.domain.canonical import canonical_bytes, sha256_hex
from oncelog.domain.commands import Command
from oncelog.domain.events import checksum_of, read_event
from oncelog.domain.instance import Instance, evolve
from oncelog.settings import Settings
from tests.bulks import bulk_create, item
from tests.classes import define
from tests.clients import patient_stores
from tests.commands import create, delete, update
from tests.contract.chains import chain
from tests.integration.installation import Installation
from tests.unique_values import define_users
from tests.write.bulks import Attempt
from tests.write.world import World

READER = Path(__file__).parent / "reader.mjs"
NODE = shutil.which("node")
SAMPLES = Path(__file__).parents[1] / "domain" / "stored_events"

pytestmark = pytest.mark.skipif(NODE is None, reason="Node.js is not installed: the second reader is JavaScript")


def _read(folder: Path) -> tuple[int, dict[str, Any]]:
    done = subprocess.run([str(NODE), str(READER), str(folder)], capture_output=True, check=False, timeout=120)
    assert done.returncode in (0, 1), done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


def _mirror(objects: dict[str, bytes], folder: Path) -> None:
    for key, body in objects.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def _states(objects: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """Fold the log with our own code, to the form in which the second reader tells states."""
    states: dict[str, Instance] = {}
    for key in sorted(key for key in objects if key.startswith("events/")):
        event = read_event(objects[key], where=key)
        before = states.get(event.aggregate_id, Instance(aggregate_id=event.aggregate_id))
        states[event.aggregate_id] = evolve(before, event)
    return {
        name: {
            "sequence_number": state.sequence_number,
            "deleted": state.deleted,
            "data_sha256": sha256_hex(canonical_bytes(state.data)),
        }
        for name, state in states.items()
    }


@pytest.mark.integration
async def test_second_reader_verifies_a_real_bucket(settings: Settings, environment: Mapping[str, str], tmp_path: Path):
    async with Installation.opened(settings, environment, tmp_path) as installation:
        async with installation.worker():
            for command in _commands():
                await installation.client.submit(command)
        async with patient_stores(settings) as stores:
            await Archiver(stores.ports).pack("shop", "Product")
        prefixes = ("events/", "commands/", "unique/", "archive/")
        objects = {key: body for prefix in prefixes for key, body in installation.objects(prefix).items()}
    _mirror(objects, tmp_path / "bucket")
    code, found = _read(tmp_path / "bucket")
    assert (code, found["findings"]) == (0, [])
    assert found["events"] == len([key for key in objects if key.startswith("events/")]) == 8
    assert (found["records"], found["entries"]) == (8, 0)
    assert found["states"] == _states(objects)


def _commands() -> list[Command]:
    values = {"big": 1e21, "small": 1e-7, "text": 'é\u2028\u20ac\U0001f600"\\\n', "n": [1, -0.0, 0.1, 123456789012]}
    return [
        define({"version": "1.0.0", "schema": {"type": "object"}}, class_id="Maker"),
        *(create(f"p{number}", values) for number in range(4)),
        create("a b'()*!", {"\ue000": 1, "\U00010000": 2}),
        update("p1", {"text": None, "big": {"a": None, "b": 1}}),
        delete("p2"),
    ]


def test_every_stored_version_folds_to_the_same_state(tmp_path: Path):
    for version in sorted(path for path in SAMPLES.iterdir()):
        objects = {}
        for path in sorted(version.glob("*-*.json")):
            if not path.name.endswith("-state.json"):
                event = json.loads(path.read_bytes())
                objects[f"events/{event['aggregate_id']}/{event['sequence_number']:020d}.json"] = (
                    path.read_bytes().rstrip()
                )
        _mirror(objects, tmp_path / version.name)
        code, found = _read(tmp_path / version.name)
        assert (code, found["states"]) == (0, _states(objects)), found["findings"]


def _altered(body: bytes) -> bytes:
    return body.replace(b'"n":0', b'"n":7')


def _resealed(body: bytes) -> bytes:
    fields = json.loads(_altered(body))
    return canonical_bytes(fields | {"checksum": checksum_of(fields)})


DAMAGES: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
    "altered": (_altered, "checksum does not fit"),
    "forged": (_resealed, "the chain is broken"),
    "not canonical": (lambda body: json.dumps(json.loads(body)).encode(), "not in canonical form"),
    "cut short": (lambda body: body[:-9], "not JSON"),
    "deleted": (lambda _body: None, "a gap"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_second_reader_finds_planted_damage(damage: str, tmp_path: Path):
    objects = {f"events/{event.aggregate_id}/{event.sequence_number:020d}.json": event.canonical for event in chain(3)}
    plant, expected = DAMAGES[damage]
    first = min(objects)
    body = plant(objects[first])
    if body is None:
        del objects[first]
    else:
        objects[first] = body
    _mirror(objects, tmp_path)
    code, found = _read(tmp_path)
    assert code == 1
    assert any(expected in finding for finding in found["findings"]), found["findings"]


def _forged(body: bytes) -> bytes:
    return canonical_bytes(json.loads(body) | {"slot": 9})


async def _objects_with_unique_values() -> dict[str, bytes]:
    """Return a log in which one value is taken twice, one has two parts, and two are those of a bulk command."""
    world = World(settings=Settings(projection="stream"))
    process = world.process()
    first = create("a", {"email": "x@y", "country": "CH", "plate": "1"})
    for command in (define_users(), first, delete("a"), create("b", {"email": "x@y"}), create("c", {"email": "x@y"})):
        await process.run(command)
    await Attempt(process).run(bulk_create(item("d", {"email": "d@y"}), item("e", {"email": "e@y"})))
    return {key: stored.body for key, stored in world.bucket.objects.items()}


async def test_second_reader_verifies_unique_values(tmp_path: Path):
    _mirror(await _objects_with_unique_values(), tmp_path)
    code, found = _read(tmp_path)
    assert (code, found["findings"], found["entries"]) == (0, [], 5)


#: The number of the entry in the chain of the value that was taken twice, the damage, and the findings.
ENTRY_DAMAGES: dict[str, tuple[int, Callable[[bytes], bytes | None], set[str]]] = {
    "forged": (1, _forged, {"no record names this entry", "is not the entry of this event"}),
    "first of two deleted": (1, lambda _body: None, {"a gap", "is not the entry of this event"}),
    "last deleted": (2, lambda _body: None, {"is not the entry of this event"}),
}


@pytest.mark.parametrize("damage", ENTRY_DAMAGES)
async def test_second_reader_finds_damaged_entries(damage: str, tmp_path: Path):
    objects = await _objects_with_unique_values()
    number, plant, expected = ENTRY_DAMAGES[damage]
    last = next(key for key in objects if key.startswith("unique/") and key.endswith("/000002.json"))
    key = f"{last[:-11]}{number:06d}.json"
    body = plant(objects.pop(key))
    if body is not None:
        objects[key] = body
    _mirror(objects, tmp_path)
    code, found = _read(tmp_path)
    seen = {problem for problem in expected if any(problem in finding for finding in found["findings"])}
    assert (code, seen, len(found["findings"])) == (1, expected, len(expected))
