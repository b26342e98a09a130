"""Read models for tests: updates counted by instance class and number, and a table of products."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table

from oncelog import Document, Event
from oncelog.sql import Add, SqlReadModel

URL = os.environ.get("SQL_TEST_URL", "sqlite://")

metadata = MetaData()
events_per_month = Table(
    "events_per_month",
    metadata,
    Column("event_type", String(40), primary_key=True),
    Column("month", String(7), primary_key=True),
    Column("events", Integer, nullable=False),
    Column("total", Integer, nullable=False),
)
products = Table(
    "products",
    metadata,
    Column("aggregate_id", String, primary_key=True),
    Column("n", Integer),
    Column("deleted", Boolean, nullable=False),
)


def counted(event: Event) -> Iterator[Add]:
    if event.data.get("n") == "bad":
        raise ValueError("no number")
    key = {"event_type": event.event_type, "month": event.occurred_at[:7]}
    yield Add(events_per_month, key, {"events": 1, "total": event.data.get("n", 0)})


def product_rows(document: Document) -> Iterator[Mapping[str, Any]]:
    if document.body["data"].get("n") == "bad":
        raise ValueError("no number")
    yield {"n": document.body["data"].get("n"), "deleted": document.body["deleted"]}


def counters(url: str) -> SqlReadModel:
    return SqlReadModel("counters", url, tables=[events_per_month], changes=counted, classes=["shop/Product"])


def product_table(url: str) -> SqlReadModel:
    return SqlReadModel("products", url, tables=[products], rows=product_rows, classes=["shop/Product"])


per_month = counters(URL)
