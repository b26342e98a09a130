"""The shipment of one order; its instance ID is the order's."""

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


class OrderShipped(DomainEvent):
    customer_id: str
    product_id: str
    quantity: int


class Shipment(DomainState):
    customer_id: str | None = None
    product_id: str | None = None
    quantity: int = 0


def evolve(_state: Shipment, event: OrderShipped) -> Shipment:
    return Shipment(customer_id=event.customer_id, product_id=event.product_id, quantity=event.quantity)


class ShipOrder(DomainCommand):
    customer_id: InstanceId
    product_id: InstanceId
    quantity: Quantity


def decide(state: Shipment, command: ShipOrder, _context: DecisionContext) -> OrderShipped | Refused:
    if state.customer_id is not None:
        return Refused("ShippedBefore", "was shipped before")
    return OrderShipped(customer_id=command.customer_id, product_id=command.product_id, quantity=command.quantity)


shipment = Aggregate(
    name="Shipment",
    state=Shipment,
    initial=Shipment(),
    commands=(ShipOrder,),
    events=(OrderShipped,),
    decide=decide,
    evolve=evolve,
    relationships=lambda state: {"shipped_to": [f"Customer/{state.customer_id}"] if state.customer_id else []},
)
