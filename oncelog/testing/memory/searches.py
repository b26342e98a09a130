"""The in-memory twin of searching, for classes without a definition: words are whole values."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.queries import Search, matches
from oncelog.errors import CursorExpired, InputInvalid, StoreUnavailable, StoreUnsafe, UnusableReason
from oncelog.ports import Document, SearchPage
from oncelog.testing.memory.elasticsearch import MemoryDocuments


class MemorySearches:
    """``Searches`` over the documents in memory, which are found at once."""

    def __init__(self, documents: MemoryDocuments) -> None:
        self._documents = documents
        self._pinned: dict[str, Sequence[Document]] = {}

    def forget_cursors(self) -> None:
        """Let all cursors expire."""
        self._pinned.clear()

    async def find_documents(self, search: Search) -> SearchPage:
        await self._documents.pause()
        self._demand(f"searching {search.db_name}/{search.class_id}")
        refusal = self._documents.unreadable(AggregateId(search.db_name, search.class_id, ""))
        if refusal and refusal.reason is UnusableReason.ALIAS_AMBIGUOUS:
            raise StoreUnsafe(refusal.message)
        if refusal:
            raise refusal
        found, start = self._continued(search) if search.cursor else (self._first(search), 0)
        stop = start + search.results_max
        cursor = ""
        if search.results_max and stop < len(found):
            pinned = search.cursor.split()[0] if search.cursor else str(uuid4())
            self._pinned[pinned] = found
            cursor = f"{pinned} {stop} {search.digest}"
        return SearchPage(found[start:stop], len(found), cursor)

    def _first(self, search: Search) -> Sequence[Document]:
        index = self._documents.indices.get(f"{search.db_name}.{search.class_id}".lower(), {})
        found = sorted(
            (document for document in index.values() if _matches(document, search)),
            key=lambda document: document.aggregate_id.instance_id,
        )
        for key in reversed(search.sort_keys):
            texts = {document.aggregate_id: key.text_of(document.body["data"]) for document in found}
            found.sort(key=lambda document: texts[document.aggregate_id], reverse=key.descending)
        return found

    def _continued(self, search: Search) -> tuple[Sequence[Document], int]:
        match search.cursor.split():
            case [pinned, start, digest] if start.isdecimal():
                if digest != search.digest:
                    raise InputInvalid(
                        "search: the cursor is of another search; repeat its words, filters and order with it"
                    )
                if pinned not in self._pinned:
                    raise CursorExpired("search: the cursor has expired; search again from the first page")
                return self._pinned[pinned], int(start)
        raise InputInvalid("search: the cursor is not one of ours; pass it on unchanged")

    async def searchable(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        found = await self._documents.read_documents(aggregate_ids)
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
