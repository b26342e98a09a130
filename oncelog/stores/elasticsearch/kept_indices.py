"""The indices of documents that readers saw before: kept to go back to, dropped after a time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from elasticsearch import ApiError, BadRequestError, NotFoundError, TransportError

from oncelog.domain.events import rfc3339
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import INSTANCES_ALIAS
from oncelog.ports import DocumentIndex, KeptIndex
from oncelog.settings import Settings
from oncelog.stores.elasticsearch.aliases import FILLING, LEFT, is_filling, is_write_blocked
from oncelog.stores.elasticsearch.indices import index_of
from oncelog.stores.elasticsearch.server import INDEX_TIMEOUT_S, ElasticsearchServer


class ElasticsearchKeptIndices:
    """The ``KeptIndices`` on Elasticsearch."""

    def __init__(self, server: ElasticsearchServer, settings: Settings) -> None:
        self._server = server
        self._settings = settings
        self._client = server.client.options(request_timeout=INDEX_TIMEOUT_S)

    async def kept_index(self, class_name: AggregateId) -> KeptIndex | None:
        alias = self._settings.instances_alias(class_name.db_name, class_name.instance_key)
        lying = await self._lying(f"{alias}.*")
        kept = [_kept(name, about) for name, about in lying.items() if alias not in about["aliases"] and _left(about)]
        return max(kept, key=lambda each: each.left_at) if kept else None

    async def clone_index(self, kept: KeptIndex, *, beside: str) -> DocumentIndex:
        name = f"{kept.index.name}.{beside}"
        self._server.requests["clone_index"] += 1
        doing = f"cloning {kept.index.name}"
        try:
            await self._client.indices.clone(
                index=kept.index.name,
                target=name,
                settings={"index.blocks.write": None},
                wait_for_active_shards="1",
            )
        except BadRequestError as error:
            if error.error != "resource_already_exists_exception":
                raise self._server.unavailable(doing, error, index=name, creating=True) from error
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(doing, error, index=name, creating=True) from error
        await self._note_filling(name, doing)
        return DocumentIndex(name, kept.index.definition, kept.index.mapping_digest, exact=kept.index.exact)

    async def _note_filling(self, name: str, doing: str) -> None:
        try:
            found = await self._client.indices.get_mapping(index=name)
            meta = found[name]["mappings"].get("_meta", {})
            seen = {member: value for member, value in meta.items() if member != LEFT}
            await self._client.indices.put_mapping(index=name, meta={**seen, FILLING: True})
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(doing, error, index=name) from error

    async def reopen_index(self, index: DocumentIndex) -> None:
        self._server.requests["put_settings"] += 1
        try:
            await self._client.indices.put_settings(index=index.name, settings={"index.blocks.write": None})
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"letting {index.name} take writes", error, index=index.name) from error

    async def drop_left_indices(self, *, before: datetime) -> Sequence[str]:
        lying = await self._lying(self._settings.named(f"{INSTANCES_ALIAS}.*"))
        dropped = sorted(name for name, about in lying.items() if _is_left(about, before))
        if not dropped:
            return []
        self._server.requests["delete_index"] += 1
        try:
            await self._client.indices.delete(index=dropped, ignore_unavailable=True)
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"dropping {len(dropped)} indices", error) from error
        return dropped

    async def _lying(self, pattern: str) -> Mapping[str, Any]:
        self._server.requests["get_index"] += 1
        try:
            found = await self._client.indices.get(index=pattern, allow_no_indices=True)
        except NotFoundError:
            return {}
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"looking at the indices {pattern}", error) from error
        lying: Mapping[str, Any] = found.body
        return lying


def _left(about: Mapping[str, Any]) -> Mapping[str, Any]:
    left: Mapping[str, Any] = about["mappings"].get("_meta", {}).get(LEFT, {})
    return left if is_write_blocked(about) else {}


def _is_left(about: Mapping[str, Any], moment: datetime) -> bool:
    """Return whether no alias leads to an index that was left, or begun and never seen, before the moment."""
    if about["aliases"]:
        return False
    if is_filling(about):
        return int(about["settings"]["index"]["creation_date"]) < moment.timestamp() * 1000
    return bool(_left(about)) and _left(about)["at"] < rfc3339(moment)


def _kept(name: str, about: Mapping[str, Any]) -> KeptIndex:
    left = _left(about)
    return KeptIndex(index_of(name, about["mappings"]), left["at"], left["position"])
