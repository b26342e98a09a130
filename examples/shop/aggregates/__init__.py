"""The shop's aggregates, one file each: events, state, ``evolve``, commands, ``decide``."""

from examples.shop.aggregates.customer import customer
from examples.shop.aggregates.payment import payment
from examples.shop.aggregates.shipment import shipment
from examples.shop.aggregates.stock import stock

#: Each is loaded from its own module: ``customer`` is the name of a module here, too.
AGGREGATES = (customer, payment, shipment, stock)

__all__ = ["AGGREGATES"]
