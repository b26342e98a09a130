"""A small domain of one's own: accounts that take deposits and withdrawals, and know who owns them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from oncelog.domain.aggregates import (
    Aggregate,
    DecisionContext,
    DomainCommand,
    DomainEvent,
    DomainState,
    InstanceId,
    Refused,
)
from oncelog.domain.commands import Command, parse_command
from oncelog.domain.schema_versions import Fields
from tests import commands

#: Bounded, so that no sum is beyond what JSON holds.
Amount = Annotated[int, Field(ge=0, le=10**9)]


class Deposit(DomainCommand):
    amount: Amount
    owner: InstanceId = "u1"


class Withdraw(DomainCommand):
    amount: Amount


class Deposited(DomainEvent):
    amount: int
    owner: str


def _with_currency(data: Fields) -> Fields:
    return {**data, "currency": "EUR"}


class Withdrawn(DomainEvent):
    first_version: ClassVar[str] = "1.0.0"
    migrations: ClassVar = (("1.1.0", _with_currency),)

    amount: int
    currency: str


class Account(DomainState):
    balance: int = 0
    owner: str = ""
    withdrawals: tuple[str, ...] = ()


def decide(state: Account, command: Deposit | Withdraw, _context: DecisionContext) -> Deposited | Withdrawn | Refused:
    match command:
        case Deposit():
            return Deposited(amount=command.amount, owner=command.owner)
        case Withdraw() if command.amount > state.balance:
            details = {"balance": state.balance}
            return Refused("BalanceExceeded", f"has {state.balance}, less than {command.amount}", details)
        case Withdraw():
            return Withdrawn(amount=command.amount, currency="EUR")


def evolve(state: Account, event: Deposited | Withdrawn) -> Account:
    match event:
        case Deposited():
            return state.model_copy(update={"balance": state.balance + event.amount, "owner": event.owner})
        case Withdrawn():
            withdrawals = (*state.withdrawals, event.currency)
            return state.model_copy(update={"balance": state.balance - event.amount, "withdrawals": withdrawals})


def _document(state: Account) -> Mapping[str, Any]:
    return {"balance": state.balance, "owner": {"name": state.owner}}


ACCOUNT = Aggregate(
    name="Account",
    state=Account,
    initial=Account(),
    commands=(Deposit, Withdraw),
    events=(Deposited, Withdrawn),
    decide=decide,
    evolve=evolve,
    document=_document,
    relationships=lambda state: {"owned_by": [f"User/{state.owner}"] if state.owner else []},
)


def _decide_otherwise(
    state: Account, command: Deposit | Withdraw, context: DecisionContext
) -> Deposited | Withdrawn | Refused:
    decision = decide(state, command, context)
    return decision if isinstance(decision, Refused) else decision.model_copy(update={"amount": 2 * decision.amount})


#: The same aggregate in a later release, which decides otherwise.
LATER_ACCOUNT = replace(ACCOUNT, decide=_decide_otherwise)


def account_command(command_type: str, amount: int, *, instance_id: str = "a1", **fields: Any) -> Command:
    """Return a command on an account, with an ID of its own."""
    return parse_command(
        {
            "command_id": commands.create().command_id,
            "command_type": command_type,
            "db_name": "shop",
            "class_id": "Account",
            "instance_id": instance_id,
            "payload": {"amount": amount},
            **fields,
        }
    )
