"""The route of requests for a bucket's objects, and whether we may sign them, as botocore decides both."""

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from botocore.utils import get_environ_proxies

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Route:
    """``url`` and ``path`` end where a key begins; ``host`` is the value of the header Host."""

    url: str
    path: str
    host: str
    region: str

    def encoded(self, key: str) -> str:
        """Return the key as S3 signs and stores it: each byte of UTF-8 but unreserved ones and ``/`` encoded."""
        return quote(key, safe="/~")


class Routes:
    """Asks botocore, which resolves endpoint, addressing style, access points and the region of a bucket.

    It is asked by beginning a GetObject that ends before it is signed or sent.
    """

    def __init__(self, client: "S3Client", *, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = f"route-{uuid.uuid4()}"
        client.meta.events.register_first("before-call.s3.GetObject", self._seen)

    def find(self) -> Route | None:
        """Return the route, or None where requests must leave through botocore. Blocks; raises boto3's errors."""
        try:
            self._client.get_object(Bucket=self._bucket, Key=self._key)
        except _RouteSeen as seen:
            return seen.route
        return None

    def _seen(self, params: dict[str, Any], context: dict[str, Any], request_signer: Any, **_: Any) -> None:
        url, signing, config = params["url"], context.get("signing", {}), context["client_config"]
        if not url.endswith(f"/{self._key}"):
            return
        plain = (
            context.get("auth_type", "v4") == "v4"  # not v4a, v4-s3express or none
            and request_signer.signature_version in ("s3v4", "v4")
            and signing.get("signing_name", "s3") == "s3"
            and not config.proxies
            and not get_environ_proxies(url)
        )
        base = urlsplit(url.removesuffix(self._key))
        default_port = base.port in (None, _DEFAULT_PORTS.get(base.scheme))
        host = str(base.hostname) if default_port else f"{base.hostname}:{base.port}"
        region = signing.get("region") or request_signer.region_name
        raise _RouteSeen(Route(base.geturl(), base.path, host, region) if plain else None)


class _RouteSeen(Exception):
    def __init__(self, route: Route | None) -> None:
        super().__init__()
        self.route = route
