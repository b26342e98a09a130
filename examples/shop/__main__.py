"""``python -m examples.shop``: orders, payments, stock and shipments on real servers; ``make example-shop`` starts it.

Runs a worker, a projector of each read model and a reactor, and the saga's own worker, until the orders have
their ends. The exit code is 1 if a number is not as the rules want it.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from itertools import islice
from typing import Any

from sqlalchemy import create_engine, select
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from examples.programs import running_program, running_worker
from examples.shop.aggregates.customer import OpenAccount, customer
from examples.shop.aggregates.stock import ReceiveStock, stock
from examples.shop.names import DB_NAME
from examples.shop.order_process import SETTLED, Order, OrderEnd, OrderProcess
from examples.shop.views import customer_search, orders, orders_per_customer
from oncelog import Oncelog, command_to, new_command_id
from oncelog.console import explained, output, text_line
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.elasticsearch import ElasticsearchPositions
from oncelog.logs import log_to_standard_error
from oncelog.process import keep_standard_output, leave
from oncelog.settings import Settings
from oncelog.sql import SqlPositions

PRICE_CENTS = 3_000
LIMIT_CENTS = 10_000
ORDERS = 10
AFFORDABLE = LIMIT_CENTS // PRICE_CENTS
PAYMENT_WITHIN = timedelta(seconds=2)
END_TIMEOUT_S = 300.0  # it takes seconds; a busy machine may take minutes

Process = WorkflowHandle[OrderProcess, OrderEnd]


class Shop:
    """The shop with one new customer and one new product."""

    def __init__(self, client: Oncelog, temporal: Client, task_queue: str) -> None:
        self._client, self._temporal, self._task_queue = client, temporal, task_queue
        self._name = new_command_id()[-6:]
        self.customer, self.product = f"ann-{self._name}", f"lamp-{self._name}"
        self.email = f"{self.customer}@example.com"
        self.order_ids: list[str] = []

    async def open(self, *, lamps: int) -> None:
        """Give the customer credit, and put lamps into stock."""
        account = OpenAccount(name="Ann", email=self.email, credit_limit_cents=LIMIT_CENTS)
        received = ReceiveStock(quantity=lamps)
        for aggregate, instance_id, request in ((customer, self.customer, account), (stock, self.product, received)):
            await self._client.submit(command_to(aggregate, DB_NAME, instance_id, request, command_id=new_command_id()))

    async def open_again(self) -> Rejection | None:
        """Open an account of another customer with the same e-mail, and return why that is refused."""
        account = OpenAccount(name="Bob", email=self.email.upper(), credit_limit_cents=LIMIT_CENTS)
        command = command_to(customer, DB_NAME, f"bob-{self._name}", account, command_id=new_command_id())
        return (await self._client.submit(command)).rejection

    async def order(self, *, pay: bool, within: timedelta = timedelta(days=3)) -> Process:
        """Start the process of a new order of one lamp, paid at once or not."""
        self.order_ids.append(f"{self._name}-{len(self.order_ids)}")
        order = Order(
            order_id=self.order_ids[-1],
            customer_id=self.customer,
            product_id=self.product,
            quantity=1,
            total_cents=PRICE_CENTS,
            payment_within=within,
        )
        return await self._temporal.start_workflow(
            OrderProcess.run,
            order,
            id=f"order-{order.order_id}",
            task_queue=self._task_queue,
            start_signal="pay" if pay else None,
        )

    async def data(self, place: str) -> dict[str, Any] | None:
        """Return the data of the document of ``Class/instance_id``, None if there is none."""
        document = await self._client.get(f"{DB_NAME}/{place}")
        return dict(document.body["data"]) if document else None

    async def shipped(self, count: int) -> list[str]:
        """Wait until so many orders are shipped, and return them."""
        while True:
            shipped = [each for each in self.order_ids if await self.data(f"Shipment/{each}")]
            if len(shipped) >= count:
                return shipped
            await asyncio.sleep(0.1)

    async def row(self, token: str) -> Mapping[str, Any]:
        """Return the customer's newest row, at least as of a token."""
        async with SqlPositions(orders_per_customer) as positions:
            await self._client.reader.until_projected(token, positions, deadline_s=END_TIMEOUT_S)
        with create_engine(orders_per_customer.url).connect() as database:
            of_customer = select(orders).where(orders.c.customer == self.customer).order_by(orders.c.month.desc())
            return dict(database.execute(of_customer.limit(1)).mappings().one())

    async def projected_for_search(self, token: str) -> int:
        """Wait until the index of customers has the token's version, and return the customer's version there."""
        async with ElasticsearchPositions(customer_search) as positions:
            await self._client.reader.until_projected(token, positions, deadline_s=END_TIMEOUT_S)
            (version,) = await positions.projected_versions([AggregateId.of(DB_NAME, customer.name, self.customer)])
            return version


