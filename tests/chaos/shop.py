"""Orders of the shop among the load: within credit, counted in SQL, and shipped by a reaction (examples/shop).

The judge reads the objects of S3 as JSON, and rows with sqlite3. It shares no code with what it judges.
"""

import asyncio
import json
import sqlite3
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from examples.shop.aggregates.customer import CancelOrder, OpenAccount, PlaceOrder, SettleOrder, customer
from examples.shop.aggregates.shipment import shipment
from examples.shop.names import DB_NAME
from examples.shop.reactions import shipments
from examples.shop.views import orders_per_customer
from oncelog.domain.aggregates import DomainCommand
from oncelog.domain.commands import Command, command_to
from oncelog.domain.events import read_event
from oncelog.reactions.model import reaction_model_name
from oncelog.settings import Settings
from oncelog.stores.kafka.lag import KafkaLag
from tests.chaos.plan import PlannedCall
from tests.chaos.unique_log import Stored, read_objects
from tests.chaos.workers import ROOT, Program

AGGREGATES = (customer, shipment)
CUSTOMERS = 6
LIMIT_CENTS, PRICE_CENTS = 10_000, 1_000
#: The client's calls about orders, and how often each occurs beside those of ``plan.CALLS``.
CALLS: Mapping[str, int] = {"open_account": 6, "place_order": 24, "settle_order": 14, "cancel_order": 4}

READ_MODEL, REACTION = "examples.shop.views:orders_per_customer", "examples.shop.reactions:shipments"
PROGRAMS = {
    "orders": Program("oncelog.projector", "projector_starts", ("--read-model", READ_MODEL)),
    "shipments": Program("oncelog.reactor", "reactor_starts", ("--reaction", REACTION)),
}
GROUPS = (orders_per_customer.name, reaction_model_name(shipments.name))
POLL_S = 0.5
_CUSTOMERS = f"events/{DB_NAME}/{customer.name}/"
STALLED_AFTER_S = 300.0
"""So long without a committed message, when everything is mended."""


def variables(folder: Path) -> dict[str, str]:
    """Return what every program of a run with orders is told; the counters lie in a folder of their own."""
    names = ",".join(f"examples.shop.aggregates.{each.name.lower()}:{each.name.lower()}" for each in AGGREGATES)
    return {"ONCELOG_AGGREGATES": names, "SHOP_DATABASE_URL": f"sqlite:///{database(folder)}"}


def database(folder: Path) -> Path:
    return folder / "shop.sqlite"


def opening(number: int, *, command_id: str) -> Command:
    """Return the command that gives a customer credit, which comes before the first order."""
    customer_id = f"customer-{number}"
    request = OpenAccount(name=customer_id, credit_limit_cents=LIMIT_CENTS)
    return command_to(customer, DB_NAME, customer_id, request, command_id=command_id)


def shop_command(call: PlannedCall, *, command_id: str, actor: str, placed: deque[tuple[str, str]]) -> Command:
    """Return the command that was drawn. ``placed``: this client's orders, as customer and order.

    An order that is placed joins them; a settled or cancelled one leaves them, except for each fifth, which is to be
    closed again.
    """
    customer_id, order_id = f"customer-{call.aggregate % CUSTOMERS}", command_id
    if call.what == "place_order":
        placed.append((customer_id, order_id))
    elif call.what != "open_account" and placed:
        customer_id, order_id = placed[0] if call.value % 5 == 0 else placed.popleft()
    requests: dict[str, DomainCommand] = {
        "open_account": OpenAccount(name=customer_id, credit_limit_cents=LIMIT_CENTS),
        "place_order": PlaceOrder(
            order_id=order_id, product_id="lamp", quantity=1, total_cents=PRICE_CENTS * (1 + call.value % 4)
        ),
        "settle_order": SettleOrder(order_id=order_id),
        "cancel_order": CancelOrder(order_id=order_id, reason="chaos"),
    }
    command = command_to(customer, DB_NAME, customer_id, requests[call.what], command_id=command_id)
    return command.model_copy(update={"actor": actor})


async def caught_up(settings: Settings) -> list[str]:
    """Wait until read model and reaction have committed every message there is.

    Returns those that are behind still when nothing was committed for ``STALLED_AFTER_S``.
    """
    before, moved_s = dict[str, int](), time.monotonic()
    while True:
        found = await KafkaLag(settings, built_in=GROUPS).read()
        lags = {lag.read_model: lag.behind for lag in found if lag.read_model in GROUPS}
        if not any(lags.values()):
            return []
        if lags != before:
            before, moved_s = lags, time.monotonic()
        elif time.monotonic() - moved_s > STALLED_AFTER_S:
            return [f"{name} is {behind} messages behind" for name, behind in lags.items() if behind]
        await asyncio.sleep(POLL_S)


