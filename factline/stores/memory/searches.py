"""The in-memory twin of searching, for classes without a definition: words are whole values."""

from collections.abc import Iterator, Sequence
from typing import Any

from factline.domain.identifiers import AggregateId
from factline.domain.queries import Search, matches
from factline.errors import InputInvalid, StoreUnavailable, StoreUnsafe, UnusableReason
from factline.ports import Document, SearchPage
from factline.stores.memory.elasticsearch import MemoryDocuments


class MemorySearches:
    """``Searches`` over the documents in memory, which are found at once."""

    def __init__(self, documents: MemoryDocuments) -> None:
        self._documents = documents

    async def find(self, search: Search) -> SearchPage:
        await self._documents.pause()
        self._demand(f"searching {search.db_name}/{search.class_id}")
        refusal = self._documents.unreadable(AggregateId(search.db_name, search.class_id, ""))
        if refusal and refusal.reason is UnusableReason.ALIAS_AMBIGUOUS:
            raise StoreUnsafe(refusal.message)
        if refusal:
            raise refusal
        if search.cursor and not search.cursor.startswith("after "):
            raise InputInvalid("search: the cursor is not one of ours; pass it on unchanged")
        index = self._documents.indices.get(f"{search.db_name}.{search.class_id}".lower(), {})
        found = sorted(
            (document for document in index.values() if _matches(document, search)),
            key=lambda document: document.aggregate_id.instance_id,
        )
        after = search.cursor.removeprefix("after ")
        rest = [document for document in found if not after or document.aggregate_id.instance_id > after]
        page = rest[: search.results_max]
        more = len(page) == search.results_max
        return SearchPage(page, len(found), f"after {page[-1].aggregate_id.instance_id}" if more else "")

    async def searchable(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        found = await self._documents.read(aggregate_ids)
        return [document.sequence_number if document else 0 for document in found]

    def _demand(self, doing: str) -> None:
        if not self._documents.available:
            raise StoreUnavailable("Elasticsearch in memory", doing, "made unavailable")


def _matches(document: Document, search: Search) -> bool:
    data = document.body["data"]
    if document.body["deleted"] or document.aggregate_id.class_id != search.class_id:
        return False
    leaves = [_text(leaf) for leaf in _leaves(data)]
    words = search.words.split()
    return all(any(_finds(word, leaf) for leaf in leaves) for word in words) and matches(data, search.where)


def _finds(word: str, leaf: str) -> bool:
    return leaf.startswith(word[:-1]) if word.endswith("*") else leaf == word


def _leaves(data: Any) -> Iterator[Any]:
    if isinstance(data, dict | list):
        for item in data.values() if isinstance(data, dict) else data:
            yield from _leaves(item)
    elif data is not None:
        yield data


def _text(leaf: Any) -> str:
    return str(leaf).lower() if isinstance(leaf, bool) else str(leaf)
