"""One HTTP GET, without proxies, to check the servers that speak HTTP."""

from __future__ import annotations

import ssl

from stack.errors import UnreachableError

TIMEOUT_S = 5.0


def get(url: str, path: str = "", *, ca: str | None = None) -> tuple[int, bytes]:
    """Return status and body of `url` with `path` added; a user and password in the URL are sent.

    Raises `UnreachableError` if no answer in HTTP comes within `TIMEOUT_S`.
    """
    import httpx  # takes long, and most commands of the stack check no server

    try:
        with httpx.Client(trust_env=False, verify=ssl.create_default_context(cafile=ca), timeout=TIMEOUT_S) as client:
            response = client.get(url.rstrip("/") + (path or "/"))
    except httpx.HTTPError as error:
        host = httpx.URL(url).netloc.decode()
        raise UnreachableError(f"{host} does not answer in HTTP: {type(error).__name__}: {error}") from error
    return response.status_code, response.content