async def pay_those_within_credit(processes: Sequence[Process]) -> Counter[str]:
    """Wait for the refusals, pay all other orders, and return how all of them ended."""
    ends = [asyncio.create_task(process.result()) for process in processes]
    for refused in islice(asyncio.as_completed(ends), len(ends) - AFFORDABLE):
        await refused
    for process, end in zip(processes, ends, strict=True):
        if not end.done():
            await process.signal(OrderProcess.pay)
    return Counter(sorted([(await end).status for end in ends]))


def show(line: str) -> None:
    """Print one line, however long."""
    output.print(text_line(line), soft_wrap=True)


@asynccontextmanager
async def running_shop() -> AsyncIterator[Shop]:
    """Run every program of the shop for the length of the block."""
    async with AsyncExitStack() as running:
        await running.enter_async_context(running_worker())
        for module, option, path in (
            ("oncelog.projector", "--read-model", "examples.shop.views:orders_per_customer"),
            ("oncelog.projector", "--read-model", "examples.shop.views:customer_search"),
            ("oncelog.reactor", "--reaction", "examples.shop.reactions:shipments"),
        ):
            await running.enter_async_context(running_program(module, option, path, sign="projector_ready"))
        client = await running.enter_async_context(Oncelog.connect())
        temporal = await client.temporal()
        task_queue = Settings.from_environment().named("orders")
        await running.enter_async_context(Worker(temporal, task_queue=task_queue, workflows=[OrderProcess]))
        yield Shop(client, temporal, task_queue)


async def run() -> int:
    """Place more orders at once than the credit allows, and show how each ends and what the read models say."""
    async with running_shop() as shop, asyncio.timeout(END_TIMEOUT_S):
        await shop.open(lamps=AFFORDABLE + 1)
        second = await shop.open_again()
        show(f"a second account with her e-mail: {second.message if second else 'opened'}")
        at_once = await asyncio.gather(*(shop.order(pay=False) for _ in range(ORDERS)))
        ends = await pay_those_within_credit(at_once)
        show(f"{ORDERS} orders of {PRICE_CENTS} cents at once, credit {LIMIT_CENTS}: {dict(ends)}")
        unpaid = await (await shop.order(pay=False, within=PAYMENT_WITHIN)).result()
        show(f"one that is not paid within {PAYMENT_WITHIN.seconds} s: {unpaid.status}")
        paid = await (await shop.order(pay=True)).result()
        show(f"its credit and its lamp are free again: {paid.status}")
        last = await (await shop.order(pay=True)).result()
        show(f"the lamps are sold: {last.status}")
        shipped = await shop.shipped(AFFORDABLE + 1)
        show(f"shipped by the reaction: {len(shipped)}")
        row = await shop.row(last.token or "")
        show(f"orders_per_customer in SQLite: {row}")
        version = await shop.projected_for_search(last.token or "")
        show(f"customer_search in Elasticsearch: at version {version}")
        data = await shop.data(f"Customer/{shop.customer}")
        show(f"document of Customer/{shop.customer}: {data}")
    expected = (Counter({"CreditExceeded": ORDERS - AFFORDABLE, SETTLED: AFFORDABLE}), "NotPaid", SETTLED, "OutOfStock")
    settled_cents = (AFFORDABLE + 1) * PRICE_CENTS
    is_sound = (ends, unpaid.status, paid.status, last.status) == expected and row["settled_cents"] == settled_cents
    is_sound = is_sound and second is not None and second.code is RejectionCode.UNIQUE_VIOLATED
    return 0 if is_sound and data and data["free_cents"] == LIMIT_CENTS else 1


if __name__ == "__main__":
    log_to_standard_error()
    keep_standard_output()
    try:
        with explained():
            sys.exit(asyncio.run(run()))
    except SystemExit as end:
        leave(int(end.code or 0))
