"""Fixed credentials that are replaced in their file are taken up by a running program."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from oncelog.errors import ContainerUnusable, UnusableReason
from oncelog.settings import S3Settings, Settings
from oncelog.stores.s3 import S3Bucket, connect

UNTIL_S = 30.0


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Any:
        yield self._body


def _answer(request: Any, **_: Any) -> Any:
    """Play an S3 that takes the new key only, and holds nothing."""
    signed = request.headers["Authorization"]
    is_new = b"Credential=NEW/" in (signed if isinstance(signed, bytes) else signed.encode())
    status, code = (404, b"NoSuchKey") if is_new else (403, b"ExpiredToken")
    body = b"<Error><Code>" + code + b"</Code><Message>m</Message></Error>"
    headers = {"content-type": "application/xml", "content-length": str(len(body))}
    return AWSResponse(request.url, status, HTTPHeaders.from_dict(headers), _Raw(body))


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write a key into the only place where there is one."""
    path = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    def write(key: str) -> None:
        path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")

    write("OLD")
    return write


@pytest.mark.parametrize("direct", [True, False])
async def test_credentials_in_a_file_are_read_anew(keys: Callable[[str], None], direct: bool):
    settings = Settings(namespace="t-nowhere", s3=S3Settings(endpoint_url="http://127.0.0.1:1"))
    bucket: S3Bucket = await asyncio.to_thread(connect, settings, direct=direct)
    bucket.client.meta.events.register("before-send.s3.GetObject", _answer)
    with pytest.raises(ContainerUnusable) as refusal:
        await bucket.get("k")
    assert refusal.value.reason is UnusableReason.CREDENTIALS
    keys("NEW")
    async with asyncio.timeout(UNTIL_S):
        while True:
            try:
                assert await bucket.get("k") is None
                break
            except ContainerUnusable:
                await asyncio.sleep(0.01)
    await bucket.close()
