"""The command line as an operator uses it, on real servers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from oncelog.client.client import new_command_id
from oncelog.domain.commands import parse_command
from oncelog.verification.history import HistoryWriter

pytestmark = pytest.mark.integration
READY_S = 60
#: So that a test leaves no schedule at Temporal.
NO_SCHEDULES = {f"ONCELOG_{name}_INTERVAL_S": "0" for name in ("CHECK", "ARCHIVE", "REPLAY")}
COMMAND = {"command_type": "CREATE_INSTANCE", "db_name": "audit", "class_id": "Product", "instance_id": "p2"}


@pytest.fixture(scope="module")
def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which every program finds the servers, in a namespace of this module's own."""
    return {**os.environ, **environment, "ONCELOG_NAMESPACE": f"cli-{os.urandom(4).hex()}", **NO_SCHEDULES}


@pytest.fixture(scope="module")
def worker(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    log = tmp_path_factory.mktemp("worker") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "oncelog.worker"], env=variables, stderr=output)
    try:
        until = time.monotonic() + 180  # as long as its end may take
        while "worker_ready" not in log.read_text():  # only then is there a bucket
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        assert process.wait(timeout=180) == 0, log.read_text()


def run(
    variables: Mapping[str, str], arguments: Sequence[str], *, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", "from oncelog.cli import main; main()", *arguments]
    return subprocess.run(
        argv, env=dict(variables), input=given, capture_output=True, text=True, timeout=READY_S, check=False
    )


def answer(found: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return dict(json.loads(found.stdout))


@pytest.mark.usefixtures("worker")
def test_an_instance_is_created_shown_changed_and_deleted(variables: dict[str, str]):
    created = run(variables, ["submit", "create", "shop/Product/p1", "-p", '{"name": "Lamp", "price": 7}', "--json"])
    assert created.returncode == 0, created.stderr
    assert (answer(created)["outcome"], answer(created)["sequence_number"]) == ("APPLIED", 1)

    updated = run(variables, ["submit", "update", "shop/Product/p1", "-p", '{"price": null}', "--early", "--json"])
    token = str(answer(updated)["consistency_token"])
    shown = run(variables, ["get", "shop/Product/p1", "--token", token, "--json"])
    assert (answer(shown)["data"], answer(shown)["sequence_number"]) == ({"name": "Lamp"}, 2)
    assert "Lamp" in run(variables, ["get", "shop/Product/p1"]).stdout

    assert run(variables, ["submit", "delete", "shop/Product/p1"]).returncode == 0
    gone = run(variables, ["get", "shop/Product/p1"])
    assert (gone.returncode, "was deleted at version 3" in gone.stderr) == (1, True)

    history = run(variables, ["history", "shop/Product/p1", "--json"])
    types = [json.loads(text)["event_type"] for text in history.stdout.splitlines()]
    assert types == ["INSTANCE_CREATED", "INSTANCE_UPDATED", "INSTANCE_DELETED"]


@pytest.mark.usefixtures("worker")
def test_versions_are_compared_and_an_earlier_one_is_restored(variables: dict[str, str]):
    target = "shop/Chair/c1"
    assert run(variables, ["submit", "create", target, "-p", '{"name": "Oak", "price": 7}']).returncode == 0
    assert run(variables, ["submit", "update", target, "-p", '{"price": 9, "sale": true}']).returncode == 0
    compared = run(variables, ["diff", target, "1", "--json"])
    assert [json.loads(line) for line in compared.stdout.splitlines()] == [
        {"path": "/price", "before": 7, "after": 9},
        {"path": "/sale", "after": True},
    ]
    assert (compared.returncode, run(variables, ["diff", target, "2"]).returncode) == (1, 0)

    restored = run(variables, ["restore", target, "--to", "1", "--json"])
    assert (restored.returncode, answer(restored)["sequence_number"]) == (0, 3), restored.stderr
    assert run(variables, ["diff", target, "1", "3"]).returncode == 0
    assert "nothing was sent" in run(variables, ["restore", target, "--to", "1"]).stderr

    assert run(variables, ["submit", "delete", target]).returncode == 0
    again = run(variables, ["restore", target, "--to", "2", "--json"])
    assert (again.returncode, answer(again)["sequence_number"]) == (0, 5), again.stderr
    assert run(variables, ["restore", target, "--to", "4"]).returncode == 2
    assert "expected a version up to 5" in run(variables, ["restore", target, "--to", "9"]).stderr

    token = str(answer(again)["consistency_token"])
    assert run(variables, ["search", "shop/Chair", "--sort", "-/sale", "--token", token]).returncode == 0
    assert "expected a JSON Pointer" in run(variables, ["search", "shop/Chair", "--sort", "-"]).stderr
    listed = run(variables, ["list", "shop", "--json"])
    entries = {entry["class_id"]: entry for entry in map(json.loads, listed.stdout.splitlines())}
    assert (entries["Chair"]["instances"], entries["Chair"]["version"]) == (1, None)
    assert "shop/Chair" in run(variables, ["list"]).stdout
    assert run(variables, ["list", "nowhere"]).returncode == 1


@pytest.mark.usefixtures("worker")
def test_events_are_followed_each_once(variables: dict[str, str]):
    target, begun = "shop/Followed/f1", ["--since", "2026-01-01T00:00:00Z"]
    for action, payload in (("create", '{"n": 1}'), ("update", '{"n": 2}'), ("update", '{"n": 3}')):
        assert run(variables, ["submit", action, target, "-p", payload]).returncode == 0
    found = run(variables, ["tail", "shop/Followed", "--from-beginning", "--json", "-n", "3"])
    events = [json.loads(line) for line in found.stdout.splitlines()]
    assert [(event["sequence_number"], event["data"]) for event in events] == [(n, {"n": n}) for n in (1, 2, 3)]
    updates = run(variables, ["tail", target, "--type", "INSTANCE_UPDATED", *begun, "-n", "2"])
    assert (updates.returncode, updates.stdout.count("INSTANCE_UPDATED")) == (0, 2)
    assert run(variables, ["tail", "--from-beginning", *begun]).returncode == 2


@pytest.mark.usefixtures("worker")
def test_following_ends_with_ctrl_c(variables: dict[str, str]):
    assert run(variables, ["submit", "create", "shop/Followed/f2"]).returncode == 0
    argv = [sys.executable, "-c", "from oncelog.cli import main; main()", "tail", "--from-beginning"]
    with subprocess.Popen(argv, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=READY_S) == 130
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


@pytest.mark.usefixtures("worker")
def test_repeated_command_returns_its_first_result(variables: dict[str, str]):
    command_id = new_command_id()
    arguments = ["submit", "create", "shop/Product/p2", "--id", command_id, "--json"]
    first, again = run(variables, arguments), run(variables, arguments)
    assert (first.returncode, again.returncode) == (0, 0)
    assert answer(again) == answer(first) | {"duplicate": True}
    other = run(variables, [*arguments, "-p", '{"a": 1}'])
    assert (other.returncode, answer(other)["rejection"]["code"]) == (1, "CommandIdReused")
    status = answer(run(variables, ["status", command_id, "--json"]))
    first_result = {name: value for name, value in answer(first).items() if name != "duplicate"}
    assert (status["stage"], status["result"]) == ("COMPLETED", first_result)


@pytest.mark.usefixtures("worker")
def test_commands_from_stdin_keep_their_order_per_instance(variables: dict[str, str]):
    lines = [
        {
            "command_id": new_command_id(),
            "command_type": "CREATE_INSTANCE" if version == 0 else "UPDATE_INSTANCE",
            "db_name": "shop",
            "class_id": "Bulk",
            "instance_id": f"i{number}",
            "payload": {"version": version},
            "expected_version": version,
        }
        for version in range(3)
        for number in range(5)
    ]
    text = "\n".join(json.dumps(fields) for fields in lines)
    found = run(variables, ["submit", "--file", "-", "--json"], given=text)
    assert found.returncode == 0, found.stderr
    results = [json.loads(row) for row in found.stdout.splitlines()]
    assert [result["command_id"] for result in results] == [fields["command_id"] for fields in lines]
    assert [result["sequence_number"] for result in results] == [number for number in (1, 2, 3) for _ in range(5)]


@pytest.mark.usefixtures("worker")
def test_a_rejected_command_ends_with_its_reason_and_exit_code_1(variables: dict[str, str]):
    found = run(variables, ["submit", "update", "shop/Product/nobody", "-p", "{}"])
    assert (found.returncode, "InstanceNotFound" in found.stdout) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["submit"], 2, "expected create|update|delete"),
        (["submit", "create", "shop/Product/p1", "-p", "{"], 2, "not JSON"),
        (["submit", "--file", "/nowhere/x"], 2, "No such file"),
        (["get", "shop"], 2, "DB/CLASS/INSTANCE"),
        (["get", "shop/Product/never"], 1, "does not exist"),
        (["get", "shop/Product/never", "--token", "x"], 2, "consistency token"),
        (["history", "shop/Product/never"], 1, "no events"),
        (["status", "never-submitted"], 1, "CommandUnknown"),
        (["status", "a/b"], 2, "command_id"),
    ],
)
def test_each_error_has_its_message_and_exit_code(
    worker: subprocess.Popen[bytes], variables: dict[str, str], arguments: list[str], code: int, word: str
):
    found = run(variables, arguments)
    assert (found.returncode, word in found.stderr) == (code, True), found.stderr
    assert worker.poll() is None


