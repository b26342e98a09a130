"""The payment of one order; its instance ID is the order's."""

from examples.shop.aggregates.customer import Cents
from oncelog.domain.aggregates import (
    Aggregate,
    DecisionContext,
    DomainCommand,
    DomainEvent,
    DomainState,
    InstanceId,
    Refused,
)


class PaymentTaken(DomainEvent):
    customer_id: str
    amount_cents: int


class PaymentRefunded(DomainEvent):
    amount_cents: int
    reason: str


class Payment(DomainState):
    customer_id: str | None = None
    amount_cents: int = 0
    refunded: bool = False


def evolve(state: Payment, event: PaymentTaken | PaymentRefunded) -> Payment:
    match event:
        case PaymentTaken():
            return Payment(customer_id=event.customer_id, amount_cents=event.amount_cents)
        case PaymentRefunded():
            return state.model_copy(update={"refunded": True})


class TakePayment(DomainCommand):
    customer_id: InstanceId
    amount_cents: Cents


class RefundPayment(DomainCommand):
    reason: str


def decide(
    state: Payment, command: TakePayment | RefundPayment, _context: DecisionContext
) -> PaymentTaken | PaymentRefunded | Refused:
    match command:
        case TakePayment() if state.customer_id is not None:
            return Refused("PaymentTakenBefore", "was taken before")
        case TakePayment():
            return PaymentTaken(customer_id=command.customer_id, amount_cents=command.amount_cents)
        case RefundPayment() if state.customer_id is None or state.refunded:
            return Refused("NothingToRefund", "was not taken, or is refunded already")
        case RefundPayment():
            return PaymentRefunded(amount_cents=state.amount_cents, reason=command.reason)


payment = Aggregate(
    name="Payment",
    state=Payment,
    initial=Payment(),
    commands=(TakePayment, RefundPayment),
    events=(PaymentTaken, PaymentRefunded),
    decide=decide,
    evolve=evolve,
    relationships=lambda state: {"paid_by": [f"Customer/{state.customer_id}"] if state.customer_id else []},
)
