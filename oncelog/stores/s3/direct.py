"""GetObject and PutObject without boto3's layers: signed here, sent by aiohttp. Decision 9 has the reason and gain.

boto3 still decides everything but the sending: configuration, credentials, endpoint, and its events, which are emitted
here as it emits them (``before-sign``, ``before-send``, ``after-call``), so that hooks work as they do on its client.
They run on the event loop, so they must not block.
"""

import asyncio
import base64
import hashlib
import ssl
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse, HeadersDict
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import ClientError, FlexibleChecksumError, IncompleteReadError, NoCredentialsError
from botocore.hooks import first_non_none_response
from botocore.parsers import create_parser
from yarl import URL

from oncelog.stores.s3.requests import CONTENT_TYPE, USER_AGENT, ObjectRequests
from oncelog.stores.s3.routing import Route, Routes
from oncelog.stores.s3.signing import signed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DIRECT_BYTES_MAX = 256 * 1024  # above it hashing would hold the event loop up, and boto3's share of the time is small
WRITE_TIMEOUT_S = 15  # for a whole PUT: the time-out between reads does not see a body that is not taken

_EMPTY_SHA256 = hashlib.sha256().hexdigest()
_METADATA = "x-amz-meta-"
_ENCRYPTION = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}
_CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "sha256": lambda body: hashlib.sha256(body).digest(),
    "sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
}


