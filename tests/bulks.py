"""Bulk commands for tests, on one class, each with an ID of its own."""

import hashlib
import json
from collections.abc import Sequence
from itertools import count
from typing import Any

from oncelog.domain.bulk.command import Bulk, BulkType

_numbers = count(1)


def item(instance_id: str | None = None, payload: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    fields = {"instance_id": instance_id, "payload": payload, **more}
    return {name: value for name, value in fields.items() if value is not None}


def bulk_create(*items: Any, **more: Any) -> Bulk:
    return _bulk(BulkType.BULK_CREATE_INSTANCES, items, more)


def bulk_update(*items: Any, **more: Any) -> Bulk:
    return _bulk(BulkType.BULK_UPDATE_INSTANCES, items, more)


def bulk_delete(*items: Any, **more: Any) -> Bulk:
    return _bulk(BulkType.BULK_DELETE_INSTANCES, items, more)


def ndjson(items: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in items)


def reference(items: Sequence[Any], **more: Any) -> tuple[dict[str, Any], bytes]:
    """Return the payload of a command that refers to these items, and the bytes that are to lie there."""
    body = ndjson(items)
    digest = hashlib.sha256(body).hexdigest()
    payload = {"items_key": f"payloads/{digest}.ndjson", "items_sha256": digest, "items_count": len(items)}
    return payload | more, body


def _bulk(command_type: BulkType, items: Sequence[Any], more: dict[str, Any]) -> Bulk:
    fields = {
        "command_id": f"b{next(_numbers)}",
        "command_type": command_type,
        "db_name": "shop",
        "class_id": "Product",
        "payload": {"items": list(items)},
    }
    return Bulk.model_validate(fields | more)
