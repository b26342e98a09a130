"""The shop's aggregates, one file each: events, state, ``evolve``, commands, ``decide``."""

from examples.shop.aggregates.customer import customer
from examples.shop.aggregates.payment import payment
from examples.shop.aggregates.shipment import shipment
from examples.shop.aggregates.stock import stock

__all__ = ["customer", "payment", "shipment", "stock"]
