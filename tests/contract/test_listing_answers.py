"""Answers of ListObjectsV2: the fast parser reads of each object what botocore reads."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError

from oncelog.stores.s3.listing import parse_listings_fast

KEYS = ["events/shop/Product/p%2F1/00000000000000000001.json", "a b+c", "é/ü", "<&>\"'", "events/x y%20z"]


def answer(keys: list[str], *, encoded: bool, namespace: str = "http://s3.amazonaws.com/doc/2006-03-01/") -> str:
    encoding = "<EncodingType>url</EncodingType>" if encoded else ""
    listed = "".join(
        f"<Contents><Key>{escape(quote_plus(key, safe='/') if encoded else key)}</Key><Size>5</Size>"
        "<LastModified>2026-11-27T22:10:11.123Z</LastModified><ETag>&quot;e&quot;</ETag></Contents>"
        for key in keys
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="{namespace}"><Name>b</Name>{encoding}'
        f"<IsTruncated>true</IsTruncated>{listed}<NextContinuationToken>t</NextContinuationToken></ListBucketResult>"
    )


def listed(body: str, *, fast: bool, status: int = 200) -> Mapping[str, Any]:
    """Return the answer of a client to which this is answered."""
    client = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="s",
        config=Config(retries={"total_max_attempts": 1}),
    )
    if fast:
        parse_listings_fast(client)

    class Raw:
        def stream(self, **_: Any) -> Any:
            yield body.encode()

    def answered(**_: Any) -> AWSResponse:
        return AWSResponse("http://127.0.0.1:9", status, {}, Raw())  # type: ignore[arg-type]

    client.meta.events.register("before-send.s3.ListObjectsV2", answered)  # type: ignore[arg-type]
    return client.list_objects_v2(Bucket="b")


def known(response: Mapping[str, Any]) -> tuple[Any, ...]:
    objects = [(item["Key"], item["LastModified"]) for item in response.get("Contents", [])]
    rest = {name: value for name, value in response.items() if name not in ("Contents", "ResponseMetadata")}
    return objects, rest


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("keys", [KEYS, []])
def test_fast_parser_reads_what_botocore_reads(keys: list[str], encoded: bool):
    body = answer(keys, encoded=encoded)
    fast = listed(body, fast=True)
    assert known(fast) == known(listed(body, fast=False))
    assert [item["Key"] for item in fast.get("Contents", [])] == keys
    assert (fast["IsTruncated"], fast["NextContinuationToken"]) == (True, "t")


def test_answer_without_a_namespace_is_read():
    body = answer(KEYS, encoded=True).replace(' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', "")
    assert known(listed(body, fast=True)) == known(listed(body, fast=False))


@pytest.mark.parametrize(
    "body", ["", "no XML", "<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>"]
)
def test_answer_that_is_none_is_left_to_botocore(body: str):
    outcomes: list[object] = []
    for fast in (True, False):
        try:
            outcomes.append(
                known(listed(body, fast=fast)) if "Key" not in body else listed(body, fast=fast)["Contents"]
            )
        except Exception as error:  # noqa: BLE001 - the two must fail alike
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]


def test_refusal_is_raised_as_ever():
    body = "<Error><Code>NoSuchBucket</Code><Message>none</Message></Error>"
    with pytest.raises(ClientError, match="NoSuchBucket"):
        listed(body, fast=True, status=404)
