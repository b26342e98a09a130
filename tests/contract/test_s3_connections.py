"""Connections to S3: the second one of a process is cheap."""

import json
from typing import Any

import pytest

from oncelog.settings import S3Settings, Settings
from oncelog.stores.s3 import connect


async def test_description_of_s3_is_parsed_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    settings = Settings(namespace="t-nowhere", s3=S3Settings(endpoint_url="http://127.0.0.1:1"))
    first = connect(settings)
    large: list[int] = []
    loads = json.loads

    def count(text: str | bytes, **given: Any) -> Any:
        if len(text) > 10_000:
            large.append(len(text))
        return loads(text, **given)

    monkeypatch.setattr("botocore.loaders.json.loads", count)
    second = connect(settings)
    assert large == []
    await first.close()
    await second.close()
