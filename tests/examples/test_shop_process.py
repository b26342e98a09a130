"""The shop's saga with a clock that skips, its reaction and its read model: each without servers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.worker import Worker

from examples.shop.aggregates import AGGREGATES
from examples.shop.aggregates.customer import CancelOrder, OpenAccount, customer
from examples.shop.aggregates.stock import ReceiveStock, stock
from examples.shop.names import DB_NAME
from examples.shop.order_process import NOT_PAID, SETTLED, Order, OrderEnd, OrderProcess
from examples.shop.reactions import shipments
from examples.shop.views import count
from oncelog import Event, command_to
from oncelog.domain.aggregates import registered
from oncelog.domain.events import read_event
from oncelog.testing import OncelogEnvironment

pytestmark = pytest.mark.integration


@asynccontextmanager
async def open_shop(environment: Mapping[str, str], *, lamps: int) -> AsyncIterator[OncelogEnvironment]:
    """Start a shop in memory: Ann has credit for one lamp, and so many lamps are in stock."""
    test_server = environment["ONCELOG_TEMPORAL_TEST_SERVER"]
    with registered(*AGGREGATES):
        async with OncelogEnvironment.start(test_server=test_server) as shop:
            account = OpenAccount(name="Ann", credit_limit_cents=3_000)
            await shop.client.submit(command_to(customer, DB_NAME, "ann", account, command_id="open"))
            if lamps:
                received = ReceiveStock(quantity=lamps)
                await shop.client.submit(command_to(stock, DB_NAME, "lamp", received, command_id="receive"))
            async with Worker(shop.temporal, task_queue="orders", workflows=[OrderProcess]):
                yield shop


async def end_of(shop: OncelogEnvironment, order_id: str, *, pay: bool = True, name: str = "") -> OrderEnd:
    order = Order(order_id=order_id, customer_id="ann", product_id="lamp", quantity=1, total_cents=3_000)
    signal = "pay" if pay else None
    return await shop.temporal.execute_workflow(
        OrderProcess.run, order, id=name or order_id, task_queue="orders", start_signal=signal
    )


async def data_of(shop: OncelogEnvironment, place: str) -> dict[str, Any]:
    document = await shop.client.get(f"shop/{place}")
    assert document is not None
    return dict(document.body["data"])


def events_of(shop: OncelogEnvironment, event_type: str) -> list[Event]:
    return [event for event in published(shop) if event.event_type == event_type]


def published(shop: OncelogEnvironment) -> list[Event]:
    return [read_event(message.value, where="message") for message in shop.servers.publisher.messages]


async def test_paid_order_is_settled_once(environment: Mapping[str, str]):
    async with open_shop(environment, lamps=1) as shop:
        first = await end_of(shop, "o1")
        again = await end_of(shop, "o1", name="o1-again")
        assert first.status == again.status == SETTLED
        (settled,) = events_of(shop, "ORDER_SETTLED")
        (command,) = shipments.commands_of(settled)
        counted = [change.values for event in published(shop) for change in count_of(event)]
    assert (command.command_type, command.instance_id) == ("SHIP_ORDER", "o1")
    assert command.payload == {"customer_id": "ann", "product_id": "lamp", "quantity": 1}
    assert counted == [{"placed": 1}, {"settled": 1, "settled_cents": 3_000}]


def count_of(event: Event) -> list[Any]:
    return list(count(event)) if event.class_id == "Customer" else []


async def test_refused_or_unpaid_order_gives_all_back(environment: Mapping[str, str]):
    async with open_shop(environment, lamps=1) as shop:
        unpaid = await end_of(shop, "o1", pay=False)
        assert unpaid.status == NOT_PAID
        assert await data_of(shop, "Stock/lamp") == {"available": 1, "reserved": {}}
        assert (await end_of(shop, "o2")).status == SETTLED
        sold_out = await end_of(shop, "o3")
        assert sold_out.status == "OutOfStock"
        assert (await data_of(shop, "Customer/ann"))["free_cents"] == 3_000
        assert len(events_of(shop, "PAYMENT_TAKEN")) == 1


async def test_order_cancelled_meanwhile_is_refunded(environment: Mapping[str, str]):
    async with open_shop(environment, lamps=1) as shop:
        order = Order(order_id="o1", customer_id="ann", product_id="lamp", quantity=1, total_cents=3_000)
        process = await shop.temporal.start_workflow(OrderProcess.run, order, id="o1", task_queue="orders")
        with shop.workflows.auto_time_skipping_disabled():
            while not events_of(shop, "STOCK_RESERVED"):
                await shop.workflows.sleep(1)
            cancelled = CancelOrder(order_id="o1", reason="changed my mind")
            await shop.client.submit(command_to(customer, DB_NAME, "ann", cancelled, command_id="cancel"))
            await process.signal(OrderProcess.pay)
            assert (await process.result()).status == "OrderNotOpen"
        assert (await data_of(shop, "Payment/o1"))["refunded"]
        assert (await data_of(shop, "Stock/lamp"))["available"] == 1
