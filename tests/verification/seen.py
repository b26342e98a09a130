"""Clients' histories of a healthy installation, and everything that may be untrue of them."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.commands import Command
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import CommandResult, Outcome
from oncelog.domain.tokens import make_token
from oncelog.verification.findings import Code
from oncelog.verification.history import (
    FaultNote,
    History,
    HistoryEntry,
    Kind,
    ReadAsked,
    ReadFound,
    as_sent,
    document_digest,
    history_of,
)
from tests.commands import create, update
from tests.verification import damage
from tests.write.world import Process, World


@dataclass
class Recorder:
    """Writes down what clients do, under a clock that ticks with every line."""

    entries: list[HistoryEntry] = field(default_factory=list)
    numbers: int = 0

    async def submit(self, process: Process, command: Command, *, client: int = 1) -> CommandResult:
        op_id = self.invoke(command, client=client)
        result = await process.run(command)
        self.answered(op_id, result)
        return result

    def invoke(self, command: Command | Bulk, *, client: int = 1) -> str:
        return self.add(Kind.INVOKE, client=client, op="command", command=as_sent(command))

    def answered(self, op_id: str, result: CommandResult) -> None:
        kind = Kind.OK if result.outcome is Outcome.APPLIED else Kind.FAIL
        self.add(kind, op_id, result=result.model_dump(mode="json", exclude_none=True))

    async def read(self, world: World, aggregate_id: str, *, token: str | None = None) -> None:
        asked = ReadAsked(aggregate_id=aggregate_id, token=token)
        op_id = self.add(Kind.INVOKE, client=2, op="read", asked=asked)
        (document,) = await world.documents.read_documents([AggregateId.parse(aggregate_id)])
        found = ReadFound(sequence_number=0)
        if document:
            found = ReadFound(sequence_number=document.sequence_number, digest=document_digest(document))
        self.add(Kind.OK, op_id, found=found)

    def add(self, kind: Kind, op_id: str | None = None, **fields: Any) -> str:
        self.numbers += 1
        op_id = op_id or f"o{self.numbers}"
        self.entries.append(HistoryEntry(at_ns=self.numbers * 1_000_000_000, kind=kind, op_id=op_id, **fields))
        return op_id

    @property
    def history(self) -> History:
        return history_of((f"line {number}", entry) for number, entry in enumerate(self.entries, start=1))


class Watched:
    """A process that writes down what it is asked to run, in place of the clients that ask."""

    def __init__(self, process: Process, recorder: Recorder) -> None:
        self._process = process
        self._recorder = recorder

    async def run(self, command: Command) -> CommandResult:
        return await self._recorder.submit(self._process, command)


async def healthy() -> tuple[World, Recorder]:
    """The installation of ``damage.healthy``, with what its clients saw, reads, a fault, and answers that were lost."""
    recorder = Recorder()
    world = await damage.healthy(lambda process: Watched(process, recorder))
    process = world.process()
    await recorder.submit(
        process, update("lamp", {"seen": True}, command_id="lamp-5", actor="ann", correlation_id="walk")
    )
    await recorder.submit(process, update("lamp", {"other": 1}, command_id="lamp-5"))  # CommandIdReused
    await recorder.read(
        world, damage.LAMP, token=make_token({damage.LAMP: 5}, installation=world.settings.installation)
    )
    await recorder.read(world, "shop/Product/nobody")
    fault = recorder.add(Kind.FAULT_START, fault=FaultNote(kind="kill", target="redis", seed=7))
    lost = recorder.invoke(committed := create("late", command_id="late-1"), client=3)
    await process.run(committed)
    recorder.add(Kind.INFO, lost, error="StoreUnavailable: silence")
    recorder.invoke(create("never", command_id="never-1"), client=3)
    recorder.add(Kind.FAULT_END, fault)
    await recorder.submit(process, create("after", command_id="after-1"))
    return world, recorder


@dataclass(frozen=True)
class Untruth:
    """One kind of thing that a history and the servers may disagree on."""

    name: str
    plant: Callable[[World, Recorder], object]
    code: Code


def change(recorder: Recorder, chosen: Callable[[HistoryEntry], bool], **changes: Any) -> None:
    """Change the last line that is chosen."""
    index = max(index for index, entry in enumerate(recorder.entries) if chosen(entry))
    recorder.entries[index] = recorder.entries[index].model_copy(update=changes)


def answer_to(command_id: str) -> Callable[[HistoryEntry], bool]:
    return lambda entry: bool(entry.result and entry.result["command_id"] == command_id)


def change_answer(recorder: Recorder, command_id: str, **changes: Any) -> None:
    index = max(index for index, entry in enumerate(recorder.entries) if answer_to(command_id)(entry))
    result = copy.deepcopy(recorder.entries[index].result or {}) | changes
    kind = Kind.OK if result["outcome"] == Outcome.APPLIED else Kind.FAIL
    recorder.entries[index] = recorder.entries[index].model_copy(update={"result": result, "kind": kind})


def forget(recorder: Recorder, command_id: str) -> None:
    """Take out every line about a command."""
    about = {entry.op_id for entry in recorder.entries if (entry.command or {}).get("command_id") == command_id}
    recorder.entries = [entry for entry in recorder.entries if entry.op_id not in about]


def lose_everywhere(world: World, _: Recorder) -> None:
    """Let a command vanish from every server, as if none had ever heard of it."""
    del world.bucket.objects[damage.key_of("shop/Product/after", 1)]
    del world.bucket.objects["commands/after-1/000001.json"]
    world.publisher.messages = [one for one in world.publisher.messages if one.key != b"shop/Product/after"]
    del damage.index_of(world)["after"]


def reverse(_world: World, recorder: Recorder) -> None:
    """Let lamp-2 have been asked for after lamp-4 was answered."""
    answered = next(entry.at_ns for entry in recorder.entries if answer_to("lamp-4")(entry))
    asked = next(entry for entry in recorder.entries if (entry.command or {}).get("command_id") == "lamp-2")
    at_ns = {asked.op_id: answered + 1}
    recorder.entries = [
        entry.model_copy(update={"at_ns": at_ns[entry.op_id] + (entry.kind is not Kind.INVOKE)})
        if entry.op_id in at_ns
        else entry
        for entry in recorder.entries
    ]


def refuse_on_an_old_version(world: World, recorder: Recorder) -> None:
    """Let the refusal of desk-conflict have been decided on what was true long before it was asked for."""
    answer = next(entry for entry in recorder.entries if answer_to("desk-conflict")(entry))
    rejection = copy.deepcopy((answer.result or {})["rejection"])
    rejection["details"]["found_version"] = 1
    change_answer(recorder, "desk-conflict", rejection=rejection)
    damage.rewrite_record(world, "desk-conflict", rejection=rejection)


def accept_reuse(_: World, recorder: Recorder) -> None:
    first = next(entry for entry in recorder.entries if answer_to("lamp-5")(entry))
    change(recorder, answer_to("lamp-5"), kind=Kind.OK, result=first.result)


def refuse_as_reused(_: World, recorder: Recorder) -> None:
    refusal = [entry for entry in recorder.entries if answer_to("lamp-5")(entry)][-1]
    change_answer(recorder, "lamp-2", outcome="REJECTED", rejection=(refusal.result or {})["rejection"])


def change_read(_: World, recorder: Recorder, **changes: Any) -> None:
    index = next(index for index, entry in enumerate(recorder.entries) if entry.found and entry.found.sequence_number)
    found = (recorder.entries[index].found or ReadFound(sequence_number=0)).model_copy(update=changes)
    recorder.entries[index] = recorder.entries[index].model_copy(update={"found": found})


def drop_answers(_: World, recorder: Recorder) -> None:
    recorder.entries = [entry for entry in recorder.entries if entry.kind not in (Kind.OK, Kind.FAIL)]


def add_idle_fault(_: World, recorder: Recorder) -> None:
    forget(recorder, "never-1")  # it is under way for ever
    forget(recorder, "late-1")
    recorder.add(Kind.FAULT_END, recorder.add(Kind.FAULT_START, fault=FaultNote(kind="pause", target="kafka")))


UNTRUE = [
    Untruth("an acknowledged command is lost", lose_everywhere, Code.ACKNOWLEDGED_LOST),
    Untruth(
        "a refused command has an event",
        lambda _, r: change_answer(r, "lamp-2", outcome="REJECTED", rejection={"code": "InstanceNotFound"}),
        Code.REFUSED_PRESENT,
    ),
    Untruth("a command was never sent", lambda _, r: forget(r, "desk-4"), Code.NEVER_SENT),
    Untruth(
        "a second answer differs from the first",
        lambda _, r: change(
            r,
            lambda e: bool(e.result and e.result["command_id"] == "lamp-5" and e.kind is Kind.OK),
            result={"command_id": "lamp-5", "outcome": "APPLIED", "aggregate_id": damage.LAMP, "sequence_number": 4},
        ),
        Code.ANSWER_CHANGED,
    ),
    Untruth(
        "an answer names another slot", lambda _, r: change_answer(r, "desk-4", sequence_number=3), Code.ANSWER_WRONG
    ),
    Untruth("another content is accepted under a used ID", accept_reuse, Code.REUSE_ACCEPTED),
    Untruth("the same content is refused as another", refuse_as_reused, Code.ANSWER_WRONG),
    Untruth("order is reversed", reverse, Code.ORDER_REVERSED),
    Untruth("a refusal was decided on an old version", refuse_on_an_old_version, Code.REJECTION_STALE),
    Untruth("a read is older than its token", lambda w, r: change_read(w, r, sequence_number=4), Code.READ_STALE),
    Untruth("a read finds other data", lambda w, r: change_read(w, r, digest="0" * 32), Code.READ_WRONG),
    Untruth("a read finds what never was", lambda w, r: change_read(w, r, sequence_number=9), Code.READ_WRONG),
    Untruth("few commands were answered", drop_answers, Code.TOO_QUIET),
    Untruth("a fault met nothing under way", add_idle_fault, Code.FAULT_MISSED),
]
