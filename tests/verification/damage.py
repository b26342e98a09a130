"""A healthy installation in memory, and everything that may be done to it behind its back."""

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Any, Protocol

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.commands import Command
from oncelog.domain.events import Event, checksum_of, read_event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import STORED_BYTES_MAX
from oncelog.domain.records import record_of
from oncelog.domain.results import CommandResult, Rejection, RejectionCode
from oncelog.ports import Document
from oncelog.stores.kafka.messages import Message, headers_of
from oncelog.stores.s3 import StoredObject
from oncelog.verification.findings import Code, Finding, Severity
from tests.commands import create, delete, update
from tests.write.world import NOON, Process, World

LAMP, DESK, SHELF = (f"shop/Product/{name}" for name in ("lamp", "desk", "shelf"))
VERSIONS = 5


class Runs(Protocol):
    """A worker process, or the object before it."""

    def run(self, command: Command) -> Awaitable[CommandResult]: ...


async def healthy(watched: Callable[[Process], Runs] = lambda process: process) -> World:
    """Three aggregates of five events each, one deleted and made anew, refused commands, and one that had to move.

    ``watched``: puts something between each caller and each process.
    """
    world = World()
    process = watched(world.process())
    for name in ("lamp", "desk", "shelf"):
        await process.run(create(name, {"name": name, "price": 1.5, "tags": ["a", "b"]}, command_id=f"{name}-1"))
        await process.run(update(name, {"price": 2}, command_id=f"{name}-2"))
        last = delete(name) if name == "shelf" else update(name, {"price": None})
        await process.run(last.model_copy(update={"command_id": f"{name}-3"}))
        again = create(name) if name == "shelf" else update(name, {"price": 4})
        if name == "shelf":  # no cache holds it, so its creation goes for slot 1 first and needs a further record
            world.redis.flush()
            process = watched(world.process())
        await process.run(again.model_copy(update={"command_id": f"{name}-4"}))
        await process.run(update(name, {"seen": True}, command_id=f"{name}-5", actor="ann", correlation_id="walk"))
    await process.run(create("lamp", command_id="lamp-exists"))
    await process.run(update("nobody", command_id="nobody-there"))
    await process.run(update("desk", command_id="desk-conflict", expected_version=2))
    assert "commands/shelf-4/000002.json" in world.bucket.objects
    return world


def key_of(aggregate_id: str, sequence_number: int) -> str:
    return f"events/{aggregate_id}/{sequence_number:020d}.json"


def event_of(world: World, aggregate_id: str, sequence_number: int) -> Event:
    return read_event(world.bucket.objects[key_of(aggregate_id, sequence_number)].body, where="here")


def resealed(event: Event, **changes: Any) -> Event:
    """Return the event with other content and a checksum that fits it."""
    fields = event.model_dump(mode="json") | changes
    return Event(**(fields | {"checksum": checksum_of(fields)}))


def put(world: World, aggregate_id: str, sequence_number: int, body: bytes) -> None:
    world.bucket.objects[key_of(aggregate_id, sequence_number)] = StoredObject(body)


def rewrite(world: World, aggregate_id: str, sequence_number: int, **changes: Any) -> None:
    event = event_of(world, aggregate_id, sequence_number)
    put(world, aggregate_id, sequence_number, resealed(event, **changes).canonical)


def rewrite_all_from(world: World, aggregate_id: str, sequence_number: int, **changes: Any) -> None:
    """Forge an event and every one after it, so that the chain holds again."""
    rewrite(world, aggregate_id, sequence_number, **changes)
    for number in range(sequence_number + 1, VERSIONS + 1):
        before = event_of(world, aggregate_id, number - 1).checksum
        rewrite(world, aggregate_id, number, previous_checksum=before)


def flip(world: World, key: str, *, at: bytes) -> None:
    """Flip one bit of the first character after some text."""
    body = bytearray(world.bucket.objects[key].body)
    body[body.index(at) + len(at)] ^= 1
    world.bucket.objects[key] = StoredObject(bytes(body))


def swap(world: World, first: str, second: str) -> None:
    objects = world.bucket.objects
    objects[first], objects[second] = objects[second], objects[first]


def rewrite_record(world: World, command_id: str, **changes: Any) -> None:
    key = f"commands/{command_id}/000001.json"
    fields = json.loads(world.bucket.objects[key].body) | changes
    world.bucket.objects[key] = StoredObject(canonical_bytes({k: v for k, v in fields.items() if v is not None}))


def add_event(world: World, event: Event) -> None:
    put(world, event.aggregate_id, event.sequence_number, event.canonical)