def test_a_server_out_of_reach_is_named_with_exit_code_3(variables: dict[str, str]):
    nowhere = {**variables, "TEMPORAL_ADDRESS": "127.0.0.1:1"}
    found = run(nowhere, ["submit", "create", "shop/Product/p3"])
    assert (found.returncode, "Temporal at 127.0.0.1:1" in found.stderr) == (3, True), found.stderr


def test_a_bad_setting_is_named_with_exit_code_2(variables: dict[str, str]):
    found = run({**variables, "ONCELOG_LEASE_MS": "soon"}, ["get", "shop/Product/p1"])
    assert (found.returncode, "ONCELOG_LEASE_MS" in found.stderr) == (2, True), found.stderr


@pytest.mark.usefixtures("worker")
def test_worker_output_is_verified_and_a_false_history_fails(variables: dict[str, str], tmp_path: Path):
    command_id = new_command_id()
    run(variables, ["submit", "create", "audit/Product/p1", "--id", command_id])
    sound = run(variables, ["verify", "--db", "audit", "--json"])
    assert (sound.returncode, answer(sound)["verdict"]) == (0, "sound"), sound.stdout
    assert answer(sound)["read"] == {
        "aggregates": 1,
        "events": 1,
        "commands": 1,
        "messages": 1,
        "duplicates": 0,
        "documents": 1,
        "nodes": 1,
    }
    assert "1 events of 1 aggregates" in run(variables, ["verify", "--db", "audit"]).stdout
    history = tmp_path / "history"
    with HistoryWriter(history) as writer:
        writer.invoke(1, parse_command({**COMMAND, "command_id": new_command_id()}))
    violated = run(variables, ["verify", "--db", "audit", "--history", str(history), "--json"])
    assert (violated.returncode, answer(violated)["verdict"]) == (1, "violated")
    codes = {finding["code"] for finding in answer(violated)["findings"]}
    assert codes == {"NeverSent", "TooQuiet"}
    history.write_text("nothing\n")
    refused = run(variables, ["verify", "--history", str(history)])
    assert (refused.returncode, "line 1" in refused.stderr) == (2, True)


