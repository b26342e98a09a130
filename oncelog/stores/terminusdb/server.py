"""One TerminusDB by its HTTP interface: databases with our schema, queries, and clear errors."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import stamina

from oncelog.errors import ObjectRefused, SettingsInvalid, StoreUnavailable
from oncelog.metrics import store_request
from oncelog.settings import TerminusdbSettings
from oncelog.settings.addresses import revealed
from oncelog.stores.terminusdb.refusals import is_never, refused
from oncelog.stores.terminusdb.woql import Query
from oncelog.stores.tls import TlsNames, client_context, tls_refusal

TLS = TlsNames(
    ca="ONCELOG_TERMINUSDB_CA_CERTS",
    certificate="a client certificate",
    plain="set ONCELOG_TERMINUSDB_URL to http://",
    encrypted="set ONCELOG_TERMINUSDB_URL to https://",
)
REQUEST_TIMEOUT_S = 15.0  # a commit of a full batch takes about one
CONFLICTS_MAX = 8  # other writers that may be faster before we give up for now
CONFLICT_PAUSE_S = 0.05
TEAM = "admin"
AUTHOR = "oncelog"

#: The answers to concurrent creations of the same document, and to concurrent commits.
_CONFLICTS = ("DocumentIdAlreadyExists", "TransactionRetry", "TransactionFailed")

_after_conflicts = stamina.AsyncRetryingCaller(
    attempts=CONFLICTS_MAX,
    timeout=None,
    wait_initial=CONFLICT_PAUSE_S,
    wait_max=4 * CONFLICT_PAUSE_S,
    wait_jitter=CONFLICT_PAUSE_S,
)


class _ConflictError(Exception):
    """Another writer was faster; ``answer``: how the server says so."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__("another writer was faster")
        self.answer = answer


class TerminusServer:
    """One client. ``requests`` counts the requests sent, by kind.

    Two that write the same documents at once may make one of them fail; such a one is sent again here, since only the
    server can tell, and nothing else is tried twice.
    """

    def __init__(self, settings: TerminusdbSettings) -> None:
        url = settings.url or ""
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise _invalid(url, error) from error
        if address.scheme not in ("http", "https") or not address.host:
            raise _invalid(url, "no address")
        host = f"[{address.host}]" if ":" in address.host else address.host
        where = f"{address.scheme}://{host}{f':{address.port}' if address.port else ''}"
        self.name = f"TerminusDB at {where}"
        self.requests: Counter[str] = Counter()
        self._client = httpx.AsyncClient(
            base_url=f"{where}{address.path.rstrip('/')}/api",
            **_credentials(settings),
            verify=client_context(TLS, ca=settings.ca_certs, certificate=None, key=None),
            timeout=REQUEST_TIMEOUT_S,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ping(self) -> None:
        """See that it answers to our user; raises StoreUnavailable."""
        await self._send("info", "GET", "/info", doing="connecting")

    async def ask(self, database: str, query: Query, *, doing: str) -> Sequence[Mapping[str, Any]] | None:
        """Return the bindings of a query, or None if there is no such database; raises StoreUnavailable."""
        return await self._query(database, {"query": query}, doing=doing)

    async def change(self, database: str, query: Query, *, schema: Sequence[Mapping[str, Any]], doing: str) -> None:
        """Run a query that writes; the database is made if there is none.

        Raises StoreUnavailable, and ObjectRefused where something in the query can never be taken.
        """
        body = {"query": query, "commit_info": {"author": AUTHOR, "message": doing[:200]}}
        if await self._query(database, body, doing=doing) is None:
            await self._create(database, schema)
            if await self._query(database, body, doing=doing) is None:
                raise StoreUnavailable(self.name, doing, f"the database {database} is gone again")

    async def drop(self, database: str) -> None:
        """Delete a database and all that is in it; that there is none is fine. Raises StoreUnavailable."""
        path = f"/db/{TEAM}/{database}"
        await self._send(
            "drop", "DELETE", path, doing=f"dropping database {database}", database=database, accepted=(404,)
        )

    async def _query(self, database: str, body: Mapping[str, Any], *, doing: str) -> Sequence[Mapping[str, Any]] | None:
        path = f"/woql/{TEAM}/{database}"

        async def query_terminusdb() -> httpx.Response:
            answer = await self._send(
                "woql", "POST", path, doing=doing, database=database, json=body, accepted=(400, 404, 409, 413)
            )
            if not answer.is_success and any(word in answer.text for word in _CONFLICTS):
                raise _ConflictError(answer)
            return answer

        try:
            answer = await _after_conflicts(_ConflictError, query_terminusdb)
        except _ConflictError as conflict:
            answer = conflict.answer
        if answer.is_success:
            bindings: Sequence[Mapping[str, Any]] = answer.json()["bindings"]
            return bindings
        if answer.status_code == 404 and "Unresolvable" in answer.text:
            return None
        if is_never(answer.status_code, answer.text):
            raise ObjectRefused(self.name, f"what was sent for {doing}", _reason(answer))
        raise StoreUnavailable(self.name, doing, _reason(answer))

    async def _create(self, database: str, schema: Sequence[Mapping[str, Any]]) -> None:
        doing = f"creating database {database}"
        wanted = {"label": database, "comment": "Made by Oncelog from its log; it can be rebuilt.", "schema": True}
        place: dict[str, Any] = {"doing": doing, "database": database, "creating": True}
        made = await self._send("create", "POST", f"/db/{TEAM}/{database}", json=wanted, accepted=(400,), **place)
        if made.status_code == 400 and "DatabaseAlreadyExists" not in made.text:
            raise self._refused(made, **place)
        options = {"graph_type": "schema", "author": AUTHOR, "message": "schema", "create": "true"}
        options["full_replace"] = "true"
        await self._send("schema", "PUT", f"/document/{TEAM}/{database}", params=options, json=schema, **place)

    async def _send(
        self,
        kind: str,
        method: str,
        path: str,
        *,
        doing: str,
        database: str = "",
        creating: bool = False,
        accepted: Sequence[int] = (),
        **request: Any,
    ) -> httpx.Response:
        self.requests[kind] += 1
        try:
            with store_request("terminusdb", kind):
                answer = await self._client.request(method, path, **request)
        except httpx.HTTPError as error:
            if tls := tls_refusal(error, TLS, self.name, doing):
                raise tls from error
            raise StoreUnavailable(self.name, doing, str(error) or type(error).__name__) from error
        if not answer.is_success and answer.status_code not in accepted:
            raise self._refused(answer, doing=doing, database=database, creating=creating)
        return answer

    def _refused(self, answer: httpx.Response, *, doing: str, database: str, creating: bool) -> StoreUnavailable:
        return refused(
            answer.status_code, _reason(answer), store=self.name, database=database, doing=doing, creating=creating
        )


def _credentials(settings: TerminusdbSettings) -> dict[str, Any]:
    if settings.token:
        return {"headers": {"Authorization": f"Token {revealed(settings.token)}"}}
    return {"auth": (settings.username or "admin", revealed(settings.password) or "")}


def _reason(answer: httpx.Response) -> str:
    try:
        message = answer.json()["api:message"]
    except (ValueError, KeyError, TypeError):
        message = answer.text[:200]
    return f"HTTP status {answer.status_code}: {message}"


def _invalid(url: str, cause: object) -> SettingsInvalid:
    return SettingsInvalid(
        f"ONCELOG_TERMINUSDB_URL: expected something like http://user:password@127.0.0.1:6363, found {url!r}: {cause}"
    )
