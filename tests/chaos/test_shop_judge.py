"""The judge of orders finds each kind of damage, and none where there is none."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.shop import ShopVerdict
from tests.chaos.unique_log import Stored

ANN = "shop/Customer/ann"
ORDER = {"order_id": "o1", "product_id": "lamp", "quantity": 1, "total_cents": 600}
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("ACCOUNT_OPENED", {"name": "Ann", "email": None, "credit_limit_cents": 1_000}),
    ("ORDER_PLACED", ORDER),
    ("ORDER_SETTLED", ORDER),
    ("ORDER_PLACED", {**ORDER, "order_id": "o2"}),
    ("ORDER_CANCELLED", {"order_id": "o2", "total_cents": 600, "reason": "chaos"}),
]
ROW = ("ann", "2026-01", 2, 1, 1, 600)
SHIPPED = {"order o1": "event-3"}


def verdict(
    folder: Path,
    *,
    events: list[tuple[str, dict[str, Any]]] = EVENTS,
    row: tuple[Any, ...] = ROW,
    shipped: Mapping[str, str] = SHIPPED,
) -> ShopVerdict:
    """Judge a customer's events, a row of counters, and shipments with the events that caused them."""
    stored = {
        f"events/{ANN}/{number:020d}.json": {"aggregate_id": ANN, "event_type": kind, "data": data}
        | {"sequence_number": number, "event_id": f"event-{number}", "occurred_at": "2026-01-05T12:00:00.000000Z"}
        for number, (kind, data) in enumerate(events, start=1)
    } | {
        f"events/shop/Shipment/{name}/{1:020d}.json": {"event_type": "ORDER_SHIPPED", "causation_id": cause}
        for name, cause in shipped.items()
    }
    database = folder / "shop.sqlite"
    with sqlite3.connect(database) as connection:
        columns = "customer, month, placed, cancelled, settled, settled_cents"
        connection.execute(f"CREATE TABLE orders_per_customer ({columns})")
        connection.execute("INSERT INTO orders_per_customer VALUES (?, ?, ?, ?, ?, ?)", row)
    now = datetime.now(UTC)
    return ShopVerdict({key: Stored(json.dumps(event).encode(), now) for key, event in stored.items()}, database)


def test_sound_orders_have_no_findings(tmp_path: Path):
    judged = verdict(tmp_path)
    assert judged.findings == []
    assert judged.figures == {
        "ACCOUNT_OPENED": 1,
        "ORDER_CANCELLED": 1,
        "ORDER_PLACED": 2,
        "ORDER_SETTLED": 1,
        "ORDER_SHIPPED": 1,
    }


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ({"row": ("ann", "2026-01", 3, 1, 1, 600)}, "counters of ann/2026-01: expected [2, 1, 1, 600]"),
        ({"row": ("bob", "2026-01", 1, 0, 0, 0)}, "counters of bob/2026-01: no event counts there"),
        ({"shipped": {}}, "order o1 was not shipped"),
        ({"shipped": {**SHIPPED, "another": "event-3"}}, "event event-3 shipped 2 times"),
        ({"shipped": {**SHIPPED, "another": "event-4"}}, "event event-4 shipped something"),
        ({"events": [*EVENTS, ("ORDER_PLACED", {**ORDER, "total_cents": 1_001})]}, "event 6 exceeds the credit"),
        ({"events": [*EVENTS, ("ORDER_SETTLED", ORDER)]}, "ORDER_SETTLED of order o1, which was not open"),
    ],
    ids=["a counter", "a row too many", "not shipped", "shipped twice", "shipped in vain", "credit", "settled twice"],
)
def test_damage_to_orders_is_found(tmp_path: Path, damage: dict[str, Any], finding: str):
    assert any(found.startswith(finding) or finding in found for found in verdict(tmp_path, **damage).findings)
