"""Commands of an aggregate of one's own on real servers: accepted, refused, and finished by a later release."""

import asyncio

import pytest

from oncelog.cli.exits import Exit
from oncelog.client.start_options import new_command_id
from oncelog.domain.aggregates import registered
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import CommandResult, Outcome
from oncelog.workflows.command import InstanceCommand
from tests.integration.installation import Installation
from tests.own_domain import LATER_ACCOUNT, account_command

pytestmark = pytest.mark.integration

A1 = AggregateId.of("shop", "Account", "a1")


async def test_own_commands_survive_a_kill_and_a_release(installation: Installation):
    """The worker that decided is killed after its record; the next one has code that decides otherwise."""
    worker = await (
        await installation.worker_process(ONCELOG_AGGREGATES="tests.own_domain:ACCOUNT", ONCELOG_CRASH_AFTER="record:3")
    ).ready()
    with registered(LATER_ACCOUNT):
        deposit, excess, withdrawal = (
            account_command(command_type, amount, command_id=new_command_id())
            for command_type, amount in (("DEPOSIT", 10), ("WITHDRAW", 11), ("WITHDRAW", 3))
        )
        # Any Temporal client starts it: a JSON object, under the command's ID.
        deposited = await installation.temporal.execute_workflow(
            InstanceCommand.__name__,
            deposit.as_json,
            id=deposit.command_id,
            task_queue=installation.settings.task_queue,
            result_type=CommandResult,
        )
        assert deposited.outcome is Outcome.APPLIED
        rejection = (await installation.client.submit(excess)).rejection
        assert rejection is not None
        assert (rejection.code, rejection.details["balance"]) == ("BalanceExceeded", 10)
        submitted = asyncio.create_task(installation.client.submit(withdrawal))
        assert await worker.ended() == -9
        async with installation.worker(), asyncio.timeout(180):
            result = await submitted
            document = await installation.client.get(A1, token=result.consistency_token)
        assert document is not None
        assert document.body["data"] == {"balance": 7, "owner": {"name": "u1"}}
        (events,) = (await installation.check()).values()
        assert [event.data for event in events] == [{"amount": 10, "owner": "u1"}, {"amount": 3, "currency": "EUR"}]
    code, (status,) = await installation.oncelog("status", excess.command_id)
    assert (code, status["result"]["rejection"]["code"]) == (1, "BalanceExceeded")
    code, lines = await installation.oncelog("get", str(A1), "--as-of", "1")
    assert (code, "install the package of the aggregate Account" in str(lines)) == (Exit.PARTLY, True)