async def retry_parked(given: Mapping[str, str]) -> list[str]:
    """Show again what read model and reaction have parked, as an operator does; returns the command line's words."""
    found = []
    for name in (READ_MODEL, REACTION):
        program = "from oncelog.cli import main; main()"
        argv = (sys.executable, "-c", program, "dead-letters", "retry", "--all", "--read-model", name)
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=ROOT, env=dict(given), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await process.communicate()
        found += [line for line in (output + errors).decode().splitlines() if "/" in line]
    return found


def reaction_commands(settings: Settings) -> list[Command]:
    """Return the commands that the reaction makes of all events there are, as they lie in S3."""
    bodies = {key: stored.body for key, stored in read_objects(settings).items() if key.startswith(_CUSTOMERS)}
    return [command for key, body in bodies.items() for command in shipments.commands_of(read_event(body, where=key))]


@dataclass(frozen=True)
class ShopVerdict:
    """``findings``: each in words. ``figures``: how much there was to be judged."""

    objects: Mapping[str, Stored] = field(repr=False)
    database: Path

    @cached_property
    def findings(self) -> list[str]:
        return [*self._credit(), *self._counters(), *self._shipments()]

    @property
    def figures(self) -> dict[str, int]:
        kinds = Counter(event["event_type"] for event in (*self._customers, *self._shipped))
        return dict(sorted(kinds.items()))

    @cached_property
    def _customers(self) -> list[Mapping[str, Any]]:
        return self._events(customer.name)

    @cached_property
    def _shipped(self) -> list[Mapping[str, Any]]:
        return self._events(shipment.name)

    def _events(self, class_id: str) -> list[Mapping[str, Any]]:
        """Return every event of a class, those of an instance in order."""
        keys = sorted(key for key in self.objects if key.startswith(f"events/{DB_NAME}/{class_id}/"))
        return [json.loads(self.objects[key].body) for key in keys]

    def _credit(self) -> Iterator[str]:
        """Hold that no customer's open orders ever exceeded the credit, and that none was closed twice."""
        limits, open_cents = dict[str, int](), defaultdict[str, dict[str, int]](dict)
        for event in self._customers:
            name, data = event["aggregate_id"], event["data"]
            if event["event_type"] == "ACCOUNT_OPENED":
                limits[name] = data["credit_limit_cents"]
            elif event["event_type"] == "ORDER_PLACED":
                open_cents[name][data["order_id"]] = data["total_cents"]
            elif open_cents[name].pop(data["order_id"], None) is None:
                yield f"{name}: {event['event_type']} of order {data['order_id']}, which was not open"
            if sum(open_cents[name].values()) > limits.get(name, 0):
                yield f"{name}: event {event['sequence_number']} exceeds the credit of {limits.get(name, 0)}"

    def _counters(self) -> Iterator[str]:
        """Hold the rows in SQLite to the fold of the events."""
        expected = defaultdict[tuple[str, str], Counter[str]](Counter)
        for event in self._customers:
            row = expected[event["aggregate_id"].rpartition("/")[2], event["occurred_at"][:7]]
            counted = event["event_type"].removeprefix("ORDER_").lower()
            if counted in ("placed", "cancelled", "settled"):
                row[counted] += 1
            if counted == "settled":
                row["settled_cents"] += event["data"]["total_cents"]
        columns = ("placed", "cancelled", "settled", "settled_cents")
        with sqlite3.connect(self.database) as connection:
            rows = connection.execute(f"SELECT customer, month, {', '.join(columns)} FROM orders_per_customer")
            found = {(name, month): numbers for name, month, *numbers in rows}
        for key, row in expected.items():
            numbers = [row[column] for column in columns]
            if any(numbers) and found.get(key) != numbers:
                yield f"counters of {'/'.join(key)}: expected {numbers} as the events say, found {found.get(key)}"
        yield from (f"counters of {'/'.join(key)}: no event counts there" for key in found.keys() - expected.keys())

    def _shipments(self) -> Iterator[str]:
        """Hold that each settled order was shipped once, by one command."""
        settled = {event["event_id"]: event["data"] for event in self._customers if _is_settled(event)}
        shipped = Counter(event["causation_id"] for event in self._shipped)
        yield from (f"order {settled[cause]['order_id']} was not shipped" for cause in settled.keys() - shipped.keys())
        yield from (f"event {cause} shipped something, but settled no order" for cause in shipped.keys() - settled)
        yield from (f"event {cause} shipped {number} times" for cause, number in shipped.items() if number > 1)


def _is_settled(event: Mapping[str, Any]) -> bool:
    return bool(event["event_type"] == "ORDER_SETTLED")
