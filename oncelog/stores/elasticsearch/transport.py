"""The transport of Elasticsearch's client, which measures each request."""

from typing import Any

from elastic_transport import AsyncTransport, TransportApiResponse

from oncelog.metrics import STORE_REQUEST_FAILURES, store_request

_UNUSABLE = (408, 429)


class MeasuredTransport(AsyncTransport):
    """Sends requests as its base does."""

    async def perform_request(  # type: ignore[override]  # as the base declares it
        self, method: str, target: str, **options: Any
    ) -> TransportApiResponse:
        operation = _operation(method, target)
        with store_request("elasticsearch", operation):
            response = await super().perform_request(method, target, **options)
        if response.meta.status >= 500 or response.meta.status in _UNUSABLE:
            STORE_REQUEST_FAILURES.labels("elasticsearch", operation).inc()
        return response


def _operation(method: str, target: str) -> str:
    """Return the API that a request asks for, such as ``_bulk``: the first name of it, which holds no index."""
    names = (name for name in target.partition("?")[0].split("/") if name.startswith("_"))
    return next(names, method.lower())
