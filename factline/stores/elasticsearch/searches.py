"""Searching documents. What a search sees is refreshed about once a second, and nobody is made to refresh it sooner."""

import base64
import binascii
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from elasticsearch import ApiError, BadRequestError, NotFoundError, TransportError

from factline.domain.identifiers import AggregateId
from factline.domain.queries import Scalar, Search, exact_term
from factline.errors import InputInvalid, StoreUnavailable
from factline.ports import Document, SearchPage
from factline.settings import Settings
from factline.stores.elasticsearch.mapping import EXACT, EXACT_READY, UNFIT, as_written
from factline.stores.elasticsearch.server import ElasticsearchServer


class ElasticsearchSearches:
    """The ``Searches`` on Elasticsearch."""

    def __init__(self, server: ElasticsearchServer, settings: Settings) -> None:
        self._server = server
        self._settings = settings

    async def find(self, search: Search) -> SearchPage:
        """Return a page of what is found; raises InputInvalid, StoreUnavailable."""
        doing = f"searching {search.db_name}/{search.class_id}"
        after = _read_cursor(search.cursor)
        try:
            answer = await self._server.search(
                self._alias(search.db_name, search.class_id),
                query=_query(search),
                sort=[{"_score": "desc"}, {"instance_id": "asc"}, *([{EXACT_READY: "asc"}] if search.where else [])],
                search_after=after,
                size=search.results_max,
                version=True,
                track_total_hits=True,
            )
        except NotFoundError:
            return SearchPage([], 0, "")
        except BadRequestError as error:
            if f"No mapping found for [{EXACT_READY}]" in str(error.body):
                raise StoreUnavailable(
                    self._server.name,
                    doing,
                    "its index is of an earlier release and cannot answer filters exactly; run factline class reindex "
                    f"{search.db_name}/{search.class_id}",
                ) from error
            raise InputInvalid(
                f"{doing}: Elasticsearch cannot make sense of it: {self._server.unavailable(doing, error).message}"
            ) from error
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(doing, error) from error
        hits = answer["hits"]["hits"]
        documents = [
            Document(AggregateId.parse(hit["_source"]["aggregate_id"]), hit["_version"], as_written(hit["_source"]))
            for hit in hits
        ]
        more = len(hits) == search.results_max
        return SearchPage(documents, answer["hits"]["total"]["value"], _cursor(hits[-1]["sort"]) if more else "")

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
        return self._settings.named(f"instances.{db_name}.{class_id}").lower()


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


def _clause(pointer: str, value: Scalar) -> dict[str, Any]:
    term = {"term": {EXACT: exact_term(pointer, value)}}
    return {"bool": {"must_not": [term]}} if value is None else term


def _cursor(sort: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(sort).encode()).decode()


def _read_cursor(cursor: str) -> list[Any] | None:
    if not cursor:
        return None
    try:
        found = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise InputInvalid("search: the cursor is not one of ours; pass it on unchanged") from error
    if not isinstance(found, list) or len(found) not in (2, 3):
        raise InputInvalid("search: the cursor is not one of ours; pass it on unchanged")
    return found