class _Whole:
    """A body that was read whole, as botocore wants to stream it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self._body


@dataclass(frozen=True)
class _Answer:
    """An answer as it came, and for hooks as botocore has it; ``headers`` by names in lower case."""

    http: AWSResponse
    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, http: AWSResponse) -> Self:
        headers = {name.lower(): value for name, value in http.headers.items()}
        return cls(http, http.status_code, headers, http.content)


class DirectRequests:
    """``ObjectRequests`` over connections of its own. An unusual case goes ``otherwise``: through boto3.

    That is: bodies above DIRECT_BYTES_MAX, proxies, signatures other than Signature Version 4, and an answer that
    sends us elsewhere, which botocore knows to follow.
    """

    def __init__(
        self,
        client: "S3Client",
        *,
        bucket: str,
        credentials: Callable[[], Credentials | None],
        certificates: ssl.SSLContext | bool,
        connections_max: int,
        connect_timeout_s: float,
        read_timeout_s: float,
        otherwise: ObjectRequests,
        encryption: Mapping[str, str] | None = None,
    ) -> None:
        self._encryption = {_ENCRYPTION[name]: value for name, value in (encryption or {}).items()}
        self._client = client
        self._find_credentials = credentials
        self._certificates = certificates
        self._places = asyncio.Semaphore(connections_max)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s, sock_read=read_timeout_s)
        self._otherwise = otherwise
        self._routes = Routes(client, bucket=bucket)
        self._route: Route | None = None
        self._route_known = False
        self._credentials: Credentials | None = None
        self._session: aiohttp.ClientSession | None = None
        self._error_parser = create_parser("rest-xml")

    async def get_object(self, key: str) -> dict[str, Any]:
        route = await self._found_route()
        answer = await self._ask(route, "GetObject", "GET", key, {"x-amz-checksum-mode": "ENABLED"}) if route else None
        if answer is None:
            return await self._otherwise.get_object(key)
        parsed = self._parsed(answer, "GetObject")
        if len(answer.body) > DIRECT_BYTES_MAX:
            await asyncio.to_thread(_check_body, answer)
        else:
            _check_body(answer)
        return parsed

    async def put_object(
        self, key: str, body: bytes, *, sha256: bytes, if_absent: bool, metadata: Mapping[str, str]
    ) -> dict[str, Any]:
        headers = {"content-type": CONTENT_TYPE, "x-amz-checksum-sha256": base64.b64encode(sha256).decode()}
        headers |= self._encryption
        if if_absent:
            headers["if-none-match"] = "*"
        headers.update({_METADATA + name.lower(): value for name, value in metadata.items()})
        answer = None
        if len(body) <= DIRECT_BYTES_MAX and (route := await self._found_route()):
            answer = await self._ask(route, "PutObject", "PUT", key, headers, body=body, sha256=sha256.hex())
        if answer is None:
            return await self._otherwise.put_object(key, body, sha256=sha256, if_absent=if_absent, metadata=metadata)
        return self._parsed(answer, "PutObject")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(
        self,
        route: Route,
        operation: str,
        method: str,
        key: str,
        headers: dict[str, str],
        *,
        body: bytes = b"",
        sha256: str = _EMPTY_SHA256,
    ) -> _Answer | None:
        """Sign, send and read the answer whole; None if it sends us elsewhere."""
        prepared = await self._prepared(route, operation, method, key, headers, body=body, sha256=sha256)
        forged = first_non_none_response(self._client.meta.events.emit(f"before-send.s3.{operation}", request=prepared))
        if forged is not None:
            return _Answer.of(forged)
        answer = await self._send(prepared)
        if 300 <= answer.status < 400 or b"<Code>AuthorizationHeaderMalformed</Code>" in answer.body[:500]:
            self._route_known = False
            return None
        return answer

    async def _prepared(
        self, route: Route, operation: str, method: str, key: str, headers: dict[str, str], *, body: bytes, sha256: str
    ) -> AWSPreparedRequest:
        """Return the signed request."""
        encoded = route.encoded(key)
        url = route.url + encoded
        unsigned = AWSRequest(method, url, headers={**headers, "host": route.host}, data=body)
        self._client.meta.events.emit(
            f"before-sign.s3.{operation}",
            request=unsigned,
            signing_name="s3",
            region_name=route.region,
            signature_version="s3v4",
            request_signer=None,
            operation_name=operation,
        )
        complete = signed(
            method,
            route.path + encoded,
            {name.lower(): value for name, value in unsigned.headers.items()},
            payload_sha256=sha256,
            region=route.region,
            credentials=await self._current_credentials(),
            now=datetime.now(UTC),
        )
        sent: Any = HeadersDict({name: value.encode() for name, value in complete.items()})  # as bytes, like botocore's
        return AWSPreparedRequest(method, url, sent, body, False)

    async def _send(self, request: Any) -> _Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._certificates),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"user-agent": USER_AGENT},
                skip_auto_headers=("Accept", "Accept-Encoding"),
            )
        async with (
            self._places,
            asyncio.timeout(WRITE_TIMEOUT_S if request.body else None),
            self._session.request(
                request.method,
                URL(request.url, encoded=True),
                headers={name: value.decode() for name, value in request.headers.items()},
                data=request.body or None,
                allow_redirects=False,
                timeout=self._timeout,
            ) as response,
        ):
            body = await response.read()
        headers: Any = response.headers
        return _Answer.of(AWSResponse(request.url, response.status, headers, _Whole(body)))

    def _parsed(self, answer: _Answer, operation: str) -> dict[str, Any]:
        """Return the fields that boto3 would give, after its hooks; raises ClientError for a status of 300 or more."""
        headers = answer.headers
        model = self._client.meta.service_model.operation_model(operation)
        if answer.status >= 300:
            raw = {"status_code": answer.status, "headers": HeadersDict(headers), "body": answer.body, "context": {}}
            shape: Any = model.output_shape
            parsed = dict(self._error_parser.parse(raw, shape))
        else:
            parsed = {"ResponseMetadata": {"HTTPStatusCode": answer.status, "HTTPHeaders": dict(headers)}}
            for field, name in (("ETag", "etag"), ("ChecksumSHA256", "x-amz-checksum-sha256")):
                if name in headers:
                    parsed[field] = headers[name]
            if operation == "GetObject":
                if "content-length" in headers:
                    parsed["ContentLength"] = int(headers["content-length"])
                parsed["Metadata"] = {
                    name.removeprefix(_METADATA): value for name, value in headers.items() if name.startswith(_METADATA)
                }
                parsed["Body"] = answer.body
        self._client.meta.events.emit(
            f"after-call.s3.{operation}", http_response=answer.http, parsed=parsed, model=model, context={}
        )
        if answer.status >= 300:
            raise ClientError(parsed, operation)  # type: ignore[arg-type]
        return parsed

    async def _found_route(self) -> Route | None:
        """Return where requests go, None for through boto3; asked once, and again after an answer sent us elsewhere."""
        if not self._route_known:
            self._route = await asyncio.to_thread(self._routes.find)
            self._route_known = True
        return self._route

    async def _current_credentials(self) -> ReadOnlyCredentials:
        """Return the credentials, refreshed in a thread when it is time; raises botocore's errors."""
        if self._credentials is None:
            self._credentials = await asyncio.to_thread(self._find_credentials)
        if self._credentials is None:
            raise NoCredentialsError
        if isinstance(self._credentials, RefreshableCredentials) and self._credentials.refresh_needed():
            return await asyncio.to_thread(self._credentials.get_frozen_credentials)
        return self._credentials.get_frozen_credentials()


def _check_body(answer: _Answer) -> None:
    """Raise IncompleteReadError or FlexibleChecksumError unless the body is the one that the headers speak of."""
    headers, body = answer.headers, answer.body
    if "content-length" in headers and len(body) != int(headers["content-length"]):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=int(headers["content-length"]))
    for name, digest in _CHECKSUMS.items():
        expected = headers.get(f"x-amz-checksum-{name}", "-")
        if "-" in expected:
            continue  # none, or one of a multipart upload, which is no digest of the body
        found = base64.b64encode(digest(body)).decode()
        if found != expected:
            raise FlexibleChecksumError(error_msg=f"expected {name} {expected}, found {found}")
