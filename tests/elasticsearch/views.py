"""A read model for tests: products by title and number, none of deleted ones."""

from collections.abc import Mapping
from typing import Any

from oncelog import Document
from oncelog.elasticsearch import ElasticsearchReadModel


def product(document: Document) -> Mapping[str, Any] | None:
    if document.body["deleted"]:
        return None
    data = document.body["data"]
    if data.get("n") == "bad":
        raise ValueError("no number")
    return {"title": f"number {data.get('n')}", "n": data.get("n"), "unmapped": {"deep": {"er": 1}}}


products = ElasticsearchReadModel(
    "products", product, properties={"title": {"type": "keyword"}, "n": {"type": "integer"}}, classes=["shop/Product"]
)