def add_second_event(world: World) -> None:
    """Give lamp's last command an event in desk's log, too."""
    before, event = event_of(world, DESK, VERSIONS), event_of(world, LAMP, VERSIONS)
    place = {"aggregate_id": DESK, "instance_id": "desk", "sequence_number": VERSIONS + 1}
    add_event(world, resealed(event, **place, previous_checksum=before.checksum))


def apply_rejected(world: World) -> None:
    """Give the refused creation of lamp its event all the same."""
    before, process = event_of(world, LAMP, VERSIONS), update("lamp", command_id="lamp-exists")
    event = event_of(world, LAMP, 1)
    changes = {
        "command_id": "lamp-exists",
        "command_hash": process.hash,
        "sequence_number": VERSIONS + 1,
        "previous_checksum": before.checksum,
    }
    add_event(world, resealed(event, **changes))


def write_record(world: World, number: int, *, end: int | Rejection, command_id: str, name: str = "lamp") -> None:
    command = update(name, {"seen": True}, command_id=command_id)
    record = record_of(command, number=number, occurred_at=NOON, end=end)
    world.bucket.objects[f"commands/{command_id}/{number:06d}.json"] = StoredObject(record.canonical)


def add_second_record(world: World) -> None:
    key = "commands/lamp-5/000001.json"
    fields = json.loads(world.bucket.objects[key].body) | {"number": 2, "slot": VERSIONS + 1}
    world.bucket.objects["commands/lamp-5/000002.json"] = StoredObject(canonical_bytes(fields))


def messages_of(world: World, aggregate_id: str) -> list[int]:
    """Return where in the stream an aggregate's messages are."""
    key = aggregate_id.encode()
    return [index for index, message in enumerate(world.publisher.messages) if message.key == key]


def drop_message(world: World, aggregate_id: str, sequence_number: int) -> None:
    del world.publisher.messages[messages_of(world, aggregate_id)[sequence_number - 1]]


def change_message(world: World, aggregate_id: str, sequence_number: int, **changes: Any) -> None:
    index = messages_of(world, aggregate_id)[sequence_number - 1]
    world.publisher.messages[index] = replace(world.publisher.messages[index], **changes)


def reorder_messages(world: World) -> None:
    first, second = messages_of(world, LAMP)[2:4]
    messages = world.publisher.messages
    messages[first], messages[second] = messages[second], messages[first]


def add_foreign_message(world: World) -> None:
    event = resealed(event_of(world, LAMP, 1), aggregate_id="shop/Product/ghost", instance_id="ghost")
    headers = tuple(headers_of(event))
    world.publisher.messages.append(Message(0, 999, event.aggregate_id.encode(), headers, event.canonical))


def forged_message(world: World) -> None:
    event = resealed(event_of(world, LAMP, 4), data={"price": 0})
    change_message(world, LAMP, 4, value=event.canonical, headers=tuple(headers_of(event)))


def go_on_elsewhere(world: World) -> None:
    """Let the later half of an aggregate lie in another partition, as after partitions were added."""
    for number in range(4, VERSIONS + 1):
        change_message(world, LAMP, number, partition=99)


def nested(levels: int) -> bytes:
    return b'{"data":' * levels + b"1" + b"}" * levels


def replace_in(world: World, key: str, old: bytes, new: bytes) -> None:
    body = world.bucket.objects[key].body
    assert old in body
    world.bucket.objects[key] = StoredObject(body.replace(old, new, 1))


def index_of(world: World) -> dict[str, Document]:
    return world.documents.indices["shop.product"]


def change_document(world: World, name: str, **changes: Any) -> None:
    document = index_of(world)[name]
    body = dict(document.body) | changes
    index_of(world)[name] = replace(document, body=body, sequence_number=body["sequence_number"])


def make_stale(world: World) -> None:
    """Play a document back to what it was one event before."""
    event = event_of(world, LAMP, VERSIONS - 1)
    older = {"sequence_number": VERSIONS - 1, "event_id": event.event_id, "updated_at": event.occurred_at}
    data = {"name": "lamp", "tags": ["a", "b"], "price": 4}
    change_document(world, "lamp", **older, data=data)


def add_extra_document(world: World) -> None:
    place = AggregateId.parse("shop/Product/ghost")
    body = dict(index_of(world)["lamp"].body) | {"aggregate_id": str(place), "instance_id": "ghost"}
    index_of(world)["ghost"] = Document(place, VERSIONS, body)


def drop(world: World, key: str) -> None:
    del world.bucket.objects[key]


