"""Events of one's own that delete: tombstone, no edges, values free, and a new life in the same stream."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from oncelog.domain.aggregates import DecisionContext, DomainCommand, DomainEvent, Refused, own_state, registered
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import Outcome, RejectionCode
from oncelog.testing import check_contract, given
from tests.classes import define
from tests.own_domain import ACCOUNT, Account, Deposit, Deposited, account_command, decide
from tests.write.world import World

A1 = AggregateId.of("shop", "Account", "a1")


class Close(DomainCommand):
    amount: int = 0


class AccountClosed(DomainEvent):
    deletes: ClassVar[bool] = True


def _decide(state: Account, command: Any, context: DecisionContext) -> DomainEvent | Refused:
    if not isinstance(command, Close):
        return decide(state, command, context)
    return AccountClosed() if state.owner else Refused("AccountMissing", "has no account")


CLOSABLE = replace(
    ACCOUNT,
    commands=(*ACCOUNT.commands, Close),
    events=(*ACCOUNT.events, AccountClosed),
    decide=_decide,
    unique={"owner": lambda account: account.owner or None},
)


@pytest.fixture
def world() -> Iterator[World]:
    with registered(CLOSABLE):
        yield World()


async def test_deleted_aggregate_leaves_a_tombstone(world: World):
    process = world.process()
    await process.run(account_command("DEPOSIT", 10))
    result = await process.run(account_command("CLOSE", 0))
    assert (result.outcome, result.sequence_number) == (Outcome.APPLIED, 2)
    world.check()
    state = await process.pipeline.reader.at(A1, 2)
    assert not state.exists
    assert own_state(state) == Account()
    (document,) = await process.ports.documents.read_documents([A1])
    assert document is not None
    assert (document.body["deleted"], document.body["data"]) == (True, {})
    node = world.graph.nodes[A1]
    assert (node.deleted, node.edges) == (True, {})
    world.check_shown()


async def test_next_command_begins_with_the_initial_state(world: World):
    await world.process().run(account_command("DEPOSIT", 10))
    await world.process().run(account_command("CLOSE", 0))
    refused = (await world.process().run(account_command("WITHDRAW", 1))).rejection
    assert refused is not None
    assert (refused.code, refused.details) == ("BalanceExceeded", {"balance": 0, "found_version": 2})
    await world.process().run(account_command("DEPOSIT", 3, expected_version=2))
    state = await world.process().pipeline.reader.at(A1, 3)
    assert (own_state(state), state.exists) == (Account(balance=3, owner="u1"), True)
    assert state.created_at == state.updated_at
    world.check()
    world.check_shown()


async def test_values_of_a_deleted_aggregate_are_free(world: World):
    await world.process().run(account_command("DEPOSIT", 10))
    held = (await world.process().run(account_command("DEPOSIT", 1, instance_id="a2"))).rejection
    assert held is not None
    assert held.code is RejectionCode.UNIQUE_VIOLATED
    await world.process().run(account_command("CLOSE", 0))
    taken = await world.process().run(account_command("DEPOSIT", 1, instance_id="a2"))
    assert taken.outcome is Outcome.APPLIED
    back = (await world.process().run(account_command("DEPOSIT", 1))).rejection
    assert back is not None
    assert back.details["holder"] == "shop/Account/a2"
    world.check()


async def test_deletion_is_not_held_to_the_definition(world: World):
    schema = {"type": "object", "properties": {"balance": {"minimum": 5}}, "required": ["balance"]}
    await world.process().run(define({"version": "1.0.0", "schema": schema}, class_id="Account"))
    await world.process().run(account_command("DEPOSIT", 10))
    refused = (await world.process().run(account_command("WITHDRAW", 6))).rejection
    assert refused is not None
    assert refused.code is RejectionCode.PAYLOAD_INVALID
    assert (await world.process().run(account_command("CLOSE", 0))).outcome is Outcome.APPLIED
    world.check()


def test_deletion_is_tested_without_a_server():
    opened = given(CLOSABLE, Deposited(amount=5, owner="u1"))
    closed = opened.when(Close()).then(AccountClosed())
    closed.when(Close()).then_refused("AccountMissing")
    assert closed.state == Account()
    assert closed.when(Deposit(amount=2)).then(Deposited(amount=2, owner="u1")).state == Account(balance=2, owner="u1")


def test_aggregate_that_deletes_keeps_its_contract():
    report = check_contract(CLOSABLE)
    assert report.problems == []
    assert "ACCOUNT_CLOSED" in report.made
