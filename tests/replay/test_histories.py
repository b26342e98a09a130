"""Workflows of earlier releases can be continued."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from oncelog.domain.aggregates import registered
from oncelog.workflows.arguments import INPUT_RULES
from oncelog.workflows.plugin import WORKFLOWS, oncelog_plugin
from tests.own_domain import ACCOUNT

#: Each change to a workflow that histories tell apart.
PATCHES = (INPUT_RULES, "sweep-classes", "invariants")

#: A payload of a history, base64.
DATA = re.compile(r'"data": "([^"]+)"')

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def history_of(path: Path) -> WorkflowHistory:
    stored = json.loads(path.read_text())
    return WorkflowHistory.from_json(stored.pop("workflow_id"), stored)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_history_is_replayed_to_the_same_commands(path: Path):
    replayed = await Replayer(workflows=[], plugins=[oncelog_plugin]).replay_workflow(history_of(path))
    assert replayed.replay_failure is None


@pytest.mark.parametrize("name", ["own_command", "own_command_refused"])
async def test_history_of_an_own_command_needs_no_code(name: str):
    """It is replayed by a worker that has the aggregate, and above by one that no longer has it."""
    (path,) = [path for path in HISTORIES if path.stem.partition("-")[2] == name]
    with registered(ACCOUNT):
        replayed = await Replayer(workflows=[], plugins=[oncelog_plugin]).replay_workflow(history_of(path))
    assert replayed.replay_failure is None


def test_every_way_a_workflow_can_go_has_a_history():
    from tests.replay.record import STORIES  # here, for the sandbox below imports this module, too

    assert {path.stem.partition("-")[2] for path in HISTORIES} == set(STORIES)
    text = "".join(path.read_text() for path in HISTORIES)
    for event in ("ACTIVITY_TASK_SCHEDULED", "MARKER_RECORDED", "UPDATE_COMPLETED", "CANCEL_REQUESTED", "TIMER_FIRED"):
        assert event in text
    for patch in PATCHES:
        assert any(patch in base64.b64decode(data).decode(errors="ignore") for data in DATA.findall(text)), patch
    assert "stackTrace" not in text
    assert "@" not in text  # no process and no host


@workflow.defn(name="InstanceCommand")
class Impatient:
    """A workflow that does something else first."""

    @workflow.run
    async def run(self, _: dict[str, Any]) -> None:
        await workflow.sleep(1)


async def test_a_workflow_that_does_something_else_is_found_out():
    assert WORKFLOWS[0].__name__ == "InstanceCommand"
    replayer = Replayer(workflows=[Impatient], data_converter=pydantic_data_converter)
    applied = next(path for path in HISTORIES if path.stem.endswith("-applied"))
    with pytest.raises(NondeterminismError):
        await replayer.replay_workflow(history_of(applied))
