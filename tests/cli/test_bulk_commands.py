"""Bulk commands from the command line, on real servers."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.bulks import item, ndjson
from tests.cli.test_command_line import answer, run, variables, worker

pytestmark = pytest.mark.integration

__all__ = ["variables", "worker"]  # fixtures, on a namespace and a worker of this module's own


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "items.ndjson"
    path.write_bytes(ndjson([item(f"p{number}", {"n": number, "text": "x" * 200}) for number in range(700)]))
    return path


def lines(found: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in found.stdout.splitlines()]


def submit(variables: Mapping[str, str], *arguments: str, given: str | None = None):
    return run(variables, ["submit", *arguments, "--json"], given=given)


@pytest.mark.usefixtures("worker")
def test_file_is_one_command_with_a_result_per_item(variables: dict[str, str], file: Path):
    created = submit(variables, "create", "shop/Product", "--bulk", str(file), "--id", "load-1", "--actor", "ann")
    assert created.returncode == 0, created.stderr
    assert answer(created)["counts"] == {"items": 700, "applied": 700, "rejected": 0, "not_attempted": 0}
    assert "attach again with: oncelog status load-1 --wait" in created.stderr

    again = submit(variables, "create", "shop/Product", "--bulk", str(file), "--id", "load-1", "--actor", "ann")
    assert (again.returncode, answer(again)) == (0, answer(created))

    status = run(variables, ["status", "load-1", "--wait", "--json"])
    assert (status.returncode, answer(status)["result"]) == (0, answer(created))
    shown = run(variables, ["status", "load-1"])
    assert "oncelog bulk results load-1" in shown.stdout
    progress = run(variables, ["bulk", "status", "load-1", "--json"])
    assert (answer(progress)["stage"], answer(progress)["chunks_done"]) == ("DONE", 2)

    results = lines(run(variables, ["bulk", "results", "load-1"]))
    assert [line["index"] for line in results] == list(range(700))
    document = run(variables, ["get", "shop/Product/p699", "--json"])
    assert answer(document)["sequence_number"] == 1


@pytest.mark.usefixtures("worker")
def test_items_that_are_rejected_are_findings(variables: dict[str, str]):
    given = ndjson([item("r1"), item("r1"), item("r2")]).decode()
    found = submit(variables, "create", "shop/Product", "--bulk", "-", "--id", "twice", given=given)
    assert found.returncode == 1, found.stderr
    assert answer(found)["counts"] == {"items": 3, "applied": 2, "rejected": 1, "not_attempted": 0}
    (rejected,) = lines(run(variables, ["bulk", "results", "twice", "--only", "rejected"]))
    assert (rejected["index"], rejected["outcome"]) == (1, "REJECTED")
    assert run(variables, ["status", "twice"]).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "given", "problem"),
    [
        (["create", "shop/Product", "--bulk", "-"], '{"instance_id": "p1"}\n{"instance_id": 7}\n', "line 2"),
        (["update", "shop/Product", "--bulk", "-"], '{"payload": {}}\n', "expected one for UPDATE_INSTANCE"),
        (["delete", "shop/Product", "--bulk", "-"], '{"instance_id": "a", "payload": {"n": 1}}\n', "leave it out"),
        (["create", "shop/Product", "--bulk", "-"], "", "at least one"),
        (["create", "shop/Product/p1", "--bulk", "-"], "{}\n", "expected DB/CLASS"),
        (["create", "shop/Product", "--bulk", "-", "-p", "{}"], "{}\n", "its own payload"),
        (["create", "--bulk", "-"], "{}\n", "DB/CLASS --bulk FILE"),
        (["create", "shop/Product", "--bulk", "nowhere.ndjson"], "", "nowhere.ndjson"),
    ],
)
def test_invalid_items_are_refused_before_upload(
    variables: dict[str, str], arguments: Sequence[str], given: str, problem: str
):
    found = run(variables, ["submit", *arguments], given=given)
    assert found.returncode == 2, found.stderr
    assert problem in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.usefixtures("worker")
def test_rejected_items_are_submitted_once_more(variables: dict[str, str], tmp_path: Path):
    path = tmp_path / "items.csv"
    path.write_text("instance_id,name\na1,Lamp\na2,Desk\na1,Chair\n")
    dry = run(variables, ["submit", "create", "shop/Again", "--bulk", str(path), "--dry-run", "--json"])
    assert (dry.returncode, answer(dry)["items"], answer(dry)["sent"]) == (0, 3, False)
    first = run(variables, ["submit", "create", "shop/Again", "--bulk", str(path), "--id", "again-1", "--json"])
    assert (first.returncode, answer(first)["counts"]["rejected"]) == (1, 1), first.stderr
    left = run(variables, ["bulk", "items", "again-1"])
    assert lines(left) == [{"instance_id": "a1", "payload": {"name": "Chair"}}]
    mended = left.stdout.replace("a1", "a3")
    second = run(
        variables, ["submit", "create", "shop/Again", "--bulk", "-", "--id", "again-2", "--json"], given=mended
    )
    assert (second.returncode, answer(second)["counts"]["applied"]) == (0, 1), second.stderr


def test_every_bad_line_of_the_items_is_named(variables: dict[str, str]):
    given = '{"instance_id": 7}\n{"instance_id": "a"}\nno\n'
    found = run(variables, ["submit", "create", "shop/Product", "--bulk", "-"], given=given)
    assert found.returncode == 2
    assert all(f"line {number}: " in found.stderr for number in (1, 3))
    assert "line 2" not in found.stderr


@pytest.mark.usefixtures("worker")
def test_what_has_ended_cannot_be_steered_any_more(variables: dict[str, str]):
    submit(variables, "create", "shop/Product", "--bulk", "-", "--id", "short", given='{"instance_id": "s1"}\n')
    for verb in ("pause", "resume", "cancel"):
        found = run(variables, ["bulk", verb, "short"])
        assert (found.returncode, "already" in found.stderr) == (2, True)
    assert run(variables, ["bulk", "status", "nobody"]).returncode == 1
