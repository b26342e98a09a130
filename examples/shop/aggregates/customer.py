"""A customer: how much credit there is, and which orders use it. No two customers have the same e-mail."""

from typing import Annotated, ClassVar

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

Cents = Annotated[int, Field(ge=0, le=10**12)]
Quantity = Annotated[int, Field(ge=1, le=10**6)]


class AccountOpened(DomainEvent):
    """1.1.0 says the e-mail, which customers had none of before."""

    migrations: ClassVar = (("1.1.0", lambda data: {**data, "email": None}),)

    name: str
    email: str | None
    credit_limit_cents: int


class OrderPlaced(DomainEvent):
    order_id: str
    product_id: str
    quantity: int
    total_cents: int


class OrderSettled(DomainEvent):
    """1.1.0 says which product is to be shipped; an event of 1.0.0 does not, and has quantity 0."""

    migrations: ClassVar = (("1.1.0", lambda data: {**data, "product_id": "", "quantity": 0}),)

    order_id: str
    product_id: str
    quantity: int
    total_cents: int


class OrderCancelled(DomainEvent):
    order_id: str
    total_cents: int
    reason: str


class OpenOrder(DomainState):
    product_id: str
    quantity: int
    total_cents: int


class Customer(DomainState):
    """``open_orders``: each order that uses credit; ``closed_orders``: orders that do no more."""

    name: str | None = None
    email: str | None = None
    credit_limit_cents: int = 0
    open_orders: dict[str, OpenOrder] = Field(default_factory=dict)
    closed_orders: tuple[str, ...] = ()

    @property
    def free_cents(self) -> int:
        return self.credit_limit_cents - sum(order.total_cents for order in self.open_orders.values())


def evolve(state: Customer, event: AccountOpened | OrderPlaced | OrderSettled | OrderCancelled) -> Customer:
    match event:
        case AccountOpened():
            opened = {"name": event.name, "email": event.email, "credit_limit_cents": event.credit_limit_cents}
            return state.model_copy(update=opened)
        case OrderPlaced():
            placed = OpenOrder(product_id=event.product_id, quantity=event.quantity, total_cents=event.total_cents)
            return state.model_copy(update={"open_orders": {**state.open_orders, event.order_id: placed}})
        case OrderSettled() | OrderCancelled():
            still_open = {key: order for key, order in state.open_orders.items() if key != event.order_id}
            closed = (*state.closed_orders, event.order_id)
            return state.model_copy(update={"open_orders": still_open, "closed_orders": closed})


class OpenAccount(DomainCommand):
    name: str
    email: Annotated[str, Field(max_length=200)] | None = None
    credit_limit_cents: Cents


class PlaceOrder(DomainCommand):
    order_id: InstanceId
    product_id: InstanceId
    quantity: Quantity
    total_cents: Cents


class SettleOrder(DomainCommand):
    order_id: InstanceId


class CancelOrder(DomainCommand):
    order_id: InstanceId
    reason: str


def decide(
    state: Customer, command: OpenAccount | PlaceOrder | SettleOrder | CancelOrder, _context: DecisionContext
) -> AccountOpened | OrderPlaced | OrderSettled | OrderCancelled | Refused:
    match command:
        case OpenAccount():
            return AccountOpened(name=command.name, email=command.email, credit_limit_cents=command.credit_limit_cents)
        case _ if state.name is None:
            return Refused("AccountMissing", "has no account; open one first")
        case PlaceOrder():
            return _place(state, command)
        case SettleOrder() | CancelOrder() if command.order_id not in state.open_orders:
            return Refused("OrderNotOpen", f"order {command.order_id} is not open", {"order_id": command.order_id})
        case SettleOrder():
            return OrderSettled(order_id=command.order_id, **state.open_orders[command.order_id].model_dump())
        case CancelOrder():
            total_cents = state.open_orders[command.order_id].total_cents
            return OrderCancelled(order_id=command.order_id, total_cents=total_cents, reason=command.reason)


def _place(state: Customer, command: PlaceOrder) -> OrderPlaced | Refused:
    if command.order_id in state.open_orders or command.order_id in state.closed_orders:
        return Refused("OrderExists", f"order {command.order_id} was placed before", {"order_id": command.order_id})
    if command.total_cents > state.free_cents:
        details = {"free_cents": state.free_cents, "total_cents": command.total_cents}
        return Refused("CreditExceeded", f"has {state.free_cents} cents left, needs {command.total_cents}", details)
    return OrderPlaced(
        order_id=command.order_id,
        product_id=command.product_id,
        quantity=command.quantity,
        total_cents=command.total_cents,
    )


customer = Aggregate(
    name="Customer",
    state=Customer,
    initial=Customer(),
    commands=(OpenAccount, PlaceOrder, SettleOrder, CancelOrder),
    events=(AccountOpened, OrderPlaced, OrderSettled, OrderCancelled),
    decide=decide,
    evolve=evolve,
    document=lambda state: {
        "name": state.name,
        "credit_limit_cents": state.credit_limit_cents,
        "free_cents": state.free_cents,
        "open_orders": sorted(state.open_orders),
    },
    unique={"email": lambda state: state.email.casefold() if state.email else None},
    state_version="3.0.0",  # customers have e-mails since, open orders their products since 2.0.0
)
