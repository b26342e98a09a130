"""A short run of what ``make chaos`` does at length: some two minutes, one fault of each of a dozen kinds."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.users import VALUES
from tests.chaos.workers import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SEED, COMMANDS, CLIENTS, AGGREGATES = 21, 300, 12, 20
KINDS = (
    "worker_killed",
    "worker_crash_point",
    "projector_killed",
    "redis_flushed",
    "redis_refused_writes",
    "redis_rolled_back",
    "s3_put_errors",
    "s3_put_lost_answers",
    "s3_put_conflicts",
    "kafka_frozen",
    "temporal_wiped",
    "elasticsearch_index_deleted",
    "network_reset",
    "network_lost_answers",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of one run, in a process of its own as an operator starts it."""
    folder = tmp_path_factory.mktemp("chaos")
    sizes = ("--commands", str(COMMANDS), "--clients", str(CLIENTS), "--aggregates", str(AGGREGATES), "--no-shop")
    faults = ("--faults", str(len(KINDS)), "--kinds", ",".join(KINDS))
    argv = [sys.executable, "-m", "tests.chaos", "--seed", str(SEED), *sizes, *faults, "--folder", str(folder)]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    found = [*folder.glob(f"*/seed-{SEED}/report.json")]
    assert found, ended.stderr
    loaded: dict[str, Any] = json.loads(found[0].read_text())
    assert ended.returncode == (0 if loaded["well"] else 1), ended.stderr
    return loaded


def test_nothing_is_lost_doubled_or_out_of_order(report: dict[str, Any]):
    bad = ("lost", "duplicated", "gaps", "out_of_order", "stale_reads", "pending")
    assert {name: report[name] for name in bad} == dict.fromkeys(bad, 0)
    assert report["findings"] == []
    assert report["verdict"] == "sound"


def test_everything_ends_once_all_is_mended(report: dict[str, Any]):
    assert report["last_check"]["outcome"] == "CLEAN"
    assert report["stuck_workflows"] == []
    assert report["unknowns"]["answered"] == report["unknowns"]["commands"]
    assert report["answered"] == report["commands"]


def test_enough_happened(report: dict[str, Any]):
    assert report["commands"] >= COMMANDS
    assert report["clients"] == CLIENTS
    assert report["faults_by_kind"] == dict.fromkeys(sorted(KINDS), 1)
    assert report["reads"] > 0
    assert report["applied"] > COMMANDS / 2
    assert report["answers"]["CommandIdReused"] > 0


def test_unique_values_were_fought_over(report: dict[str, Any]):
    """Two holders of a value would be a finding, and there are none."""
    assert report["unique"]["values"] > VALUES / 2
    assert report["unique"]["handed_over"] > 0
    assert report["unique"]["refused"] > 0


def test_nobody_had_to_help(report: dict[str, Any]):
    for name in ("faults_with_trouble", "unnoticed_damage", "complaints"):
        assert report[name] == []


def test_hostile_input_is_refused(report: dict[str, Any]):
    assert report["answers"]["hostile: refused"] > 0


def test_nothing_of_it_runs_on(report: dict[str, Any]):
    """Every server's and every worker's process carries the folder of the run's stack as a mark."""
    assert report["stack"]
    mark = f"ONCELOG_STACK_PROCESS={report['stack']}/".encode()
    living = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environ.read_bytes():
                living.append(environ.parent.name)
        except OSError:
            continue  # ended meanwhile, or another process's
    assert living == []
