"""Histories that clients and faults write while they run: one JSON line per invocation, per answer, per fault.

::

    {"at_ns": 1, "kind": "invoke", "op_id": "7-1", "client": 3, "op": "command", "command": {…}}
    {"at_ns": 2, "kind": "ok", "op_id": "7-1", "result": {…}}
    {"at_ns": 3, "kind": "invoke", "op_id": "7-2", "client": 3, "op": "read", "asked": {"aggregate_id": …, "token": …}}
    {"at_ns": 4, "kind": "ok", "op_id": "7-2", "found": {"sequence_number": 4, "deleted": false, "digest": …}}
    {"at_ns": 5, "kind": "fault_start", "op_id": "7-3", "fault": {"kind": "kill", "target": "redis", "seed": 1}}
    {"at_ns": 6, "kind": "fault_end", "op_id": "7-3"}

``ok``: applied, or read. ``fail``: certainly without effect (a rejection, a read that says that it does not see its
token). ``info``: unknown, which says nothing about the effect. ``at_ns``: the system's monotonic clock, which all
processes of one machine share and no clock jump moves.
"""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.canonical import canonical_bytes, sha256_hex
from oncelog.domain.commands import Command
from oncelog.domain.frozen_model import Value
from oncelog.domain.results import CommandResult, Outcome
from oncelog.errors import InputInvalid, OncelogError
from oncelog.ports import Document

DIGEST_CHARACTERS = 32


class Kind(StrEnum):
    """The content of a line."""

    RUN = "run"
    INVOKE = "invoke"
    OK = "ok"
    FAIL = "fail"
    INFO = "info"
    FAULT_START = "fault_start"
    FAULT_END = "fault_end"


class Lost(StrEnum):
    """The part of an installation that a fault takes away; all of it has to come back."""

    STREAM = "stream"  # messages before it are gone, until the log was published once more


class ReadAsked(Value):
    """A read: of which aggregate, and the consistency token that it presents."""

    aggregate_id: str
    token: str | None = None


class ReadFound(Value):
    """The answer to a read: 0 for no document. ``digest``: see ``document_digest``."""

    sequence_number: int
    deleted: bool = False
    digest: str | None = None


class FaultNote(Value):
    """A fault: its kind, its target, and the seed that repeats it."""

    kind: str
    target: str
    seed: int | None = None
    loses: tuple[Lost, ...] = ()
    details: dict[str, Any] = Field(default_factory=dict)


class HistoryEntry(Value):
    """One line. ``op_id`` joins an answer to its invocation and a fault's end to its start."""

    at_ns: int
    kind: Kind
    op_id: str
    client: int | None = None
    op: Literal["command", "read"] | None = None
    command: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    asked: ReadAsked | None = None
    found: ReadFound | None = None
    error: str | None = None
    fault: FaultNote | None = None
    run: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _says_what_its_kind_promises(self) -> Self:
        invoked = {"command": self.command, "read": self.asked, None: None}[self.op]
        if self.kind is Kind.INVOKE and (invoked is None or self.client is None):
            raise ValueError("an invocation has a client, an op, and the command or what is asked")
        if self.kind is Kind.FAULT_START and self.fault is None:
            raise ValueError("a fault's start has the fault")
        if self.kind is Kind.OK and self.result is None and self.found is None:
            raise ValueError("ok has a result, or what was found")
        if self.kind is Kind.FAIL and self.result is None and self.error is None:
            raise ValueError("fail has a result or an error")
        return self


def document_digest(document: Document) -> str:
    """Return a digest of a document's body, to compare the document read with the one folded from the log."""
    return sha256_hex(canonical_bytes(dict(document.body)))[:DIGEST_CHARACTERS]


def as_sent(command: Command | Bulk) -> dict[str, Any]:
    """Return a command of any kind as its hash sees it."""
    return command.as_json