def drop_log(world: World, aggregate_id: str) -> None:
    for key in [key for key in world.bucket.objects if key.startswith(f"events/{aggregate_id}/")]:
        drop(world, key)


def add_object(world: World, key: str) -> None:
    world.bucket.objects[key] = StoredObject(b"{}")


NOT_FOUND = Rejection(code=RejectionCode.INSTANCE_NOT_FOUND, message="not found", details={"found_version": 4})


@dataclass(frozen=True)
class Damage:
    """One kind of damage, how it is done, at once or as a coroutine, and the code that must name it.

    ``severity``: where the code has one whatever is under way.
    """

    name: str
    plant: Callable[[World], object]
    code: Code
    severity: Severity | None = None

    def is_named_by(self, findings: Iterable[Finding]) -> bool:
        """Return whether it is found as what it is."""
        return any(each.code is self.code and self.severity in (None, each.severity) for each in findings)


async def planted(damage: Damage, world: World) -> None:
    """Do the damage."""
    done = damage.plant(world)
    if isawaitable(done):
        await done


PLANTED = [
    Damage("an event is dropped", lambda w: drop(w, key_of(LAMP, 3)), Code.SEQUENCE_GAP),
    Damage("the last event is dropped", lambda w: drop(w, key_of(LAMP, 5)), Code.COMMAND_UNFINISHED),
    Damage("a whole log is dropped", lambda w: drop_log(w, LAMP), Code.MESSAGE_FOREIGN),
    Damage(
        "an event is duplicated under another slot",
        lambda w: put(w, LAMP, 6, w.bucket.objects[key_of(LAMP, 5)].body),
        Code.OBJECT_MISPLACED,
    ),
    Damage("two events are swapped", lambda w: swap(w, key_of(LAMP, 2), key_of(LAMP, 3)), Code.OBJECT_MISPLACED),
    Damage("a bit of an event is flipped", lambda w: flip(w, key_of(LAMP, 4), at=b'"price":'), Code.CHECKSUM_WRONG),
    Damage("an event is cut short", lambda w: put(w, LAMP, 2, b'{"actor":null,'), Code.OBJECT_UNREADABLE),
    Damage(
        "an event is renumbered, sealed anew",
        lambda w: add_event(w, resealed(event_of(w, LAMP, 5), sequence_number=6)),
        Code.CHAIN_BROKEN,
    ),
    Damage(
        "an event is appended again, in chain",
        lambda w: add_event(
            w,
            resealed(event_of(w, LAMP, 5), sequence_number=6, previous_checksum=event_of(w, LAMP, 5).checksum),
        ),
        Code.EVENT_DOUBLED,
    ),
    Damage(
        "a checksum is forged",
        lambda w: put(w, LAMP, 3, event_of(w, LAMP, 3).model_copy(update={"checksum": "0" * 64}).canonical),
        Code.CHECKSUM_WRONG,
    ),
    Damage("an event is rewritten, sealed anew", lambda w: rewrite(w, LAMP, 2, data={"price": 9}), Code.CHAIN_BROKEN),
    Damage("the last event is rewritten", lambda w: rewrite(w, LAMP, 5, data={"price": 9}), Code.EVENT_FORGED),
    Damage("a log is rewritten, its chain too", lambda w: rewrite_all_from(w, LAMP, 2, actor="eve"), Code.EVENT_FORGED),
    Damage("an event's time is forged", lambda w: rewrite(w, LAMP, 5, occurred_at=NOON[:-2] + "9Z"), Code.EVENT_FORGED),
    Damage(
        "an event's bytes are not canonical",
        lambda w: put(w, LAMP, 5, json.dumps(event_of(w, LAMP, 5).model_dump(mode="json"), indent=1).encode()),
        Code.NOT_CANONICAL,
    ),
    Damage("an event has another ID", lambda w: rewrite(w, LAMP, 5, event_id="0" * 36), Code.EVENT_ID_WRONG),
    Damage("an object lies in the log", lambda w: add_object(w, "events/shop/Product/x.json"), Code.OBJECT_FOREIGN),
    Damage("a record is lost", lambda w: drop(w, "commands/desk-3/000001.json"), Code.RECORD_MISSING),
    Damage("a record is cut short", lambda w: add_object(w, "commands/desk-3/000001.json"), Code.RECORD_UNREADABLE),
    Damage("a record's slot is altered", lambda w: rewrite_record(w, "desk-3", slot=4), Code.EVENT_UNBOUND),
    Damage("a record's hash is forged", lambda w: rewrite_record(w, "desk-3", command_hash="0"), Code.RECORD_FORGED),
    Damage(
        "two records are swapped",
        lambda w: swap(w, "commands/desk-3/000001.json", "commands/desk-4/000001.json"),
        Code.RECORD_FORGED,
    ),
    Damage("a record has a further one without need", add_second_record, Code.RECORD_UNFOUNDED),
    Damage("a first record is lost", lambda w: write_record(w, 2, end=6, command_id="moved"), Code.RECORD_MISSING),
    Damage("an object lies among records", lambda w: add_object(w, "commands/desk-3/notes"), Code.OBJECT_FOREIGN),
    Damage("a command has a second event", add_second_event, Code.EVENT_DOUBLED),
    Damage("a rejected command has an event", apply_rejected, Code.REJECTED_BUT_APPLIED),
    Damage(
        "a rejection has no reason",
        lambda w: write_record(w, 1, end=NOT_FOUND, command_id="refused"),
        Code.REJECTION_UNFOUNDED,
    ),
    Damage("an intent has no event", lambda w: write_record(w, 1, end=6, command_id="left"), Code.COMMAND_UNFINISHED),
    Damage("the last message is missing", lambda w: drop_message(w, LAMP, 5), Code.MESSAGE_MISSING),
    Damage("a message in between is missing", lambda w: drop_message(w, LAMP, 3), Code.MESSAGE_OUT_OF_ORDER),
    Damage("the first message is missing", lambda w: drop_message(w, LAMP, 1), Code.MESSAGE_OUT_OF_ORDER),
    Damage("two messages are reordered", reorder_messages, Code.MESSAGE_OUT_OF_ORDER),
    Damage("a message is forged", forged_message, Code.MESSAGE_ALTERED),
    Damage("a message's headers are altered", lambda w: change_message(w, LAMP, 2, headers=()), Code.MESSAGE_ALTERED),
    Damage("a message is of an event that never was", add_foreign_message, Code.MESSAGE_FOREIGN),
    Damage("a message is no event", lambda w: change_message(w, LAMP, 5, value=b"hello"), Code.MESSAGE_FOREIGN),
    Damage("a message is in another partition", lambda w: change_message(w, LAMP, 5, partition=99), Code.STREAM_SPLIT),
    Damage("an aggregate goes on in a second partition", go_on_elsewhere, Code.STREAM_SPLIT),
    Damage(
        "an event is nested too deep to be read", lambda w: put(w, LAMP, 3, nested(100_000)), Code.OBJECT_UNREADABLE
    ),
    Damage(
        "an event is too large to be read",
        lambda w: put(w, LAMP, 3, b'{"data":"' + b"x" * STORED_BYTES_MAX + b'"}'),
        Code.OBJECT_UNREADABLE,
    ),
    Damage(
        "an event holds a number that no double holds",
        lambda w: replace_in(w, key_of(LAMP, 4), b'"price":4', b'"price":12345678901234567891'),
        Code.OBJECT_UNREADABLE,
    ),
    Damage(
        "an event says a key twice",
        lambda w: replace_in(w, key_of(LAMP, 4), b'"price":4', b'"price":4,"price":5'),
        Code.OBJECT_UNREADABLE,
    ),
    Damage(
        "an event is no UTF-8",
        lambda w: replace_in(w, key_of(LAMP, 4), b'"price"', b'"pric\xff"'),
        Code.OBJECT_UNREADABLE,
    ),
    Damage(
        "a record is nested too deep to be read",
        lambda w: w.bucket.objects.update({"commands/lamp-5/000001.json": StoredObject(nested(100_000))}),
        Code.RECORD_UNREADABLE,
    ),
    Damage("a document is missing", lambda w: index_of(w).pop("lamp"), Code.DOCUMENT_MISSING),
    Damage("a document is stale", make_stale, Code.DOCUMENT_STALE),
    Damage("a document says something else", lambda w: change_document(w, "lamp", data={}), Code.DOCUMENT_WRONG),
    Damage(
        "a document of a deleted instance lives",
        lambda w: change_document(w, "shelf", deleted=True),
        Code.DOCUMENT_WRONG,
    ),
    Damage(
        "a document is ahead of the log", lambda w: change_document(w, "lamp", sequence_number=9), Code.DOCUMENT_FOREIGN
    ),
    Damage("a document too many", add_extra_document, Code.DOCUMENT_FOREIGN),
    Damage(
        "a document's version is not what it says",
        lambda w: index_of(w).update(lamp=replace(index_of(w)["lamp"], sequence_number=4)),
        Code.DOCUMENT_WRONG,
    ),
]