def test_verify_names_a_server_out_of_reach_with_exit_code_3(variables: dict[str, str]):
    found = run({**variables, "ONCELOG_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, ["verify"])
    assert (found.returncode, "Kafka at 127.0.0.1:1" in found.stderr) == (3, True), found.stderr


def of_check(found: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """Return the line about the schedule of consistency checks."""
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    return next(line for line in lines if line["name"] == "consistency-check")


def test_schedules_are_applied_listed_and_paused(variables: dict[str, str]):
    own = variables | {"ONCELOG_NAMESPACE": f"cli-{os.urandom(4).hex()}", "ONCELOG_CHECK_INTERVAL_S": "7200"}
    try:
        assert run(own, ["schedules", "list"]).returncode == 1
        assert of_check(run(own, ["schedules", "apply", "--json"]))["change"] == "created"
        assert run(own, ["schedules", "pause", "consistency-check", "--note", "disk is full"]).returncode == 0
        listed = run(own, ["schedules", "list", "--json"])
        found = of_check(listed)
        assert (listed.returncode, found["interval_s"], found["note"]) == (0, 7200, "disk is full")
        assert "paused: disk is full" in run(own, ["schedules", "list"]).stdout
        assert run(own, ["schedules", "resume", "consistency-check"]).returncode == 0
        assert of_check(run(own, ["schedules", "list", "--json"]))["paused"] is False
        unknown = run(own, ["schedules", "trigger", "consistency"])
        assert (unknown.returncode, "expected one of consistency-check" in unknown.stderr) == (2, True)
    finally:
        deleted = run(own | NO_SCHEDULES, ["schedules", "apply", "--json"])
    assert of_check(deleted)["change"] == "deleted"
