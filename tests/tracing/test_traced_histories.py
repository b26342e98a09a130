"""A worker with traces continues the workflows of workers without them."""

import pytest
from temporalio.worker import Replayer

from oncelog.client import connection
from oncelog.workflows.plugin import oncelog_plugin
from tests.replay.test_histories import HISTORIES, history_of


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_worker_with_traces_replays_a_history(path):
    interceptors = connection.trace_interceptors()
    assert interceptors
    replayer = Replayer(workflows=[], plugins=[oncelog_plugin], interceptors=interceptors)
    assert (await replayer.replay_workflow(history_of(path))).replay_failure is None
