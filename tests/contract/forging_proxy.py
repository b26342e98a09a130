"""A proxy in front of S3 whose answers are forged: the client under test knows nothing of it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, web
from yarl import URL

BODY_BYTES_MAX = 2**26
#: Said anew on each connection, or by the proxy itself.
_OF_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "date", "server", "expect"}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ForgingProxy:
    """Passes requests on to S3, signed as they are, unless an answer is forged for their operation."""

    def __init__(self, s3_url: str, session: ClientSession) -> None:
        self.url = ""
        self._s3_url = s3_url.rstrip("/")
        self._session = session
        self._forged: dict[str, list[Answer]] = {}
        self._always: dict[str, Answer] = {}

    def forge(self, operation: str, answer: Answer, *, times: int = 1) -> None:
        """Let the answer take the place of the next ones to an operation, such as ``PutObject``."""
        self._forged.setdefault(operation, []).extend([answer] * times)

    def forge_always(self, operation: str, answer: Answer) -> None:
        """Let the answer take the place of all that follow."""
        self._always[operation] = answer

    def forge_no_more(self) -> None:
        """Pass everything on from now."""
        self._forged.clear()
        self._always.clear()

    async def ask_s3(self, request: web.Request) -> web.Response:
        """Let the request take effect, and return S3's own answer."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_CONNECTION}
        async with self._session.request(
            request.method,
            URL(self._s3_url + request.raw_path, encoded=True),
            headers=headers,  # with the host that was signed
            data=await request.read() or None,
            allow_redirects=False,
        ) as answer:
            body = await answer.read()
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_CONNECTION}
        if request.method != "HEAD":
            kept = {name: value for name, value in kept.items() if name.lower() != "content-length"}
        return web.Response(status=answer.status, headers=kept, body=body or None)

    async def lose_answer(self, request: web.Request) -> web.Response:
        """Let the request take effect, and end the connection in place of an answer."""
        answer = await self.ask_s3(request)
        assert request.transport is not None
        request.transport.abort()
        return answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        operation = operation_of(request)
        if waiting := self._forged.get(operation):
            return await waiting.pop(0)(request)
        return await self._always.get(operation, self.ask_s3)(request)


def operation_of(request: web.Request) -> str:
    """Return the operation as boto3 names it, of those that are forged; else method and path."""
    if "list-type" in request.query:
        return "ListObjectsV2"
    is_object = request.path.strip("/").count("/") > 0 and not {"uploads", "uploadId"} & request.query.keys()
    return {"PUT": "PutObject", "GET": "GetObject"}.get(request.method, request.method) if is_object else request.path


@asynccontextmanager
async def forging_proxy(s3_url: str) -> AsyncIterator[ForgingProxy]:
    """Run a proxy in front of the S3 at this address."""
    async with ClientSession(
        auto_decompress=False,
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=60),
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
    ) as session:
        proxy = ForgingProxy(s3_url, session)
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield proxy
        finally:
            await runner.cleanup()


def answer(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
    """Return an answer that S3 is not asked for."""

    async def forged(_: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers, body=body)

    return forged


def cut_off(headers: dict[str, str], body: bytes, *, length: int) -> Answer:
    """Return an answer that promises more bytes than it has."""

    async def forged(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers | {"content-length": str(length)})
        await response.prepare(request)
        await response.write(body)
        if request.transport is not None:
            request.transport.close()
        return response

    return forged


def without_length(headers: dict[str, str], body: bytes) -> Answer:
    """Return an answer whose body ends where the connection does, as HTTP/1.0 has it."""

    async def forged(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(body)
        await response.write_eof()
        return response

    return forged


def changed(proxy: ForgingProxy, change: Callable[[web.Response], None]) -> Answer:
    """Return S3's own answer, changed."""

    async def forged(request: web.Request) -> web.Response:
        response = await proxy.ask_s3(request)
        change(response)
        return response

    return forged


def without_element(name: str) -> Callable[[web.Response], None]:
    """Return the change that leaves an element out of a body of XML."""

    def change(response: web.Response) -> None:
        assert isinstance(response.body, bytes)
        response.body = re.sub(rf"<{name}>.*?</{name}>".encode(), b"", response.body)

    return change
