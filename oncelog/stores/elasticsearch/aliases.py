"""The alias by which readers find an index: made with its first index, and put back where it was lost.

Deleting an alias leaves its indices (``{alias}.*``) as they are, with all their documents.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from elasticsearch import ApiError, BadRequestError, TransportError

from oncelog.stores.elasticsearch.server import INDEX_TIMEOUT_S, ElasticsearchServer

log = structlog.get_logger(__name__)

#: Members of an index's ``_meta``: readers never saw it, since it is filled still; or they left it, then and there.
FILLING = "filling"
LEFT = "left"


async def ensure_alias(
    server: ElasticsearchServer, alias: str, *, index: str, mappings: Mapping[str, Any], pinned: str = ""
) -> None:
    """Let an alias without an index lead to one: to that which readers saw before, else to a new one named ``index``.

    ``pinned``: the alias that an operator gives to the index that readers are to see. Another process may do the same:
    Elasticsearch takes no second write index behind one alias. Raises StoreUnavailable.
    """
    seen = await _seen_before(server, alias, index=index, pinned=pinned)
    if seen is None:
        await _create(server, alias, index=index, mappings=mappings)
        return
    server.requests["put_alias"] += 1
    try:
        await server.client.options(request_timeout=INDEX_TIMEOUT_S).indices.update_aliases(
            actions=[{"add": {"index": seen, "alias": alias, "is_write_index": True}}]
        )
    except (ApiError, TransportError) as error:
        raise server.unavailable(f"putting the alias {alias} back on {seen}", error, index=seen) from error
    log.warning("alias_restored", alias=alias, index=seen)


async def _seen_before(server: ElasticsearchServer, alias: str, *, index: str, pinned: str) -> str | None:
    """Return the index that readers saw, or None if it is gone.

    An index that takes no writes was left for another one. Of an index and that which was to follow it, the one with
    more documents was seen, and the later one where both have as many: an alias moves no sooner than that.
    """
    client = server.client.options(request_timeout=INDEX_TIMEOUT_S)
    server.requests["get_index"] += 1
    try:
        lying = await client.indices.get(
            index=f"{alias}.*", expand_wildcards="all", features=["aliases", "mappings", "settings"]
        )
        for wanted in (alias, pinned):  # another process may have put it back by now
            if named := [name for name, about in lying.items() if wanted in about["aliases"]]:
                return str(named[0])
        writable = [name for name, about in lying.items() if not is_write_blocked(about) and not is_filling(about)]
        if not writable:
            return index if index in lying else None
        if len(writable) == 1:
            return str(writable[0])
        await client.indices.refresh(index=writable)
        counted = [((await client.count(index=name))["count"], str(name)) for name in writable]
    except (ApiError, TransportError) as error:
        raise server.unavailable(f"looking for the index that was behind {alias}", error) from error
    return max(counted)[1]


async def _create(server: ElasticsearchServer, alias: str, *, index: str, mappings: Mapping[str, Any]) -> None:
    server.requests["create_index"] += 1
    try:
        await server.client.options(request_timeout=INDEX_TIMEOUT_S).indices.create(
            index=index, aliases={alias: {"is_write_index": True}}, mappings=mappings, settings=server.index_settings
        )
    except BadRequestError as error:
        if error.error != "resource_already_exists_exception":  # else another process was faster
            raise server.unavailable(f"creating index {index}", error, index=index, creating=True) from error
    except (ApiError, TransportError) as error:
        raise server.unavailable(f"creating index {index}", error, index=index, creating=True) from error


def is_filling(about: Mapping[str, Any]) -> bool:
    """Return whether readers never saw an index; ``about``: its answer to a GET."""
    return bool(about["mappings"].get("_meta", {}).get(FILLING))


def is_write_blocked(about: Mapping[str, Any]) -> bool:
    """Return whether an index takes no writes; ``about``: its answer to a GET."""
    blocks = about["settings"]["index"].get("blocks", {})
    return bool(blocks.get("write") == "true")
