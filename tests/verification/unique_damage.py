"""Instances with unique values that were taken, let go and fought for, and damage to their chains."""

import json
from typing import Any

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.records import CommandRecord, read_record, record_of
from oncelog.domain.unique.entry import EndedBy, Place, UniqueEntry
from oncelog.settings import Settings
from oncelog.stores.s3 import StoredObject
from oncelog.verification.findings import Code
from tests.bulks import bulk_create, item
from tests.commands import create, update
from tests.unique_values import USERS, define_users
from tests.verification.bulk_damage import chunk_key, rebind
from tests.verification.damage import Damage, drop, event_of, key_of, rewrite, rewrite_record
from tests.write.bulks import run_bulk
from tests.write.world import NOON, World

A, B, E = (f"shop/Product/{name}" for name in "abe")
MADE = "made-1"


async def healthy() -> World:
    """One value that went from one instance to another, one that a lost claim left, refusals, and a bulk command."""
    world = World(settings=Settings(snapshot_interval_events=10, bulk_chunk_items_max=4))
    process = world.process()
    await process.run(define_users())
    await process.run(create("a", {"email": "x", "country": "CH", "plate": "1"}, command_id="a-1"))
    await process.run(update("a", {"email": "z"}, command_id="a-2"))
    await process.run(create("b", {"email": "x"}, command_id="b-1"))
    await process.run(create("c", {"email": "x"}, command_id="c-1"))
    world.redis.flush()
    process = world.process()
    await process.run(create("k", {"email": "k", "country": "CH", "plate": "1"}, command_id="k-1"))
    await process.run(create("m", {"email": "k"}, command_id="m-1"))
    await process.run(update("m", {"n": 1}, command_id="m-2"))
    items = [item(name, {"email": email}) for name, email in zip("defg", ("d", "e", "f", "f"), strict=True)]
    await run_bulk(world, bulk_create(*items, item("h", {"email": "z"}), command_id=MADE))
    assert entry_of(world, "m-1").n == 2
    assert chunk_key(MADE, 1, 2) in world.bucket.objects
    return world


def record_of_command(world: World, command_id: str, number: int = 1) -> CommandRecord:
    key = f"commands/{command_id}/{number:06d}.json"
    record = read_record(world.bucket.objects[key].body, where=key)
    assert isinstance(record, CommandRecord)
    return record


def entry_of(world: World, command_id: str) -> UniqueEntry:
    """Return the first entry that the last record of a command names."""
    numbers = [int(key[-11:-5]) for key in world.bucket.objects if key.startswith(f"commands/{command_id}/")]
    return record_of_command(world, command_id, max(numbers)).entries[0]


def entry_key(world: World, name: str) -> str:
    """Return the key of the entry that an instance's event was claimed by in a bulk command."""
    for key, stored in world.bucket.objects.items():
        if key.startswith("unique/") and json.loads(stored.body)["aggregate_id"] == f"shop/Product/{name}":
            return key
    raise AssertionError(name)


def claim_in_vain(world: World) -> None:
    """Let the record of an event that brings nothing in name a place, and let the place have its entry."""
    record = record_of_command(world, "m-2")
    place = Place(constraint="email", sha256="0" * 64, n=1)
    claiming = record.model_copy(update={"places": (place,)})
    (entry,) = claiming.entries
    world.bucket.objects["commands/m-2/000001.json"] = StoredObject(claiming.canonical)
    world.bucket.objects[entry.key] = StoredObject(entry.canonical)


def put_entry(world: World, entry: UniqueEntry, key: str | None = None) -> None:
    world.bucket.objects[key or entry.key] = StoredObject(entry.canonical)


def put_record(world: World, record: CommandRecord) -> None:
    world.bucket.objects[f"commands/{record.command_id}/{record.number:06d}.json"] = StoredObject(record.canonical)


def cite(world: World, command_id: str, ended_by: EndedBy | None) -> None:
    """Let a record and its entries cite other evidence, as a writer would that had not looked."""
    number = max(int(key[-11:-5]) for key in world.bucket.objects if key.startswith(f"commands/{command_id}/"))
    record = record_of_command(world, command_id, number)
    places = tuple(place.model_copy(update={"ended_by": ended_by}) for place in record.places or ())
    forged = record.model_copy(update={"places": places})
    put_record(world, CommandRecord.model_validate(forged.model_dump()))
    for entry in record_of_command(world, command_id, number).entries:
        put_entry(world, entry)


def leave_pending(world: World) -> None:
    """Leave the record and the entry of a command that died before its event."""
    command = update("b", {"email": "w"}, command_id="dead-1")
    sha256 = "0" * 64
    definition = record_of_command(world, "b-1").definition
    places = [Place(constraint="email", sha256=sha256, n=1)]
    record = record_of(command, number=1, occurred_at=NOON, end=2, definition=definition, places=places)
    put_record(world, record)
    put_entry(world, record.entries[0])


def add_unnamed_entry(world: World) -> None:
    entry = entry_of(world, "b-1")
    number = entry.n + 1
    put_entry(world, entry.model_copy(update={"n": number, "command_id": "nobody"}))


def alter_entry(world: World, command_id: str, /, **changes: Any) -> None:
    entry = entry_of(world, command_id)
    put_entry(world, entry.model_copy(update=changes), key=entry.key)


