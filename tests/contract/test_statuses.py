"""``CommandStatuses``: claimed once, complete even if forgotten."""

import asyncio
from dataclasses import replace

from oncelog.domain.results import CommandResult, Outcome
from oncelog.ports import CommandStatus, Stage
from tests.contract.conftest import Redis

ACCEPTED = CommandStatus(
    command_id="c1",
    command_hash="h1",
    command_type="CREATE_INSTANCE",
    aggregate_id="shop/Product/p1",
    stage=Stage.ACCEPTED,
    history=((Stage.ACCEPTED, "t1"),),
)
RESULT = CommandResult(
    command_id="c1",
    command_hash="h1",
    outcome=Outcome.APPLIED,
    aggregate_id="shop/Product/p1",
    sequence_number=1,
    event_id="e1",
    consistency_token="token",
)
COMPLETED = replace(ACCEPTED, stage=Stage.COMPLETED, history=((Stage.COMPLETED, "t9"),), result=RESULT)


async def test_the_first_claim_stands(redis: Redis):
    assert await redis.statuses.read_status("c1") is None
    assert await redis.statuses.claim_command(ACCEPTED) is None
    assert await redis.statuses.claim_command(replace(ACCEPTED, command_hash="h2")) == ACCEPTED
    assert await redis.statuses.read_status("c1") == ACCEPTED


async def test_of_many_claims_at_once_one_is_first(redis: Redis):
    found = await asyncio.gather(*(redis.statuses.claim_command(ACCEPTED) for _ in range(10)))
    assert found.count(None) == 1


async def test_stages_keep_their_first_time_and_their_order(redis: Redis):
    await redis.statuses.claim_command(ACCEPTED)
    reached = ((Stage.PROJECTED, "t4"), (Stage.PERSISTED, "t2"), (Stage.COMPLETED, "t9"))
    again = ((Stage.PERSISTED, "t8"), (Stage.PUBLISHED, "t3"), (Stage.PUBLISHED, "t5"))
    await redis.statuses.complete_command(replace(COMPLETED, history=reached))
    await redis.statuses.complete_command(replace(COMPLETED, history=again))
    status = await redis.statuses.read_status("c1")
    assert status is not None
    assert status.stage is Stage.COMPLETED
    assert status.history == (
        (Stage.ACCEPTED, "t1"),
        (Stage.PERSISTED, "t2"),
        (Stage.PUBLISHED, "t3"),
        (Stage.PROJECTED, "t4"),
        (Stage.COMPLETED, "t9"),
    )


async def test_a_forgotten_command_is_known_again_when_it_is_complete(redis: Redis):
    await redis.statuses.complete_command(COMPLETED)
    assert await redis.statuses.read_status("c1") == COMPLETED


async def test_completion_keeps_the_history_and_the_result(redis: Redis):
    await redis.statuses.claim_command(ACCEPTED)
    await redis.statuses.complete_command(COMPLETED)
    await redis.statuses.complete_command(replace(COMPLETED, history=((Stage.COMPLETED, "t99"),)))
    status = await redis.statuses.read_status("c1")
    assert status == replace(COMPLETED, history=((Stage.ACCEPTED, "t1"), (Stage.COMPLETED, "t9")))
    assert await redis.statuses.claim_command(ACCEPTED) == status


async def test_completion_replaces_what_stands_of_other_content(redis: Redis):
    await redis.statuses.claim_command(replace(ACCEPTED, command_hash="other"))
    await redis.statuses.complete_command(COMPLETED)
    assert await redis.statuses.read_status("c1") == COMPLETED
