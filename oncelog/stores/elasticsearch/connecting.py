"""Making the client: nodes or a Cloud ID, TLS and credentials, and a transport that measures each request."""

from collections.abc import Sequence
from typing import Any

from elastic_transport import AsyncTransport, NodeConfig, TransportApiResponse
from elastic_transport.client_utils import url_to_node_config
from elasticsearch import AsyncElasticsearch

from oncelog.errors import SettingsInvalid
from oncelog.metrics import STORE_REQUEST_FAILURES, store_request
from oncelog.settings import ElasticsearchSettings
from oncelog.settings.addresses import revealed
from oncelog.stores.tls import TlsNames, client_context

_FAILED = (408, 429)

TLS = TlsNames(
    ca="ONCELOG_ELASTICSEARCH_CA_CERTS",
    certificate="ONCELOG_ELASTICSEARCH_CLIENT_CERT",
    plain="set ONCELOG_ELASTICSEARCH_URL to http://",
    encrypted="set ONCELOG_ELASTICSEARCH_URL to https://",
)


def new_client(
    settings: ElasticsearchSettings, request_timeout_s: float, *, connections_max: int
) -> tuple[AsyncElasticsearch, str]:
    """Return a client that has sent nothing yet, and the name of its cluster for messages; raises SettingsInvalid."""
    options: dict[str, Any] = {"max_retries": 0, "retry_on_timeout": False, "request_timeout": request_timeout_s}
    options |= {"connections_per_node": connections_max, "transport_class": MeasuredTransport}
    if settings.api_key:
        options["api_key"] = revealed(settings.api_key)
    elif settings.password:
        options["basic_auth"] = (settings.username or "elastic", revealed(settings.password) or "")
    if settings.cloud_id:
        try:
            return AsyncElasticsearch(cloud_id=settings.cloud_id, **options), "Elasticsearch of a Cloud ID"
        except ValueError as error:
            raise SettingsInvalid(
                "ONCELOG_ELASTICSEARCH_CLOUD_ID: expected name:base64, as its console shows it"
            ) from error
    nodes = _nodes(settings.url)
    if any(node.scheme == "https" for node in nodes):
        options |= _tls(settings)
    elif settings.ca_certs or settings.ssl_assert_fingerprint or settings.client_cert:
        raise SettingsInvalid(
            "ONCELOG_ELASTICSEARCH_CA_CERTS, _SSL_ASSERT_FINGERPRINT or _CLIENT_CERT is set, and "
            "ONCELOG_ELASTICSEARCH_URL uses no TLS: expected https://"
        )
    name = f"Elasticsearch at {','.join(f'{each.scheme}://{each.host}:{each.port}' for each in nodes)}"
    return AsyncElasticsearch(nodes, **options), name


def _tls(settings: ElasticsearchSettings) -> dict[str, Any]:
    if settings.ssl_assert_fingerprint:
        return {"ssl_assert_fingerprint": settings.ssl_assert_fingerprint}
    context = client_context(TLS, ca=settings.ca_certs, certificate=settings.client_cert, key=settings.client_key)
    return {"ssl_context": context}


def _nodes(url: str) -> Sequence[NodeConfig]:
    try:
        return [url_to_node_config(part.strip(), use_default_ports_for_scheme=True) for part in url.split(",")]
    except ValueError as error:
        raise SettingsInvalid(
            f"ONCELOG_ELASTICSEARCH_URL: expected something like http://127.0.0.1:9200, found {url!r}: {error}"
        ) from error


def copies_and_refresh(settings: ElasticsearchSettings) -> dict[str, Any]:
    """Return the settings of an index that is created; a fixed number of copies does not grow by itself."""
    found: dict[str, Any] = {}
    if "-" in settings.replicas:
        found["auto_expand_replicas"] = settings.replicas
    else:
        found |= {"auto_expand_replicas": "false", "number_of_replicas": int(settings.replicas)}
    if settings.refresh_interval:
        found["refresh_interval"] = settings.refresh_interval
    return found


class MeasuredTransport(AsyncTransport):
    """Sends requests as its base does."""

    async def perform_request(  # type: ignore[override]  # as the base declares it
        self, method: str, target: str, **options: Any
    ) -> TransportApiResponse:
        operation = _operation(method, target)
        with store_request("elasticsearch", operation):
            response = await super().perform_request(method, target, **options)
        if response.meta.status >= 500 or response.meta.status in _FAILED:
            STORE_REQUEST_FAILURES.labels("elasticsearch", operation).inc()
        return response


def _operation(method: str, target: str) -> str:
    """Return the API that a request asks for, such as ``_bulk``: the first name of it, which holds no index."""
    names = (name for name in target.partition("?")[0].split("/") if name.startswith("_"))
    return next(names, method.lower())
