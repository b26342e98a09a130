"""One HTTP GET, without proxies: what asks the servers that speak HTTP how they are."""

from __future__ import annotations

import base64
import http.client
from urllib.parse import unquote, urlsplit

from stack.errors import UnreachableError

TIMEOUT_S = 5.0


def get(url: str, path: str = "") -> tuple[int, bytes]:
    """Status and body of `url` with `path` added; a user and password in the URL are sent as basic authentication."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    headers = {}
    if parts.username:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
    try:
        connection.request("GET", (parts.path.rstrip("/") + path) or "/", headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise UnreachableError(f"{parts.hostname}:{parts.port} does not answer in HTTP: {error!r}") from error
    finally:
        connection.close()
