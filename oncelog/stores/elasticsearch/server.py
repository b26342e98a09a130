"""One Elasticsearch, and the parts its stores share: versioned writes in bulk, indices behind aliases, clear errors.

Each document has an external version (``version_type=external``): Elasticsearch takes only a higher one.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from elasticsearch import ApiError, NotFoundError, TransportError

from oncelog.domain.stored_names import GRAPH_ALIAS, INSTANCES_ALIAS
from oncelog.errors import (
    ContainerUnusable,
    ObjectRefused,
    StoreUnavailable,
    StoreUnsafe,
    UnusableReason,
)
from oncelog.offload import offloaded
from oncelog.settings import Settings
from oncelog.stores.elasticsearch.connecting import TLS, copies_and_refresh, new_client
from oncelog.stores.elasticsearch.refusals import (
    Refusal,
    ambiguous,
    container_refusal,
    creation_refusal,
    error_in,
    index_in,
    is_never,
    reason_in_words,
)
from oncelog.stores.elasticsearch.versioned import CreateIndex, VersionedRead, VersionedWrite, bulk_requests, target_of
from oncelog.stores.tls import tls_refusal

REQUEST_TIMEOUT_S = 5.0
SHARD_TIMEOUT = "4s"  # how long Elasticsearch itself may wait for a shard, so that it answers before we give up
INDEX_TIMEOUT_S = 15.0  # a new index is a change of the cluster's state
CONNECTIONS_MAX = 10
NO_TIMEOUT = "1ms"  # for an index known to have its shard on no node
FIRST_INDEX = ".000001"
BULK_ANSWER = ["items.index.status", "items.index.error"]  # the rest of it need not be sent and parsed

#: Above the built-in templates, which have up to 200.
TEMPLATE_PRIORITY = 500

#: ``auto_expand_replicas``: none on a single node, one as soon as there is a second.
INDEX_SETTINGS: dict[str, Any] = {"number_of_shards": 1, "auto_expand_replicas": "0-1"}


class ElasticsearchServer:
    """One client, shared by the stores of one installation. ``requests`` counts the requests sent, by kind.

    Nothing is tried twice here: the caller's policy does that.
    """

    def __init__(self, settings: Settings) -> None:
        timeout_s, connections_max = REQUEST_TIMEOUT_S, CONNECTIONS_MAX
        self.client, self.name = new_client(settings.elasticsearch, timeout_s, connections_max=connections_max)
        self.index_patterns = [settings.named(f"{kind}.*") for kind in (INSTANCES_ALIAS, GRAPH_ALIAS)]
        self.index_settings = INDEX_SETTINGS | copies_and_refresh(settings.elasticsearch)
        self.requests: Counter[str] = Counter()
        self._unassigned: set[str] = set()  # indices with a shard on no node at their last write
        self._preference = f"oncelog-{uuid.uuid4()}"

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def put_template(self, name: str, pattern: str, mappings: Mapping[str, Any]) -> None:
        """Put an index template, so that an index that others create has the mapping too; raises StoreUnavailable."""
        self.requests["put_index_template"] += 1
        try:
            await self.client.options(request_timeout=INDEX_TIMEOUT_S).indices.put_index_template(
                name=name,
                index_patterns=[pattern],
                priority=TEMPLATE_PRIORITY,
                template={"settings": self.index_settings, "mappings": mappings},
                allow_auto_create=False,  # a write never makes an index by itself, which would be behind no alias
            )
        except (ApiError, TransportError) as error:
            raise self.unavailable(f"putting the index template {name}", error) from error

    async def write(self, writes: Sequence[VersionedWrite], create_index: CreateIndex) -> Sequence[Exception | None]:
        """Write each unless a newer one is there; return per write None, or why it was not written.

        That takes as many requests as their bounds ask for, one after the other. The first document behind an alias
        finds no index: it is then created, and the writes that needed it are sent once more.
        That costs nothing while it is there, and an index that was deleted comes back with its right mapping.
        """
        outcomes = await self._bulk(writes)
        homeless = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, IndexMissing)]
        if homeless:
            aliases = {writes[index].alias for index in homeless}
            failures = {alias: await create_index(alias) for alias in aliases}
            again = await self._bulk([writes[index] for index in homeless])
            for index, outcome in zip(homeless, again, strict=True):
                outcomes[index] = failures[writes[index].alias] or outcome
        return outcomes

    async def read(
        self, wanted: Sequence[tuple[str, str]], *, index_missing: Callable[[str], object] = lambda _: None
    ) -> list[VersionedRead | None]:
        """Return the document under each alias and ``_id``, or None; as it is now, not subject to refresh.

        No index behind an alias is nothing to be found: ``index_missing`` is told the alias. Raises StoreUnavailable.
        """
        if not wanted:
            return []
        doing = f"reading {wanted[0][1]} behind {wanted[0][0]}" + (f" and {len(wanted) - 1} more" * (len(wanted) > 1))
        self.requests["mget"] += 1
        try:
            answer = await self.client.mget(docs=[{"_index": alias, "_id": key} for alias, key in wanted])
        except (ApiError, TransportError) as error:
            raise self.unavailable(doing, error) from error
        return [self._found(doing, item, index_missing) for item in answer["docs"]]

    def _found(
        self, doing: str, item: Mapping[str, Any], index_missing: Callable[[str], object]
    ) -> VersionedRead | None:
        error = item.get("error")
        if error is None:
            return VersionedRead(item["_version"], item["_source"]) if item["found"] else None
        if error.get("type") == "index_not_found_exception":
            index_missing(str(item["_index"]))
            return None
        refusal = container_refusal(400, error, index=str(item.get("_index")))
        if refusal is not None:
            raise self.unusable(str(item.get("_index")), refusal, reason_in_words(error), doing=doing)
        raise StoreUnavailable(self.name, doing, reason_in_words(error))

    async def search(self, alias: str, **request: Any) -> Mapping[str, Any]:
        """Search one index, whole or not at all; raises the client's errors.

        All searches of a process prefer the same copies of a shard: the next one sees all that the last one saw.
        Raises StoreUnsafe for an alias that leads to several indices: each would answer in part.
        """
        self.requests["search"] += 1
        answer = await self.client.search(
            index=alias, preference=self._preference, allow_partial_search_results=False, **request
        )
        if answer["_shards"]["total"] > 1:  # ours have one each
            await self._demand_one_index(alias)
        body: Mapping[str, Any] = answer.body
        return body

    async def _demand_one_index(self, alias: str) -> None:
        found = sorted(await self.client.indices.get_alias(index=alias))
        if len(found) > 1:
            refusal = ambiguous(alias)
            raise StoreUnsafe(
                f"{self.name}: alias {alias} leads to {len(found)} indices, {' and '.join(found)}: a search would mix "
                f"them; {refusal.remedy}"
            )

    async def pin(self, alias: str, *, kept_s: int) -> str:
        """Return the ID of the index as it is searched now, kept for so long; raises the client's errors."""
        self.requests["open_point_in_time"] += 1
        pinned = await self.client.open_point_in_time(index=alias, keep_alive=f"{kept_s}s", preference=self._preference)
        return str(pinned["id"])

    async def search_pinned(self, pinned: str, *, kept_s: int, **request: Any) -> Mapping[str, Any]:
        """Search as of that moment, whole or not at all, and keep it for so long; raises the client's errors."""
        self.requests["search"] += 1
        answer = await self.client.search(
            pit={"id": pinned, "keep_alive": f"{kept_s}s"}, allow_partial_search_results=False, **request
        )
        body: Mapping[str, Any] = answer.body
        return body

    async def unpin(self, pinned: str) -> None:
        """Keep that moment no longer; where that fails, it ends by itself."""
        self.requests["close_point_in_time"] += 1
        with suppress(ApiError, TransportError):
            await self.client.close_point_in_time(id=pinned)

    async def searched_numbers(self, alias: str, aggregate_ids: Sequence[str]) -> dict[str, int]:
        """Return the sequence number of each aggregate that a search finds; others are left out.

        Raises StoreUnavailable.
        """
        try:
            answer = await self.search(
                alias,
                query={"terms": {"aggregate_id": list(aggregate_ids)}},
                size=len(aggregate_ids),
                source=["aggregate_id", "sequence_number"],
            )
        except NotFoundError:
            return {}
        except (ApiError, TransportError) as error:
            raise self.unavailable(f"looking for {len(aggregate_ids)} in {alias}", error) from error
        sources = [hit["_source"] for hit in answer["hits"]["hits"]]
        return {source["aggregate_id"]: source["sequence_number"] for source in sources}

    def unavailable(self, doing: str, error: Exception, *, index: str = "", creating: bool = False) -> StoreUnavailable:
        """Return the error for a request that was refused as a whole; ``index``: the index or alias it was about."""
        body = error_in(error)
        cause = reason_in_words(body) if body else str(error)
        refusal = None
        if isinstance(error, ApiError):
            find = creation_refusal if creating else container_refusal
            refusal = find(error.status_code, body, index=index or str(index_in(body)))
        if refusal is not None:
            unavailable: StoreUnavailable = self.unusable(index or str(index_in(body)), refusal, cause, doing=doing)
        elif tls := tls_refusal(error, TLS, self.name, doing):
            unavailable = tls
        else:
            unavailable = StoreUnavailable(self.name, doing, cause)
        unavailable.__cause__ = error
        return unavailable

    def unusable(self, index: str, refusal: Refusal, cause: object, *, doing: str) -> ContainerUnusable:
        """Return the error of an index or alias that cannot be used."""
        return ContainerUnusable(
            self.name,
            "cluster" if refusal.shared else f"index {index}",
            refusal.reason,
            cause=cause,
            remedy=refusal.remedy,
            doing=doing,
            shared=refusal.shared,
        )

    async def _bulk(self, writes: Sequence[VersionedWrite]) -> list[Exception | None]:
        """Send all; writes for an index with an unassigned shard go by themselves, so that no other waits for it."""
        outcomes: list[Exception | None] = [None] * len(writes)
        apart = [target_of(write) in self._unassigned for write in writes]
        for is_apart, shard_timeout in ((False, SHARD_TIMEOUT), (True, NO_TIMEOUT)):
            chosen = [position for position, found in enumerate(apart) if found is is_apart]
            sent: list[Exception | None] = []
            requests = bulk_requests([writes[position] for position in chosen])
            bodies = [writes[position].body for position in chosen]
            while request := await offloaded(partial(next, requests, None), of=bodies):
                sent += await self._send(*request, shard_timeout=shard_timeout)
            for position, outcome in zip(chosen, sent, strict=True):
                outcomes[position] = outcome
        return outcomes

    async def _send(self, writes: Sequence[VersionedWrite], body: Any, *, shard_timeout: str) -> list[Exception | None]:
        self.requests["bulk"] += 1
        try:  # the client sends bytes as they are: its own serializer takes twice as long and more
            answer = await self.client.bulk(operations=body, timeout=shard_timeout, filter_path=BULK_ANSWER)
        except (ApiError, TransportError) as error:
            if isinstance(error, ApiError) and is_never(error.status_code, error_in(error)):
                return await self._send_parts(writes, error)
            return [self.unavailable(f"writing {write.name}", error) for write in writes]
        return [self._outcome(write, item["index"]) for write, item in zip(writes, answer["items"], strict=True)]

    def _outcome(self, write: VersionedWrite, result: Mapping[str, Any]) -> Exception | None:
        status = result["status"]
        if status < 300 or status == 409:  # conflict: the stored object is as new or newer, as wanted
            self._unassigned.discard(target_of(write))
            return None
        error = result.get("error", {})
        reason = reason_in_words(error)
        doing = f"writing {write.name} at {write.version}"
        if error.get("type") == "index_not_found_exception":
            return IndexMissing(self.name, doing, reason)
        refusal = container_refusal(status, error, index=target_of(write))
        if refusal is not None:
            if refusal.reason is UnusableReason.SHARDS_UNASSIGNED:
                self._unassigned.add(target_of(write))
            return self.unusable(target_of(write), refusal, reason, doing=doing)
        if is_never(status, error):
            return ObjectRefused(self.name, f"{write.name} at {write.version}", reason, version=write.version)
        return StoreUnavailable(self.name, doing, f"status {status}: {reason}")

    async def _send_parts(self, writes: Sequence[VersionedWrite], error: ApiError) -> list[Exception | None]:
        """Send a request refused as a whole in halves, until the one document is found that is refused for good."""
        if len(writes) == 1:
            (write,) = writes
            refused = ObjectRefused(self.name, f"{write.name} at {write.version}", str(error), version=write.version)
            return [refused]
        middle = len(writes) // 2
        return [*await self._bulk(writes[:middle]), *await self._bulk(writes[middle:])]


class IndexMissing(StoreUnavailable):
    """There is no index behind the alias yet, or not any more."""
