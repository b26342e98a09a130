"""Redis: its connection, and our scripts on it (``lua/``).

Nothing here is needed for safety, and S3 can restore all of it. Each step is one Lua script (``lua/``), so that it
happens whole or not at all, and all keys of one aggregate share one hash tag, as Redis Cluster wants it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any, Self, TypeVar

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from oncelog.errors import ContainerUnusable
from oncelog.metrics import store_request
from oncelog.settings import Settings
from oncelog.stores.redis.connecting import new_client
from oncelog.stores.redis.refusals import refused

CONNECT_TIMEOUT_S = 2
ANSWER_TIMEOUT_S = 3
BATCH_CALLS_MAX = 100  # of one round trip: each may carry a state

_SCRIPTS = ("take_turn", "settle_turn", "claim_command", "complete_command")
_log = structlog.get_logger()

Call = TypeVar("Call")


@dataclass(frozen=True)
class RedisFacts:
    """A server's version, its clock (seconds since 1970) and its eviction policy, as far as it tells."""

    version: str = ""
    time_s: float | None = None
    eviction: str = ""


class RedisServer:
    """One Redis, by its scripts. ``calls`` counts the calls sent, by name.

    A connection that turns out to be closed is opened anew once; beyond that nothing is tried twice here.
    """

    def __init__(self, client: Redis | RedisCluster, *, store: str, prefix: str, memory_s: int) -> None:
        self.store = store
        self.prefix = prefix
        self.memory_s = memory_s
        self.calls: Counter[str] = Counter()
        self._client: Any = client
        folder = files("oncelog.stores.redis") / "lua"
        self._scripts = {name: client.register_script((folder / f"{name}.lua").read_text()) for name in _SCRIPTS}

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Make the client, without a request yet; raises SettingsInvalid."""
        client, store = new_client(
            settings.redis, connect_timeout_s=CONNECT_TIMEOUT_S, answer_timeout_s=ANSWER_TIMEOUT_S
        )
        return cls(client, store=store, prefix=settings.redis_prefix, memory_s=settings.redis.memory_s)

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run one of our scripts."""
        return await self._answer(script, keys, lambda: self._scripts[script](keys=keys, args=arguments))

    async def run_each(self, script: str, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run one of our scripts for each pair of keys and arguments, many of them in one round trip.

        Each call happens whole or not at all, but not all of them do; any one may have happened if this raises.
        """

        def queue(pipeline: Pipeline, call: tuple[Sequence[str], Sequence[Any]]) -> Any:
            return self._scripts[script](keys=call[0], args=call[1], client=pipeline)

        if len(calls) == 1:
            return [await self.run(script, *calls[0])]
        return await self._in_batches(script, calls, queue, keys_of=lambda call: call[0])

    async def ping(self) -> None:
        await self._answer("ping", (), self._client.ping)

    async def about(self) -> "RedisFacts":
        """Return the server's facts about itself, without those that this user may not read."""
        facts: dict[str, Any] = {}
        with suppress(ContainerUnusable):
            info = await self._answer("info", (), self._client.info)
            one = next(iter(info.values())) if isinstance(self._client, RedisCluster) else info
            facts |= {"version": str(one.get("redis_version", "")), "eviction": str(one.get("maxmemory_policy", ""))}
        with suppress(ContainerUnusable):
            if not isinstance(self._client, RedisCluster):
                seconds, microseconds = await self._answer("time", (), self._client.time)
                facts["time_s"] = seconds + microseconds / 1_000_000
        return RedisFacts(**facts)

    async def probe_scripts(self) -> None:
        """See that our scripts run on our keys, on one that lives for a minute; raises StoreUnavailable."""
        await self.run("claim_command", [f"{self.prefix}probe"], [60, "stage", "probe"])

    async def field_each(self, fields: Sequence[tuple[str, str]]) -> list[bytes | None]:
        """Return one field of each of many hashes, each given as key and name."""
        if len(fields) == 1:
            return [await self._answer("hget", fields[0][:1], lambda: self._client.hget(*fields[0]))]
        return await self._in_batches(
            "hget", fields, lambda pipeline, field: pipeline.hget(*field), keys_of=lambda field: field[:1]
        )

    async def value_each(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each of many keys."""
        return await self._in_batches("get", keys, lambda pipeline, key: pipeline.get(key), keys_of=lambda key: [key])

    async def save_each(self, values: Sequence[tuple[str, str]]) -> None:
        """Keep each value, given as key and text, for as long as anything is kept."""
        await self._in_batches(
            "set",
            values,
            lambda pipeline, pair: pipeline.set(*pair, ex=self.memory_s),
            keys_of=lambda pair: pair[:1],
        )

    async def fields(self, key: str) -> dict[bytes, bytes]:
        answer: dict[bytes, bytes] = await self._answer("hgetall", (key,), lambda: self._client.hgetall(key))
        return answer

    async def delete(self, *keys: str) -> None:
        await self._answer("delete", keys, lambda: self._client.delete(*keys))

    async def close(self) -> None:
        """Close the connections, those to Sentinels, too, which the client leaves open."""
        await self._client.aclose()
        pool = getattr(self._client, "connection_pool", None)  # a cluster's client has one for each node
        if isinstance(pool, SentinelConnectionPool):
            for sentinel in pool.sentinel_manager.sentinels:
                await sentinel.aclose()

    async def _in_batches(
        self,
        doing: str,
        calls: Sequence[Call],
        queue: Callable[[Pipeline, Call], Any],
        *,
        keys_of: Callable[[Call], Sequence[str]],
    ) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(calls), BATCH_CALLS_MAX):
            batch = calls[start : start + BATCH_CALLS_MAX]
            answers = await self._answer(doing, keys_of(batch[0]), partial(self._batch, batch, queue))
            overwritten = [index for index, answer in enumerate(answers) if _is_of_wrong_type(answer)]
            if overwritten:  # all are dropped before any raises: else each attempt would get one key further
                again = [batch[index] for index in overwritten]
                await self._drop_overwritten(doing, [key for call in again for key in keys_of(call)])
                repeated = await self._answer(doing, keys_of(again[0]), partial(self._batch, again, queue))
                for index, answer in zip(overwritten, repeated, strict=True):
                    answers[index] = answer
            for call, answer in zip(batch, answers, strict=True):
                if isinstance(answer, Exception):
                    await self._answer(doing, keys_of(call), partial(_raise, answer))
            found += answers
        return found

    async def _batch(self, batch: Sequence[Call], queue: Callable[[Any, Call], Any]) -> list[Any]:
        if isinstance(self._client, RedisCluster):  # keys of several aggregates lie on several nodes
            sent = [queue(self._client, call) for call in batch]
            return list(await asyncio.gather(*sent, return_exceptions=True))
        async with self._client.pipeline(transaction=False) as pipeline:
            for call in batch:
                await queue(pipeline, call)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
            return answers

    async def _answer(self, doing: str, keys: Sequence[str], call: Callable[[], Awaitable[Any]]) -> Any:
        """Return the answer; raises StoreUnavailable or ContainerUnusable for a driver's exception."""
        self.calls[doing] += 1
        at = f"{doing} {keys[0]}" if keys else doing
        try:
            with store_request("redis", doing):
                return await call()
        except ResponseError as error:
            if _is_of_wrong_type(error):
                await self._drop_overwritten(doing, keys)
            raise refused(error, self.store, at) from error
        except (RedisError, OSError, RedisClusterException) as error:
            raise refused(error, self.store, at) from error

    async def _drop_overwritten(self, doing: str, keys: Sequence[str]) -> None:
        """Drop keys that a stranger overwrote: nothing under them is known any more."""
        _log.warning("redis_key_of_wrong_type", keys=list(keys), doing=doing)
        await self.delete(*keys)


def _is_of_wrong_type(answer: Any) -> bool:
    return isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE")


async def _raise(error: Exception) -> None:
    raise error
