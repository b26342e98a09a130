"""The last known places of chains of unique values, in Redis: a text for each, which anybody may lose or overwrite."""

from collections.abc import Sequence

import structlog

from oncelog.domain.unique.entry import ValueChain
from oncelog.stores.redis.server import RedisServer

_log = structlog.get_logger()


class RedisChainHints:
    """``ChainHints`` in Redis: ``{prefix}unique:{db_name}/{class_id}/{constraint}/{sha256}``."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    async def last_places(self, chains: Sequence[ValueChain]) -> list[int | None]:
        answers = await self._server.value_each([self._key(chain) for chain in chains])
        return [_number(chain, answer) for chain, answer in zip(chains, answers, strict=True)]

    async def save_last_places(self, places: Sequence[tuple[ValueChain, int]]) -> None:
        await self._server.save_each([(self._key(chain), str(n)) for chain, n in places])

    def _key(self, chain: ValueChain) -> str:
        return f"{self._server.prefix}unique:{'/'.join((chain.db_name, chain.class_id, *chain.value))}"


def _number(chain: ValueChain, text: bytes | None) -> int | None:
    """Return the place, None for a text that cannot be one."""
    if text is None:
        return None
    if text.isdigit() and 0 < int(text[:10]) < 10**6 and len(text) < 10:
        return int(text)
    _log.warning("cached_place_damaged", chain=str(chain), found=text[:40])
    return None
