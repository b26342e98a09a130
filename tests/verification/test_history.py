"""Histories: written lines are read back, and invalid ones are refused by number."""

from pathlib import Path

import pytest

from oncelog.domain.results import CommandResult, Outcome
from oncelog.errors import InputInvalid, NotYetVisible, StoreUnavailable
from oncelog.read_models.document import document_of
from oncelog.verification.history import HistoryWriter, Kind, Lost, ReadFound, document_digest, read_history
from tests.commands import create
from tests.contract.chains import PLACE, chain, state_at

APPLIED = CommandResult(command_id="c1", command_hash="h", outcome=Outcome.APPLIED, sequence_number=1)
REJECTED = CommandResult(command_id="c1", command_hash="h", outcome=Outcome.REJECTED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.ndjson"


def test_what_was_written_is_read_back(path: Path):
    document = document_of(state_at(chain(3)))
    with HistoryWriter(path) as writer:
        writer.run(seed=7)
        fault = writer.fault_started("topic_dropped", "kafka", seed=3, loses=[Lost.STREAM], partition=1)
        applied, rejected = writer.invoke(1, create()), writer.invoke(2, create())
        writer.answered(rejected, REJECTED)
        writer.answered(applied, APPLIED)
        writer.fault_ended(fault)
        writer.found(writer.invoke_read(1, PLACE, token="t"), document)
        writer.found(writer.invoke_read(1, PLACE), None)
        writer.failed(writer.invoke_read(1, PLACE), NotYetVisible("not yet"))
        writer.unknown(writer.invoke(1, create()), StoreUnavailable("S3", "writing", "silence"))
        writer.invoke(1, create())
    history = read_history([path])
    ends = [operation.answer.kind if operation.answer else None for operation in history.operations]
    assert ends == [Kind.OK, Kind.FAIL, Kind.OK, Kind.OK, Kind.FAIL, Kind.INFO, None]
    assert [operation.ended_ns is None for operation in history.operations] == [False] * 5 + [True] * 2
    assert [found.answer.found for found in history.reads[:2] if found.answer] == [
        _found(3, document_digest(document)),
        _found(0, None),
    ]
    (seen,) = history.faults
    assert (seen.note.kind, seen.note.seed, seen.note.loses, seen.note.details) == (
        "topic_dropped",
        3,
        (Lost.STREAM,),
        {"partition": 1},
    )
    assert seen.ended_ns is not None
    assert seen.started_ns < seen.ended_ns
    assert history.runs == [{"seed": 7}]


def test_several_writers_and_files_form_one_history(tmp_path: Path):
    paths = [tmp_path / "a", tmp_path / "b"]
    writers = [HistoryWriter(path) for path in (*paths, *paths)]
    asked = [writer.invoke(number, create()) for number, writer in enumerate(writers)]
    for writer, op_id in zip(reversed(writers), reversed(asked), strict=True):
        writer.answered(op_id, APPLIED)
        writer.close()
    assert [operation.invoked.client for operation in read_history(paths).operations] == [0, 1, 2, 3]


def test_what_a_killed_writer_left_of_a_line_is_left_out(path: Path):
    with HistoryWriter(path) as writer:
        writer.invoke(1, create())
    path.write_bytes(path.read_bytes() + b'{"at_ns": 12, "kind": "o')
    assert len(read_history([path]).operations) == 1


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("hello", "line 1"),
        ('{"at_ns": 1, "kind": "maybe", "op_id": "x"}', "kind"),
        ('{"at_ns": 1, "kind": "invoke", "op_id": "x", "op": "command", "client": 1}', "invocation"),
        ('{"at_ns": 1, "kind": "ok", "op_id": "x"}', "ok has a result"),
        ('{"at_ns": 1, "kind": "fail", "op_id": "x"}', "fail has"),
        ('{"at_ns": 1, "kind": "info", "op_id": "x"}', "no start"),
        ('{"at_ns": 1, "kind": "fault_start", "op_id": "x"}', "fault"),
        ('{"at_ns": 1, "kind": "fault_end", "op_id": "x"}', "no start"),
    ],
)
def test_what_is_no_history_is_refused_by_line(path: Path, line: str, word: str):
    path.write_text(line + "\n")
    with pytest.raises(InputInvalid, match=word) as refused:
        read_history([path])
    assert "line 1" in refused.value.message


def _found(sequence_number: int, digest: str | None) -> ReadFound:
    return ReadFound(sequence_number=sequence_number, digest=digest)
