"""The DuckDB queries of docs/archive.md, run as they stand on a real S3, through a filesystem instead of httpfs."""

import io
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from fsspec import AbstractFileSystem

from oncelog.archive.archiver import Archiver
from oncelog.ports import UNPUBLISHED
from oncelog.settings import Settings
from oncelog.stores.s3 import S3Bucket
from tests.clients import patient_stores
from tests.contract.chains import chain

PAGE = Path(__file__).parents[2] / "docs" / "archive.md"
MARK = "<!-- tested by tests/archive/test_queries.py -->\n```sql\n"


class S3Files(AbstractFileSystem):  # type: ignore[misc]
    """The bucket as DuckDB reads it: files that are opened whole."""

    protocol = "s3"
    cachable = False

    def __init__(self, bucket: S3Bucket) -> None:
        super().__init__()
        self._bucket = bucket

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        prefix = self._key(path).rstrip("/") + "/"
        found = self._bucket.client.list_objects_v2(Bucket=self._bucket.name, Prefix=prefix).get("Contents", [])
        entries = [
            {"name": f"{self._bucket.name}/{item['Key']}", "size": item["Size"], "type": "file"}
            for item in found
            if "/" not in item["Key"].removeprefix(prefix)
        ]
        return entries if detail else [entry["name"] for entry in entries]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        name = self._strip_protocol(path)
        if not str(name).endswith((".json", ".parquet")):
            return {"name": name, "size": 0, "type": "directory"}
        head = self._bucket.client.head_object(Bucket=self._bucket.name, Key=self._key(path))
        return {"name": name, "size": head["ContentLength"], "type": "file"}

    def modified(self, path: str) -> datetime:
        head = self._bucket.client.head_object(Bucket=self._bucket.name, Key=self._key(path))
        return head["LastModified"]

    def _open(self, path: str, *_: Any, **__: Any) -> Any:
        body = self._bucket.client.get_object(Bucket=self._bucket.name, Key=self._key(path))["Body"].read()
        return io.BytesIO(body)

    def _key(self, path: str) -> str:
        text: str = self._strip_protocol(path)
        return text.removeprefix(f"{self._bucket.name}/")


def _queries(place: str) -> list[str]:
    parts = PAGE.read_text().split(MARK)[1:]
    return [re.sub(r"s3://oncelog/", place, part.split("```")[0]) for part in parts]


@pytest.mark.integration
async def test_documented_queries_answer_on_real_s3(settings: Settings):
    events = {name: chain(3, name, price=1.5) for name in ("p1", "p2")}
    async with patient_stores(settings) as stores:
        for stream in events.values():
            for event in stream:
                await stores.ports.event_log.append_event(event, published_through=UNPUBLISHED)
        await Archiver(stores.ports).pack("shop", "Product")
        connection = duckdb.connect()
        connection.register_filesystem(S3Files(stores.bucket))
        files, by_day, history, broken, last = _queries(f"s3://{stores.bucket.name}/{stores.bucket.prefix}")
        connection.execute(files)
        assert connection.execute(by_day).fetchall() == [
            ("INSTANCE_CREATED", "2026-01-01", 2),
            ("INSTANCE_UPDATED", "2026-01-01", 4),
        ]
        found = connection.execute(history).fetchall()
        assert [(row[0], row[1]) for row in found] == [
            (event.sequence_number, str(event.event_type)) for event in events["p1"]
        ]
        assert '"price":1.5' in found[0][3]
        assert connection.execute(broken).fetchall() == []
        assert connection.execute(last).fetchall() == [("p1", 3), ("p2", 3)]
        connection.close()
