"""Topics of a running installation: grown by an operator, and lost with all that was in them."""

import asyncio

import pytest

from tests.commands import create, update
from tests.contract.topics import drop_topic, grow_topic, set_topic_setting
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

NOTICED_S = 120.0
INSTANCES = [f"p{number}" for number in range(30)]


async def _submit_all(installation: Installation, *, new: bool = False) -> None:
    for instance_id in INSTANCES:
        await installation.client.submit(create(instance_id) if new else update(instance_id))


async def test_topic_grown_while_running_verifies_sound(installation: Installation):
    async with installation.worker():
        await _submit_all(installation, new=True)
        await grow_topic(installation.settings, 12)
        await _submit_all(installation)
    async with installation.worker():  # a process that never saw six partitions
        await _submit_all(installation)
    logs = await installation.check()
    assert [len(events) for events in logs.values()] == [3] * len(INSTANCES)
    code, printed = await installation.oncelog("verify")
    assert (code, printed[-1]["verdict"]) == (0, "sound")


async def test_lost_topic_is_published_once_more(installation: Installation):
    async with installation.worker():
        await _submit_all(installation, new=True)
        await _submit_all(installation)
        await drop_topic(installation.settings)
        async with asyncio.timeout(NOTICED_S):  # the worker looks at its topics every few seconds
            while True:
                code, (report,) = await installation.oncelog("check", "--repair", "--grace-s", "0")
                if report["outcome"] != "CLEAN":
                    break
        assert (code, report["outcome"], report["tally"]["published"]) == (0, "REPAIRED", len(INSTANCES))
        await _submit_all(installation)
    await installation.check()
    code, printed = await installation.oncelog("verify")
    assert (code, printed[-1]["verdict"]) == (0, "sound")


async def test_programs_refuse_a_narrow_topic(installation: Installation):
    await set_topic_setting(installation.settings, "max.message.bytes", "1000")
    for process in (await installation.worker_process(), await installation.projector_process("documents")):
        assert await process.ended() != 0
        assert f"topic {installation.settings.instance_topic}: expected" in process.output()
        assert "max.message.bytes at least" in process.output()
        assert "kafka-configs --bootstrap-server" in process.output()
        assert "Traceback" not in process.output()
