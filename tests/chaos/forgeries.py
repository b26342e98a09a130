"""S3's answers forged inside a worker, through boto3's own event system.

Each forgery is a handler of ``before-send.s3.OPERATION``: it gets the signed request and returns the answer that the
worker is to believe. Which one is in force is told by a file (see ``Forger``), so that a running worker can be lied to
at any moment.
"""

import json
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import structlog
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session

#: The environment variable that names the file of the forgery in force.
VARIABLE = "ONCELOG_CHAOS_FORGERY"

log = structlog.get_logger("oncelog.chaos")


class _Raw(BytesIO):
    """A response's body as urllib3 gives it."""

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self.read()


def _answer(request: Any, status: int, code: str) -> AWSResponse:
    """Return an error as S3 words it, without having asked S3."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>forged</Message></Error>".encode()
    headers = {"content-type": "application/xml", "content-length": str(len(body))}
    return AWSResponse(request.url, status, HTTPHeaders.from_dict(headers), _Raw(body))


class _S3:
    """The real S3 behind a forgery, asked over a connection that the worker knows nothing of."""

    def __init__(self) -> None:
        self._session = URLLib3Session(timeout=5)

    def ask(self, request: Any) -> AWSResponse:
        answer = self._session.send(request)
        answer.content  # noqa: B018 - read it whole, while the connection is there
        return answer


def _changed(request: Any, status: int, headers: Mapping[str, str], body: bytes) -> AWSResponse:
    return AWSResponse(request.url, status, HTTPHeaders.from_dict(headers), _Raw(body))


def _internal_error(request: Any, _: _S3) -> AWSResponse:
    return _answer(request, 500, "InternalError")


def _slow_down(request: Any, _: _S3) -> AWSResponse:
    return _answer(request, 503, "SlowDown")


def _conflict(request: Any, _: _S3) -> AWSResponse:
    return _answer(request, 409, "ConditionalRequestConflict")


def _precondition_failed(request: Any, _: _S3) -> AWSResponse:
    """A 412 though nothing stands there."""
    return _answer(request, 412, "PreconditionFailed")


def _lost(request: Any, s3: _S3) -> AWSResponse:
    """The write takes effect and its answer never comes."""
    s3.ask(request)
    raise ReadTimeoutError(endpoint_url=request.url)


def _own_precondition_failed(request: Any, s3: _S3) -> AWSResponse:
    """The write takes effect, something on the way repeats it, and the second answer is the one that arrives."""
    s3.ask(request)
    return s3.ask(request)


def _without_etag(request: Any, s3: _S3) -> AWSResponse:
    """The write takes effect, and the answer is cut down to its status."""
    answer = s3.ask(request)
    return _changed(request, answer.status_code, {"content-length": "0"}, b"")


def _bogus_success(request: Any, _: _S3) -> AWSResponse:
    """Nothing takes effect, and the answer is a success without ETag."""
    return _changed(request, 200, {"content-length": "0"}, b"")


def _truncated(request: Any, s3: _S3) -> AWSResponse:
    answer = s3.ask(request)
    return _changed(request, answer.status_code, answer.headers, answer.content[: len(answer.content) // 2])


def _bit_flipped(request: Any, s3: _S3) -> AWSResponse:
    answer = s3.ask(request)
    body = bytearray(answer.content)
    if body:
        body[len(body) // 2] ^= 1
    return _changed(request, answer.status_code, answer.headers, bytes(body))


Forge = Callable[[Any, _S3], AWSResponse]

#: Every forgery: its name, the S3 operation whose answer it forges, and how.
FORGERIES: dict[str, tuple[str, Forge]] = {
    "put_500": ("PutObject", _internal_error),
    "put_503": ("PutObject", _slow_down),
    "put_409": ("PutObject", _conflict),
    "put_412": ("PutObject", _precondition_failed),
    "put_lost": ("PutObject", _lost),
    "put_412_own": ("PutObject", _own_precondition_failed),
    "put_no_etag": ("PutObject", _without_etag),
    "put_bogus": ("PutObject", _bogus_success),
    "get_500": ("GetObject", _internal_error),
    "get_truncated": ("GetObject", _truncated),
    "get_bit_flipped": ("GetObject", _bit_flipped),
}


@dataclass(frozen=True)
class Order:
    """The forgeries in force. ``names``: of forgeries; ``share``: of the requests that they fit, 0 to 1."""

    names: tuple[str, ...]
    share: float

    def to_json(self) -> str:
        return json.dumps({"names": self.names, "share": self.share})

    @classmethod
    def read(cls, path: Path) -> "Order":
        found = json.loads(path.read_text())
        return cls(tuple(found["names"]), found["share"])


class Forger:
    """Forges answers inside one worker while the file is there; each one forged adds a line to the file ``.made``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = made_path(path)
        self._s3 = _S3()
        self._seen: tuple[int, Order] | None = None
        self._draw = random.Random(os.getpid())

    def register(self, events: Any) -> None:
        """Stand between the worker's client and S3 (``client.meta.events``)."""
        for operation in sorted({operation for operation, _ in FORGERIES.values()}):
            events.register(f"before-send.s3.{operation}", self._handler(operation))

    def _handler(self, operation: str) -> Callable[..., AWSResponse | None]:
        def forge(request: Any, **_: Any) -> AWSResponse | None:
            order = self._order()
            if order is None:
                return None
            fitting = [name for name in order.names if FORGERIES[name][0] == operation]
            if not fitting or self._draw.random() >= order.share:
                return None
            name = self._draw.choice(fitting)
            log.info("forged", forgery=name, url=request.url)
            with self._made.open("a") as made:
                made.write(f"{name}\n")
            return FORGERIES[name][1](request, self._s3)

        return forge

    def _order(self) -> Order | None:
        try:
            changed_ns = self._path.stat().st_mtime_ns
            if self._seen is None or self._seen[0] != changed_ns:
                self._seen = (changed_ns, Order.read(self._path))
        except FileNotFoundError:
            return None
        return self._seen[1]


def made_path(path: Path) -> Path:
    """Return the file that tells of what was forged by order of this one."""
    return path.with_suffix(".made")
