"""The links between clients and servers, through Toxiproxy (https://github.com/Shopify/toxiproxy, its HTTP API)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

TIMEOUT_S = 10.0

Direction = Literal["upstream", "downstream"]


@dataclass(frozen=True)
class Toxic:
    """One way to spoil a link. ``attributes``: as Toxiproxy names them; ``share``: of the connections, 0 to 1."""

    kind: str
    direction: Direction
    attributes: Mapping[str, int]
    share: float = 1.0


class Proxies:
    """All proxies of one Toxiproxy, blocking; names are those of the servers behind them."""

    def __init__(self, url: str) -> None:
        self._url = url

    def put_before(self, name: str, *, listen: str, upstream: str) -> None:
        """Listen at one address and pass everything on to another (both host:port)."""
        self._ask("POST", "/proxies", {"name": name, "listen": listen, "upstream": upstream, "enabled": True})

    def spoil(self, name: str, toxic: Toxic) -> None:
        """Spoil a link until ``mend``; open connections are spoilt as well."""
        wanted = {
            "name": toxic.kind,
            "type": toxic.kind,
            "stream": toxic.direction,
            "toxicity": toxic.share,
            "attributes": dict(toxic.attributes),
        }
        self._ask("POST", f"/proxies/{name}/toxics", wanted)

    def mend(self) -> None:
        """Take every toxic off every link."""
        self._ask("POST", "/reset", {})

    def _ask(self, method: str, path: str, body: Any) -> None:
        request = Request(self._url + path, json.dumps(body).encode(), {"User-Agent": "oncelog-chaos"}, method=method)
        try:
            with urlopen(request, timeout=TIMEOUT_S) as answer:
                answer.read()
        except HTTPError as error:
            raise RuntimeError(f"Toxiproxy, {method} {path}: {error.code} {error.read().decode()}") from error
