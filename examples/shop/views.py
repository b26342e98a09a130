"""The shop's read models: orders per customer and month in SQL, and customers to search in Elasticsearch.

``SHOP_DATABASE_URL`` says in which database.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table

from examples.shop.aggregates.customer import OrderCancelled, OrderPlaced, OrderSettled
from examples.shop.names import DB_NAME
from oncelog import Document, Event
from oncelog.domain.aggregates import own_event
from oncelog.elasticsearch import ElasticsearchReadModel
from oncelog.sql import Add, SqlReadModel

orders = Table(
    "orders_per_customer",
    MetaData(),
    Column("customer", String(200), primary_key=True),
    Column("month", String(7), primary_key=True),
    *(
        Column(name, Integer, nullable=False, server_default="0")
        for name in ("placed", "cancelled", "settled", "settled_cents")
    ),
)


def count(event: Event) -> Iterator[Add]:
    """Count an order for its customer, in the month of the event."""
    key = {"customer": event.instance_id, "month": event.occurred_at[:7]}
    match own_event(event):
        case OrderPlaced():
            yield Add(orders, key, {"placed": 1})
        case OrderCancelled():
            yield Add(orders, key, {"cancelled": 1})
        case OrderSettled(total_cents=cents):
            yield Add(orders, key, {"settled": 1, "settled_cents": cents})


orders_per_customer = SqlReadModel(
    "orders_per_customer",
    os.environ.get("SHOP_DATABASE_URL", "sqlite:///shop.sqlite"),
    tables=[orders],
    changes=count,
    classes=[f"{DB_NAME}/Customer"],
    event_types=[model.type_name for model in (OrderPlaced, OrderCancelled, OrderSettled)],
)


def searched(document: Document) -> Mapping[str, Any] | None:
    """Return a customer by name and free credit."""
    data = document.body["data"]
    return None if document.body["deleted"] else {"name": data["name"], "free_cents": data["free_cents"]}


customer_search = ElasticsearchReadModel(
    "customer_search",
    searched,
    properties={"name": {"type": "text"}, "free_cents": {"type": "long"}},
    classes=[f"{DB_NAME}/Customer"],
)
