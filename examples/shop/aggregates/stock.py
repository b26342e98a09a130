"""The stock of one product; its instance ID is the product's."""

from pydantic import Field

from examples.shop.aggregates.customer import Quantity
from oncelog.domain.aggregates import (
    Aggregate,
    DecisionContext,
    DomainCommand,
    DomainEvent,
    DomainState,
    InstanceId,
    Refused,
)


class StockReceived(DomainEvent):
    quantity: int


class StockReserved(DomainEvent):
    order_id: str
    quantity: int


class StockReleased(DomainEvent):
    order_id: str
    quantity: int


class Stock(DomainState):
    available: int = 0
    reserved: dict[str, int] = Field(default_factory=dict)


def evolve(state: Stock, event: StockReceived | StockReserved | StockReleased) -> Stock:
    match event:
        case StockReceived():
            return state.model_copy(update={"available": state.available + event.quantity})
        case StockReserved():
            reserved = {**state.reserved, event.order_id: event.quantity}
            return Stock(available=state.available - event.quantity, reserved=reserved)
        case StockReleased():
            reserved = {order: quantity for order, quantity in state.reserved.items() if order != event.order_id}
            return Stock(available=state.available + event.quantity, reserved=reserved)


class ReceiveStock(DomainCommand):
    quantity: Quantity


class ReserveStock(DomainCommand):
    order_id: InstanceId
    quantity: Quantity


class ReleaseStock(DomainCommand):
    order_id: InstanceId


def decide(
    state: Stock, command: ReceiveStock | ReserveStock | ReleaseStock, _context: DecisionContext
) -> StockReceived | StockReserved | StockReleased | Refused:
    match command:
        case ReceiveStock():
            return StockReceived(quantity=command.quantity)
        case ReserveStock() if command.order_id in state.reserved:
            return Refused("ReservedBefore", f"order {command.order_id} has its stock already")
        case ReserveStock() if command.quantity > state.available:
            details = {"available": state.available, "quantity": command.quantity}
            return Refused("OutOfStock", f"has {state.available}, needs {command.quantity}", details)
        case ReserveStock():
            return StockReserved(order_id=command.order_id, quantity=command.quantity)
        case ReleaseStock() if command.order_id not in state.reserved:
            return Refused("NothingReserved", f"order {command.order_id} has no stock")
        case ReleaseStock():
            return StockReleased(order_id=command.order_id, quantity=state.reserved[command.order_id])


stock = Aggregate(
    name="Stock",
    state=Stock,
    initial=Stock(),
    commands=(ReceiveStock, ReserveStock, ReleaseStock),
    events=(StockReceived, StockReserved, StockReleased),
    decide=decide,
    evolve=evolve,
)
