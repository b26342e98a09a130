"""``python -m examples.shop``: orders within a customer's credit on real servers; ``make example-shop`` starts it."""

import asyncio
import sys
from collections import Counter
from contextlib import nullcontext
from typing import Any

from examples.atlas.worker import running_worker
from oncelog import CommandResult, Oncelog, Outcome, new_command_id
from oncelog.console import explained, output, text_line
from oncelog.domain.commands import parse_command
from oncelog.logs import log_to_standard_error
from oncelog.process import keep_standard_output, leave

DB_NAME = "shop"
PRICE_CENTS = 3_000
LIMIT_CENTS = 10_000
ORDERS = 10


class Shop:
    """The shop's commands, each with a new ID."""

    def __init__(self, client: Oncelog) -> None:
        self._client = client

    async def send(self, command_type: str, place: str, **payload: Any) -> CommandResult:
        """Submit a command to ``place`` (``Class/instance_id``), and return its result."""
        class_id, _, instance_id = place.partition("/")
        command = {"command_id": new_command_id(), "command_type": command_type, "db_name": DB_NAME}
        about = {"class_id": class_id, "instance_id": instance_id, "payload": payload}
        return await self._client.submit(parse_command(command | about))

    async def order(self, customer: str, product: str, order_id: str) -> CommandResult:
        """Place an order of one piece."""
        fields = {"order_id": order_id, "product_id": product, "quantity": 1, "total_cents": PRICE_CENTS}
        return await self.send("PLACE_ORDER", f"Customer/{customer}", **fields)

    async def fulfil(self, customer: str, product: str, order_id: str) -> str:
        """Reserve, pay, ship and settle a placed order; cancel it where there is no stock. Returns what came of it."""
        reserved = await self.send("RESERVE_STOCK", f"Stock/{product}", order_id=order_id, quantity=1)
        if reserved.rejection:
            await self.send("CANCEL_ORDER", f"Customer/{customer}", order_id=order_id, reason=reserved.rejection.code)
            return f"cancelled: {reserved.rejection.code}"
        await self.send("TAKE_PAYMENT", f"Payment/{order_id}", customer_id=customer, amount_cents=PRICE_CENTS)
        shipment = {"customer_id": customer, "product_id": product, "quantity": 1}
        await self.send("SHIP_ORDER", f"Shipment/{order_id}", **shipment)
        await self.send("SETTLE_ORDER", f"Customer/{customer}", order_id=order_id)
        return "shipped"

    async def document(self, place: str, after: CommandResult) -> dict[str, Any]:
        """Return the data of an instance's document, at least as of a command's result."""
        found = await self._client.get(f"{DB_NAME}/{place}", token=after.consistency_token)
        return dict(found.body["data"]) if found else {}


def show(line: str) -> None:
    """Print one line, however long."""
    output.print(text_line(line), soft_wrap=True)


async def run(*, own_worker: bool = True) -> int:
    """Place more orders at once than the credit allows, fulfil those placed, and show what the documents say."""
    name = new_command_id()[-6:]
    customer, product = f"ann-{name}", f"lamp-{name}"
    async with running_worker() if own_worker else nullcontext(), Oncelog.connect() as client:
        shop = Shop(client)
        await shop.send("OPEN_ACCOUNT", f"Customer/{customer}", name="Ann", credit_limit_cents=LIMIT_CENTS)
        await shop.send("RECEIVE_STOCK", f"Stock/{product}", quantity=2)
        orders = [f"{name}-{number}" for number in range(ORDERS)]
        results = await asyncio.gather(*(shop.order(customer, product, order) for order in orders))
        outcomes = Counter(result.rejection.code if result.rejection else str(result.outcome) for result in results)
        show(f"{ORDERS} orders of {PRICE_CENTS} cents at once, credit {LIMIT_CENTS}: {dict(outcomes)}")
        placed = [order for order, result in zip(orders, results, strict=True) if result.outcome is Outcome.APPLIED]
        ends = Counter([await shop.fulfil(customer, product, order) for order in placed])
        show(f"fulfilled with 2 in stock: {dict(ends)}")
        last = await shop.order(customer, product, f"{name}-again")
        show(f"credit is free again: {last.outcome}")
        found = await shop.document(f"Customer/{customer}", last)
        show(f"document of Customer/{customer}: {found}")
    expected = LIMIT_CENTS // PRICE_CENTS
    is_sound = outcomes[Outcome.APPLIED] == expected and found["free_cents"] == LIMIT_CENTS - PRICE_CENTS
    return 0 if is_sound else 1


if __name__ == "__main__":
    log_to_standard_error()
    keep_standard_output()
    try:
        with explained():
            sys.exit(asyncio.run(run(own_worker="--no-worker" not in sys.argv)))
    except SystemExit as end:
        leave(int(end.code or 0))
