"""Searching documents. A search sees writes after about a second, and no refresh is forced."""

import base64
import binascii
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elasticsearch import ApiError, BadRequestError, NotFoundError, TransportError

from oncelog.domain.canonical import sha256_hex
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.queries import Range, Scalar, Search, exact_term, range_of_terms
from oncelog.errors import ContainerUnusable, CursorExpired, InputInvalid, OncelogError, UnusableReason
from oncelog.ports import CURSOR_KEPT_S, Document, SearchPage
from oncelog.settings import Settings
from oncelog.stores.elasticsearch.mapping import EXACT, EXACT_READY, SORTABLE, UNFIT, as_written
from oncelog.stores.elasticsearch.server import ElasticsearchServer


class ElasticsearchSearches:
    """The ``Searches`` on Elasticsearch."""

    def __init__(self, server: ElasticsearchServer, settings: Settings) -> None:
        self._server = server
        self._settings = settings

    async def find_documents(self, search: Search) -> SearchPage:
        """Return a page of the documents found; raises InputInvalid, CursorExpired, StoreUnavailable.

        A search with more than one page is pinned to the moment of its first one. A first page is asked for twice
        then, since most searches have one page, and a pinned moment costs the server room.
        """
        cursor = _read_cursor(search)
        doing = f"searching {search.db_name}/{search.class_id}"
        try:
            if cursor is not None:
                return await self._pinned(search, cursor)
            alias = self._alias(search.db_name, search.class_id)
            answer = await self._server.search(alias, **_request(search))
            if not search.results_max or answer["hits"]["total"]["value"] <= search.results_max:
                return SearchPage(_documents(answer), answer["hits"]["total"]["value"], "")
            return await self._pinned(search, _Cursor(await self._server.pin(alias, kept_s=CURSOR_KEPT_S)))
        except NotFoundError as error:
            if cursor is None:
                return SearchPage([], 0, "")
            raise CursorExpired(
                f"{doing}: the cursor has expired; the next page must be read within {CURSOR_KEPT_S} s, and before "
                "the class is defined anew; search again from the first page"
            ) from error
        except BadRequestError as error:
            raise self._refusal(search, doing, error) from error
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(doing, error) from error

    async def _pinned(self, search: Search, cursor: "_Cursor") -> SearchPage:
        """Return the page after the cursor, as of the moment that it names."""
        answer = await self._server.search_pinned(
            cursor.pinned, kept_s=CURSOR_KEPT_S, search_after=cursor.after, **_request(search)
        )
        hits, total = answer["hits"]["hits"], answer["hits"]["total"]["value"]
        count = cursor.count + len(hits)
        if not hits or count >= total:
            await self._server.unpin(answer["pit_id"])
            return SearchPage(_documents(answer), total, "")
        following = _Cursor(answer["pit_id"], hits[-1]["sort"], count)
        return SearchPage(_documents(answer), total, following.text(search))

    def _refusal(self, search: Search, doing: str, error: BadRequestError) -> OncelogError:
        if any(f"No mapping found for [{name}" in str(error.body) for name in (EXACT_READY, f"{SORTABLE}.")):
            return ContainerUnusable(
                self._server.name,
                f"the index of {search.db_name}/{search.class_id}",
                UnusableReason.MISCONFIGURED,
                cause="it is of an earlier release and has not all that filters and orders need",
                remedy=f"run oncelog class reindex {search.db_name}/{search.class_id}",
                doing=doing,
            )
        if search.cursor:
            return _foreign_cursor()
        return InputInvalid(
            f"{doing}: Elasticsearch cannot make sense of it: {self._server.unavailable(doing, error).message}"
        )

    async def searchable(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number as of which each one's document is found; raises StoreUnavailable."""
        by_alias: defaultdict[str, list[str]] = defaultdict(list)
        for aggregate_id in dict.fromkeys(aggregate_ids):
            by_alias[self._alias(aggregate_id.db_name, aggregate_id.class_id)].append(str(aggregate_id))
        found: dict[str, int] = {}
        for alias, wanted in by_alias.items():
            found |= await self._server.searched_numbers(alias, wanted)
        return [found.get(str(aggregate_id), 0) for aggregate_id in aggregate_ids]

    def _alias(self, db_name: str, class_id: str) -> str:
        return self._settings.instances_alias(db_name, class_id)


def _query(search: Search) -> dict[str, Any]:
    clauses = [_clause(pointer, value) for pointer, value in search.where.items()]
    must: list[dict[str, Any]] = []
    if search.words.strip():
        words = {
            "query": search.words,
            "fields": ["data", "data.*", UNFIT],
            "default_operator": "and",
            "flags": "PREFIX|PHRASE|ESCAPE|WHITESPACE",
            "lenient": True,  # a word is no number, and is then not looked for among numbers
        }
        must.append({"simple_query_string": words})
    of_class = {"term": {"class_id": search.class_id}}  # another spelling of it finds nothing
    return {"bool": {"must": must, "filter": [of_class, {"term": {"deleted": False}}, *clauses]}}


def _clause(pointer: str, value: Scalar | Range) -> dict[str, Any]:
    if isinstance(value, Range):
        first, last = range_of_terms(pointer, value)
        return {"range": {EXACT: {"gte": first, "lte": last}}}
    term = {"term": {EXACT: exact_term(pointer, value)}}
    return {"bool": {"must_not": [term]}} if value is None else term


@dataclass(frozen=True)
class _Cursor:
    """Where a page ended. ``pinned``: the moment; ``after``: the last hit's sort values; ``count``: hits so far."""

    pinned: str
    after: Sequence[Any] | None = None
    count: int = 0

    def text(self, search: Search) -> str:
        fields = [search.digest, self.pinned, self.after, self.count]
        return base64.urlsafe_b64encode(json.dumps([*fields, _checksum(fields)]).encode()).decode()


def _read_cursor(search: Search) -> _Cursor | None:
    """Return where to go on, None for the first page; raises InputInvalid."""
    if not search.cursor:
        return None
    try:
        fields = json.loads(base64.b64decode(search.cursor, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise _foreign_cursor() from error
    match fields:
        case [str(digest), str(pinned), [*after], int(count), str(checksum)] if checksum == _checksum(fields[:4]):
            if digest != search.digest:
                raise InputInvalid(
                    "search: the cursor is of another search; repeat its words, filters and order with it"
                )
            return _Cursor(pinned, after, count)
    raise _foreign_cursor()


def _checksum(fields: list[Any]) -> str:
    """Return the checksum that tells a cursor that was cut or changed from one of ours."""
    return sha256_hex(json.dumps(fields).encode())[:16]


def _foreign_cursor() -> InputInvalid:
    return InputInvalid("search: the cursor is not one of ours; pass it on unchanged")


def _request(search: Search) -> dict[str, Any]:
    return {
        "query": _query(search),
        "sort": _sort(search),
        "size": search.results_max,
        "version": True,
        "track_total_hits": True,
    }


def _sort(search: Search) -> list[dict[str, Any]]:
    order: list[dict[str, Any]] = [
        {
            f"{SORTABLE}.{key.path}": {"order": "desc", "mode": "max"}
            if key.descending
            else {"order": "asc", "mode": "min"}
        }
        for key in search.sort_keys
    ]
    ready = [{EXACT_READY: "asc"}] if search.where or order else []
    return [*(order or [{"_score": "desc"}]), {"instance_id": "asc"}, *ready]


def _documents(answer: Mapping[str, Any]) -> list[Document]:
    return [
        Document(AggregateId.parse(hit["_source"]["aggregate_id"]), hit["_version"], as_written(hit["_source"]))
        for hit in answer["hits"]["hits"]
    ]
