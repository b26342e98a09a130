"""The reaction of the shop: each settled order is shipped."""

from collections.abc import Iterator

from examples.shop.aggregates.customer import OrderSettled
from examples.shop.aggregates.shipment import ShipOrder, shipment
from examples.shop.names import DB_NAME
from oncelog import Event, NewCommand, Reaction
from oncelog.domain.aggregates import own_event


def ship(event: Event) -> Iterator[NewCommand]:
    """Ship the order; orders settled before events named the product were shipped by hand."""
    settled = own_event(event)
    if isinstance(settled, OrderSettled) and settled.quantity:
        request = ShipOrder(customer_id=event.instance_id, product_id=settled.product_id, quantity=settled.quantity)
        yield NewCommand(
            command_type=request.type_name,
            db_name=DB_NAME,
            class_id=shipment.name,
            instance_id=settled.order_id,
            payload=request.model_dump(mode="json"),
        )


shipments = Reaction("shipments", ship, classes=[f"{DB_NAME}/Customer"], event_types=[OrderSettled.type_name])