def swap_entries(world: World) -> None:
    first, second = entry_of(world, "a-1"), entry_of(world, "b-1")
    put_entry(world, first, second.key)
    put_entry(world, second, first.key)


def change_refusal(world: World, **details: Any) -> None:
    rejection = json.loads(world.bucket.objects["commands/c-1/000001.json"].body).get("rejection")
    number = 1 if rejection else 2
    record = record_of_command(world, "c-1", number)
    assert record.rejection is not None
    changed = record.rejection.model_dump(mode="json") | {"details": {**record.rejection.details, **details}}
    key = f"commands/c-1/{number:06d}.json"
    fields = json.loads(world.bucket.objects[key].body) | {"rejection": changed}
    world.bucket.objects[key] = StoredObject(canonical_bytes(fields))


def change_item_refusal(world: World) -> None:
    """Let an item be refused by an instance that does not hold the value."""
    key = chunk_key(MADE, 2, 1)
    if chunk_key(MADE, 2, 2) in world.bucket.objects:
        key = chunk_key(MADE, 2, 2)
    (binding,) = json.loads(world.bucket.objects[key].body)["bindings"]
    details = binding["rejection"]["details"] | {"holder": B}
    rebind(world, key, binding["index"], rejection=binding["rejection"] | {"details": details})


async def add_constraint(world: World) -> None:
    unique = {**USERS["unique"], "number": ["/n"]}
    await world.process().run(define_users(version="1.1.0", unique=unique))


def first_of(key: str) -> str:
    return f"{key[:-11]}000001.json"


PLANTED = [
    Damage("an entry is lost", lambda w: drop(w, entry_of(w, "b-1").key), Code.ENTRY_MISSING),
    Damage("an item's entry is lost", lambda w: drop(w, entry_key(w, "d")), Code.ENTRY_MISSING),
    Damage("a record names no place", lambda w: rewrite_record(w, "a-2", places=None), Code.ENTRY_MISSING),
    Damage(
        "an entry is cut short",
        lambda w: w.bucket.objects.update({entry_of(w, "b-1").key: StoredObject(b"{")}),
        Code.ENTRY_FORGED,
    ),
    Damage("an entry names another slot", lambda w: alter_entry(w, "b-1", slot=7), Code.ENTRY_FORGED),
    Damage("an entry is another command's", lambda w: alter_entry(w, "b-1", command_id="a-1"), Code.ENTRY_FORGED),
    Damage("two entries are swapped", swap_entries, Code.ENTRY_FORGED),
    Damage("an event claims what it does not bring in", claim_in_vain, Code.ENTRY_UNFOUNDED),
    Damage("an entry is of no record", add_unnamed_entry, Code.ENTRY_UNFOUNDED),
    Damage(
        "an entry follows one that cites an event after which the value is held",
        lambda w: cite(w, "b-1", EndedBy(key=key_of(A, 1), checksum=event_of(w, A, 1).checksum)),
        Code.ENTRY_UNFOUNDED,
    ),
    Damage(
        "an entry follows one that cites an event by another checksum",
        lambda w: cite(w, "b-1", EndedBy(key=key_of(A, 2), checksum=event_of(w, A, 1).checksum)),
        Code.ENTRY_UNFOUNDED,
    ),
    Damage(
        "an entry follows one that cites another instance's event",
        lambda w: cite(w, "b-1", EndedBy(key=key_of(E, 1), checksum=event_of(w, E, 1).checksum)),
        Code.ENTRY_UNFOUNDED,
    ),
    Damage("an entry follows one without evidence", lambda w: cite(w, "b-1", None), Code.ENTRY_UNFOUNDED),
    Damage(
        "an entry follows one that cites an entry that says nothing",
        lambda w: cite(w, "m-1", EndedBy(key=entry_of(w, "a-2").key, checksum=entry_of(w, "a-2").checksum)),
        Code.ENTRY_UNFOUNDED,
    ),
    Damage("a chain lacks its first entry", lambda w: drop(w, first_of(entry_of(w, "m-1").key)), Code.CHAIN_GAP),
    Damage("a value has two holders", lambda w: rewrite(w, E, 1, data={"email": "x"}), Code.UNIQUE_DOUBLED),
    Damage("a constraint was added", add_constraint, Code.INSTANCE_UNCOVERED),
    Damage("a refusal names another version", lambda w: change_refusal(w, holder_version=9), Code.REJECTION_UNFOUNDED),
    Damage("a refusal names another holder", lambda w: change_refusal(w, holder=E), Code.REJECTION_UNFOUNDED),
    Damage("a refusal names no instance", lambda w: change_refusal(w, holder="b"), Code.REJECTION_UNFOUNDED),
    Damage("an item's refusal names another holder", change_item_refusal, Code.REJECTION_UNFOUNDED),
    Damage("an entry is pending", leave_pending, Code.COMMAND_UNFINISHED),
    Damage(
        "an object lies among entries",
        lambda w: w.bucket.objects.update({"unique/shop/Product/notes": StoredObject(b"{}")}),
        Code.OBJECT_FOREIGN,
    ),
    Damage(
        "an object lies beside the chains of classes",
        lambda w: w.bucket.objects.update({"unique/notes": StoredObject(b"{}")}),
        Code.OBJECT_FOREIGN,
    ),
]
