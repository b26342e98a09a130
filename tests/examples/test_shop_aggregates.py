"""The rules of the shop, and the contract of its aggregates."""

from pathlib import Path
from typing import Any

import pytest

from examples.shop import aggregates
from examples.shop.aggregates.customer import (
    AccountOpened,
    CancelOrder,
    OrderCancelled,
    OrderPlaced,
    PlaceOrder,
    SettleOrder,
    customer,
)
from examples.shop.aggregates.payment import PaymentTaken, RefundPayment, TakePayment, payment
from examples.shop.aggregates.shipment import OrderShipped, ShipOrder, shipment
from examples.shop.aggregates.stock import ReserveStock, StockReceived, StockReserved, stock
from oncelog.domain.aggregates import Aggregate
from oncelog.testing import check_contract, given

SAMPLES = Path(aggregates.__file__).parent / "samples"
OPENED = AccountOpened(name="Ann", email="ann@example.com", credit_limit_cents=1_000)
ORDER = {"order_id": "o1", "product_id": "p1", "quantity": 2, "total_cents": 600}
PLACED = OrderPlaced.model_validate(ORDER)


def place(**changes: Any) -> PlaceOrder:
    return PlaceOrder.model_validate(ORDER | changes)


def test_order_within_credit_is_placed():
    given(customer, OPENED).when(place()).then(PLACED)


def test_order_above_credit_is_refused():
    second = place(order_id="o2", total_cents=401)
    given(customer, OPENED, PLACED).when(second).then_refused("CreditExceeded", free_cents=400)


def test_cancelled_order_gives_its_credit_back():
    cancelled = OrderCancelled(order_id="o1", total_cents=600, reason="out of stock")
    after = given(customer, OPENED, PLACED).when(CancelOrder(order_id="o1", reason="out of stock")).then(cancelled)
    after.when(place()).then_refused("OrderExists")
    large = {"order_id": "o2", "total_cents": 1_000}
    after.when(place(**large)).then(PLACED.model_copy(update=large))
    after.when(SettleOrder(order_id="o1")).then_refused("OrderNotOpen")


def test_customer_without_account_is_refused():
    given(customer).when(place()).then_refused("AccountMissing")


def test_stock_is_reserved_once_and_never_oversold():
    received = StockReceived(quantity=3)
    reserved = StockReserved(order_id="o1", quantity=2)
    after = given(stock, received).when(ReserveStock(order_id="o1", quantity=2)).then(reserved)
    after.when(ReserveStock(order_id="o2", quantity=2)).then_refused("OutOfStock", available=1)
    after.when(ReserveStock(order_id="o1", quantity=1)).then_refused("ReservedBefore")


def test_payment_and_shipment_happen_once():
    paid = PaymentTaken(customer_id="c1", amount_cents=600)
    given(payment, paid).when(TakePayment(customer_id="c1", amount_cents=600)).then_refused("PaymentTakenBefore")
    given(payment).when(RefundPayment(reason="late")).then_refused("NothingToRefund")
    shipped = OrderShipped(customer_id="c1", product_id="p1", quantity=2)
    ship = ShipOrder(customer_id="c1", product_id="p1", quantity=2)
    given(shipment).when(ship).then(shipped).when(ship).then_refused("ShippedBefore")


@pytest.mark.parametrize("aggregate", aggregates.AGGREGATES, ids=lambda aggregate: aggregate.name)
def test_aggregate_keeps_its_contract(aggregate: Aggregate[Any]):
    assert check_contract(aggregate, samples=SAMPLES / aggregate.name).problems == []