class HistoryWriter:
    """Appends to a history. One ``write`` per line, so that clients, tasks, threads and processes may share a file.

    A line is with the operating system when the call returns: a writer that is killed loses none.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._numbers = count(1)

    def run(self, **details: Any) -> None:
        """Note the parameters of the run: seeds, sizes, versions."""
        self._write(Kind.RUN, self._new_id(), run=details)

    def invoke(self, client: int, command: Command | Bulk) -> str:
        """Note that a client is about to send a command; returns the ID to answer with."""
        op_id = self._new_id()
        self._write(Kind.INVOKE, op_id, client=client, op="command", command=as_sent(command))
        return op_id

    def answered(self, op_id: str, result: CommandResult) -> None:
        """Note the answer: ``ok`` if it was applied, ``fail`` if it was rejected."""
        kind = Kind.OK if result.outcome is Outcome.APPLIED else Kind.FAIL
        self._write(kind, op_id, result=result.model_dump(mode="json", exclude_none=True))

    def invoke_read(self, client: int, aggregate_id: object, *, token: str | None = None) -> str:
        """Note that a client is about to read; returns the ID to answer with."""
        op_id = self._new_id()
        asked = ReadAsked(aggregate_id=str(aggregate_id), token=token)
        self._write(Kind.INVOKE, op_id, client=client, op="read", asked=asked)
        return op_id

    def found(self, op_id: str, document: Document | None) -> None:
        """Note the result of a read."""
        found = ReadFound(sequence_number=0)
        if document is not None:
            found = ReadFound(
                sequence_number=document.sequence_number,
                deleted=bool(document.body["deleted"]),
                digest=document_digest(document),
            )
        self._write(Kind.OK, op_id, found=found)

    def failed(self, op_id: str, error: OncelogError) -> None:
        """Note that an operation certainly had no effect and will have none: refused at the door, not yet visible."""
        self._write(Kind.FAIL, op_id, error=f"{error.code}: {error.message}")

    def unknown(self, op_id: str, error: BaseException) -> None:
        """Note that the outcome of an operation is unknown."""
        self._write(Kind.INFO, op_id, error=f"{type(error).__name__}: {error}")

    def fault_started(
        self, kind: str, target: str, *, seed: int | None = None, loses: Iterable[Lost] = (), **details: Any
    ) -> str:
        """Note that a fault is about to begin; returns the ID to end it with."""
        op_id = self._new_id()
        fault = FaultNote(kind=kind, target=target, seed=seed, loses=tuple(loses), details=details)
        self._write(Kind.FAULT_START, op_id, fault=fault)
        return op_id

    def fault_ended(self, op_id: str) -> None:
        """Note that all effects of a fault have been taken back: its server answers, its link is open."""
        self._write(Kind.FAULT_END, op_id)

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _new_id(self) -> str:
        return f"{os.getpid()}-{id(self):x}-{next(self._numbers)}"

    def _write(self, kind: Kind, op_id: str, **fields: Any) -> None:
        entry = HistoryEntry(at_ns=time.monotonic_ns(), kind=kind, op_id=op_id, **fields)
        os.write(self._file, entry.model_dump_json(exclude_none=True).encode() + b"\n")


@dataclass
class Operation:
    """One invocation and its answer. ``answer`` None: no answer was written down, which is as good as unknown."""

    invoked: HistoryEntry
    answer: HistoryEntry | None = None

    @property
    def started_ns(self) -> int:
        return self.invoked.at_ns

    @property
    def ended_ns(self) -> int | None:
        """When it was answered; None where the answer is unknown, for its effect may come at any time."""
        return self.answer.at_ns if self.answer and self.answer.kind is not Kind.INFO else None


@dataclass
class Fault:
    """One fault, from its start to its end; ``ended_ns`` None if it was never taken back."""

    note: FaultNote
    started_ns: int
    ended_ns: int | None = None


@dataclass
class History:
    """Everything that was written down, in the order of the clock."""

    operations: list[Operation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def commands(self) -> list[Operation]:
        return [operation for operation in self.operations if operation.invoked.op == "command"]

    @property
    def reads(self) -> list[Operation]:
        return [operation for operation in self.operations if operation.invoked.op == "read"]


def read_history(paths: Iterable[Path]) -> History:
    """Read one history from the files that its processes wrote; raises InputInvalid naming file and line.

    A last line without its end comes from a killed writer, and is left out.
    """
    return history_of(_entries(paths))


def history_of(entries: Iterable[tuple[str, HistoryEntry]]) -> History:
    """Put entries in any order together, each with its place; raises InputInvalid."""
    in_order = sorted(entries, key=lambda found: found[1].at_ns)
    history, open_operations, open_faults = History(), dict[str, Operation](), dict[str, Fault]()
    for where, entry in in_order:
        if entry.kind is Kind.RUN:
            history.runs.append(entry.run or {})
        elif entry.kind is Kind.INVOKE:
            open_operations[entry.op_id] = Operation(entry)
            history.operations.append(open_operations[entry.op_id])
        elif entry.kind is Kind.FAULT_START:
            assert entry.fault is not None  # validated
            open_faults[entry.op_id] = Fault(entry.fault, entry.at_ns)
            history.faults.append(open_faults[entry.op_id])
        elif entry.kind is Kind.FAULT_END:
            _opened(open_faults, entry, where).ended_ns = entry.at_ns
        else:
            _opened(open_operations, entry, where).answer = entry
    return history


def _opened(opened: dict[str, Any], entry: HistoryEntry, where: str) -> Any:
    try:
        return opened.pop(entry.op_id)
    except KeyError as error:
        raise InputInvalid(f"{where}: {entry.kind} of {entry.op_id}, which has no start or two ends") from error


def _entries(paths: Iterable[Path]) -> Iterator[tuple[str, HistoryEntry]]:
    for path in paths:
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise InputInvalid(f"{path}: {error.strerror}") from error
        for number, line in enumerate(lines[:-1], start=1):
            where = f"{path}, line {number}"
            try:
                yield where, HistoryEntry.model_validate_json(line)
            except ValidationError as error:
                raise InputInvalid(f"{where}: not a line of a history: {error}") from error
