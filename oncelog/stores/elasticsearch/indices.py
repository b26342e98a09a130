"""The indices behind the aliases of documents: the schema of each, and how one follows another without a gap.

An index says in its mapping's ``_meta`` which definition its documents fit. The index that follows is
filled beside it, from the changes in the old one in the order of Elasticsearch's own sequence numbers; at the end the
old one is closed for writes for a moment (``add_block`` answers when every write under way has ended), the remaining
changes are copied, and the alias moves in one step.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from elasticsearch import ApiError, BadRequestError, NotFoundError, TransportError

from oncelog.domain.events import DefinitionReference, rfc3339
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import INSTANCES_ALIAS, PINNED_ALIAS
from oncelog.errors import StoreUnavailable
from oncelog.ports import Changed, Document, DocumentIndex, IndexSchema
from oncelog.settings import Settings
from oncelog.stores.elasticsearch.aliases import FILLING, LEFT, ensure_alias, is_write_blocked
from oncelog.stores.elasticsearch.mapping import FOLLOWS, has_exact_terms, mappings_of
from oncelog.stores.elasticsearch.refusals import ambiguous
from oncelog.stores.elasticsearch.server import FIRST_INDEX, INDEX_TIMEOUT_S, ElasticsearchServer

CHANGES_PER_PAGE = 500

#: Writes documents into one index.
WriteInto = Callable[[DocumentIndex, Sequence[Document]], Awaitable[Sequence[Exception | None]]]


class ElasticsearchIndices:
    """The ``DocumentIndices`` on Elasticsearch."""

    def __init__(self, server: ElasticsearchServer, settings: Settings, *, write: WriteInto) -> None:
        self._server = server
        self._settings = settings
        self._write = write
        self._client = server.client.options(request_timeout=INDEX_TIMEOUT_S)

    async def current_index(self, class_name: AggregateId) -> DocumentIndex | None:
        return await self.behind(self.alias_of(class_name))

    async def create_index(
        self, class_name: AggregateId, index_schema: IndexSchema, *, first: bool, beside: str = ""
    ) -> DocumentIndex:
        alias = self.alias_of(class_name)
        if beside:
            return await self.make(alias, index_schema, first=False, suffix=f".{beside}", beside=True)
        current = None if first else await self.behind(alias)
        again = current is not None and not current.exact and current.name.startswith(alias + _suffix(index_schema))
        return await self.make(alias, index_schema, first=first, suffix=FOLLOWS if again else "")

    async def copy_documents(self, index: DocumentIndex, documents: Sequence[Document]) -> Sequence[Exception | None]:
        return await self._write(index, documents)

    async def changed_documents(self, index: DocumentIndex, *, after: int, close: bool) -> Changed:
        self._server.requests["changed"] += 1
        try:
            if close:
                await self._client.indices.add_block(index=index.name, block="write")
            await self._client.indices.refresh(index=index.name)
            answer = await self._client.search(
                index=index.name,
                query={"range": {"_seq_no": {"gt": after}}},
                sort=[{"_seq_no": "asc"}],
                size=CHANGES_PER_PAGE,
                version=True,
                source=False,
                track_total_hits=False,
                allow_partial_search_results=False,
            )
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"reading what changed in {index.name}", error) from error
        hits = answer["hits"]["hits"]
        return Changed([(hit["_id"], hit["_version"]) for hit in hits], hits[-1]["sort"][0] if hits else after)

    async def index_position(self, index: DocumentIndex) -> int:
        self._server.requests["position"] += 1
        try:
            await self._client.indices.refresh(index=index.name)
            answer = await self._client.search(
                index=index.name,
                sort=[{"_seq_no": "desc"}],
                size=1,
                source=False,
                track_total_hits=False,
                allow_partial_search_results=False,
            )
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"reading the position of {index.name}", error) from error
        hits = answer["hits"]["hits"]
        return int(hits[0]["sort"][0]) if hits else -1

    async def document_versions(self, index: DocumentIndex, instance_keys: Sequence[str]) -> Sequence[int]:
        if not instance_keys:
            return []
        self._server.requests["mget"] += 1
        doing = f"reading versions in {index.name}"
        try:
            answer = await self._client.mget(index=index.name, ids=list(instance_keys), source=False)
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(doing, error) from error
        if failed := next((item["error"] for item in answer["docs"] if "error" in item), None):
            raise StoreUnavailable(self._server.name, doing, failed.get("reason"))
        return [item.get("_version", 0) if item.get("found") else 0 for item in answer["docs"]]

    async def switch_alias(
        self,
        class_name: AggregateId,
        old: DocumentIndex,
        new: DocumentIndex,
        *,
        may_shrink: bool = False,
        pin: bool = False,
    ) -> bool:
        alias, doing = self.alias_of(class_name), f"switching from {old.name} to {new.name}"
        self._server.requests["switch"] += 1
        try:
            await self._client.indices.refresh(index=[old.name, new.name])
            counts = [(await self._client.count(index=name))["count"] for name in (old.name, new.name)]
            if counts[1] < counts[0] and not may_shrink:
                raise StoreUnavailable(self._server.name, doing, f"expected {counts[0]} documents, found {counts[1]}")
            await self._note_switch(old, new)
            actions: list[dict[str, Any]] = [
                {"remove": {"index": old.name, "alias": alias, "must_exist": True}},
                {"add": {"index": new.name, "alias": alias, "is_write_index": True}},
            ]
            if pin:
                actions.append({"add": {"index": new.name, "alias": self._pinned(alias)}})
            await self._client.indices.update_aliases(actions=actions)
        except NotFoundError:
            return False  # the alias, or one of the two: another switch was faster
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(doing, error) from error
        await self._drop_all_but(alias, old, new)
        return True

    async def _note_switch(self, old: DocumentIndex, new: DocumentIndex) -> None:
        """Write into the old index when it was left, and the position of the new one from which it lacks writes.

        The new one is not being filled any more, and is refreshed as every index that readers see.
        """
        left = {"at": rfc3339(datetime.now(UTC)), "position": await self.index_position(new)}
        found = await self._client.indices.get_mapping(index=[old.name, new.name])
        metas = {name: found[name]["mappings"].get("_meta", {}) for name in (old.name, new.name)}
        await self._client.indices.put_mapping(index=old.name, meta={**metas[old.name], LEFT: left})
        if metas[new.name].keys() & {FILLING, LEFT}:
            seen = {name: value for name, value in metas[new.name].items() if name not in (FILLING, LEFT)}
            await self._client.indices.put_mapping(index=new.name, meta=seen)
            await self._client.indices.put_settings(index=new.name, settings={"index.refresh_interval": None})

    async def behind(self, alias: str) -> DocumentIndex | None:
        """Return the index behind an alias, or None; raises StoreUnavailable."""
        self._server.requests["get_index"] += 1
        try:
            found = await self._client.indices.get(index=alias)
        except NotFoundError:
            return None
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"looking at the index behind {alias}", error, index=alias) from error
        if len(found) > 1:
            cause = f"it leads to {len(found)} indices, {' and '.join(sorted(found))}"
            raise self._server.unusable(alias, ambiguous(alias), cause, doing=f"looking at the index behind {alias}")
        ((name, about),) = found.items()
        pinned = self._pinned(alias) in about["aliases"]
        return replace(index_of(name, about["mappings"]), closed=is_write_blocked(about), pinned=pinned)

    async def make(
        self, alias: str, index_schema: IndexSchema, *, first: bool, suffix: str = "", beside: bool = False
    ) -> DocumentIndex:
        """Create an index unless it is there; raises StoreUnavailable.

        ``first``: the one behind the alias, which may have another schema: the index readers saw before the alias was
        lost. ``suffix``: of one that follows an index of the same schema. ``beside``: it says of itself that readers do
        not see it yet, and refreshes at the switch only.
        """
        name = alias + _suffix(index_schema) + suffix
        if first:
            pinned = self._pinned(alias)
            await ensure_alias(self._server, alias, index=name, mappings=mappings_of(index_schema), pinned=pinned)
            seen = await self.behind(alias)
            if seen is None:
                raise StoreUnavailable(self._server.name, f"creating index {name}", f"no index is behind {alias}")
            return seen
        self._server.requests["create_index"] += 1
        mappings, settings = mappings_of(index_schema), self._server.index_settings
        if beside:
            mappings["_meta"][FILLING] = True
            settings = {**settings, "refresh_interval": "-1"}
        try:
            await self._client.indices.create(index=name, mappings=mappings, settings=settings)
        except BadRequestError as error:
            if error.error != "resource_already_exists_exception":
                raise self._server.unavailable(f"creating index {name}", error, index=name, creating=True) from error
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"creating index {name}", error, index=name, creating=True) from error
        return DocumentIndex(name, index_schema.definition, index_schema.digest)

    async def _drop_all_but(self, alias: str, *kept: DocumentIndex) -> None:
        """Drop the indices that readers neither see nor saw last: kept at earlier switches, or too late to follow.

        Only the process that has switched does so: a late process would drop the index kept just now.
        """
        names = {index.name for index in kept}
        try:
            there = await self._client.indices.get_alias(index=f"{alias}.*")
            gone = [name for name, about in there.items() if name not in names and alias not in about["aliases"]]
            if gone:
                await self._client.indices.delete(index=gone, ignore_unavailable=True)
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"dropping what was kept of {alias}", error) from error

    def _pinned(self, alias: str) -> str:
        """Return the alias with which an operator pins an index for readers, even when newer indices follow it."""
        return self._settings.named(PINNED_ALIAS) + alias.removeprefix(self._settings.named(INSTANCES_ALIAS))

    def alias_of(self, class_name: AggregateId) -> str:
        return self._settings.instances_alias(class_name.db_name, class_name.instance_key)


def _suffix(index_schema: IndexSchema) -> str:
    return FIRST_INDEX if index_schema.definition is None else f".d{index_schema.definition.sequence_number:06d}"


def index_of(name: str, mappings: Mapping[str, Any]) -> DocumentIndex:
    """Read an index's definition and digest in its ``_meta``; one from before there were definitions has none."""
    meta = mappings.get("_meta", {})
    definition = meta.get("definition")
    reference = DefinitionReference.model_validate(definition) if definition else None
    return DocumentIndex(name, reference, meta.get("mapping_digest"), exact=has_exact_terms(mappings))
