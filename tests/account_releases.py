"""Two releases of accounts with a read model in SQL and a reaction, which load and faults meet together."""

import os
from collections.abc import Iterator
from typing import ClassVar

from sqlalchemy import Column, Integer, MetaData, String, Table

from oncelog import Event, NewCommand, Reaction
from oncelog.domain.aggregates import Aggregate, DecisionContext, DomainEvent, Refused
from oncelog.domain.schema_versions import Fields
from oncelog.sql import Add, SqlReadModel
from tests.own_domain import ACCOUNT, Account, Deposit, Deposited, Withdraw, Withdrawn, decide, evolve

FIRST = ACCOUNT


def _with_channel(data: Fields) -> Fields:
    return {**data, "channel": "branch"}


class DepositedLater(DomainEvent):
    type_name: ClassVar[str] = "DEPOSITED"
    migrations: ClassVar = (("1.1.0", _with_channel),)

    amount: int
    owner: str
    channel: str


def _decide(
    state: Account, command: Deposit | Withdraw, context: DecisionContext
) -> DepositedLater | Withdrawn | Refused:
    """Decide otherwise than the first release: each deposit counts twice."""
    decision = decide(state, command, context)
    if isinstance(decision, Deposited):
        return DepositedLater(amount=2 * decision.amount, owner=decision.owner, channel="web")
    return decision


def _evolve(state: Account, event: DepositedLater | Withdrawn) -> Account:
    if isinstance(event, DepositedLater):
        return evolve(state, Deposited(amount=event.amount, owner=event.owner))
    return evolve(state, event)


LATER = Aggregate(
    name=FIRST.name,
    state=Account,
    initial=Account(),
    commands=(Deposit, Withdraw),
    events=(DepositedLater, Withdrawn),
    decide=_decide,
    evolve=_evolve,
    state_version="2.0.0",
)

totals = Table(
    "deposits_per_owner",
    MetaData(),
    Column("owner", String(40), primary_key=True),
    Column("deposits", Integer, nullable=False),
    Column("amount", Integer, nullable=False),
)


def _count(event: Event) -> Iterator[Add]:
    yield Add(totals, {"owner": event.data["owner"]}, {"deposits": 1, "amount": event.data["amount"]})


deposits_per_owner = SqlReadModel(
    "deposits_per_owner",
    os.environ.get("SQL_TEST_URL", "sqlite://"),
    tables=[totals],
    changes=_count,
    classes=["shop/Account"],
    event_types=["DEPOSITED"],
)


def _receipt(event: Event) -> Iterator[NewCommand]:
    """Make a receipt, whose ID follows from its command's, so that two would show."""
    payload = {"account": event.instance_id, "amount": event.data["amount"]}
    yield NewCommand(command_type="CREATE_INSTANCE", db_name="shop", class_id="Receipt", payload=payload)


receipts = Reaction("receipts", _receipt, classes=["shop/Account"], event_types=["DEPOSITED"])
