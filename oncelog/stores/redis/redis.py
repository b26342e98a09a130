"""Redis: who may write next, what is known of each log's head, and the fast answer to a duplicate.

Nothing here is needed for safety, and S3 can restore all of it. Each step is one Lua script (``lua/``), so that it
happens whole or not at all, and all keys of one aggregate share one hash tag, as Redis Cluster wants it.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from importlib.resources import files
from typing import Any, Self, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from oncelog.domain.bulk.results import read_result
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import CACHED_STATE_BYTES_MAX
from oncelog.errors import LogDamaged, SettingsInvalid
from oncelog.ports import CommandStatus, Generations, Lease, Stage, StreamProgress, Waiting, Watermark
from oncelog.ports.stream import FIRST_GENERATION
from oncelog.settings import Settings
from oncelog.settings.addresses import revealed
from oncelog.stores.redis.refusals import refused
from oncelog.stores.sealed_state import open_state, seal_state

CONNECT_TIMEOUT_S = 2
ANSWER_TIMEOUT_S = 3
CONNECTIONS_MAX = 64
BATCH_CALLS_MAX = 100  # of one round trip: each may carry a state
PATIENCE_MS = 2_000  # one who has not asked for its turn for so long has left the queue

_SCRIPTS = ("take_turn", "settle_turn", "claim_command", "complete_command")
_log = structlog.get_logger()

Call = TypeVar("Call")


class RedisServer:
    """One Redis, by its scripts. ``calls`` counts what was sent, by name.

    A connection that turns out to be closed is opened anew once; beyond that nothing is tried twice here.
    """

    def __init__(self, client: Redis, *, prefix: str, memory_s: int) -> None:
        self.prefix = prefix
        self.memory_s = memory_s
        self.calls: Counter[str] = Counter()
        address = client.connection_pool.connection_kwargs
        self.store = "Redis at {}".format(address.get("path") or "{host}:{port}".format_map(address))
        self._client = client
        folder = files("oncelog.stores.redis") / "lua"
        self._scripts = {name: client.register_script((folder / f"{name}.lua").read_text()) for name in _SCRIPTS}

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Make the client, without a request yet; raises SettingsInvalid."""
        try:
            pool = BlockingConnectionPool.from_url(
                settings.redis.url,
                username=settings.redis.username,
                password=revealed(settings.redis.password),
                max_connections=CONNECTIONS_MAX,
                timeout=ANSWER_TIMEOUT_S,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                socket_timeout=ANSWER_TIMEOUT_S,
                retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
            )
        except ValueError as error:
            raise SettingsInvalid(f"ONCELOG_REDIS_URL: {error}; expected redis://host:port/database") from error
        return cls(Redis.from_pool(pool), prefix=settings.redis_prefix, memory_s=settings.redis.memory_s)

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

    async def field_each(self, fields: Sequence[tuple[str, str]]) -> list[bytes | None]:
        """Return one field of each of many hashes, each given as key and name."""
        if len(fields) == 1:
            return [await self._answer("hget", fields[0][:1], lambda: self._client.hget(*fields[0]))]
        return await self._in_batches(
            "hget", fields, lambda pipeline, field: pipeline.hget(*field), keys_of=lambda field: field[:1]
        )

    async def fields(self, key: str) -> dict[bytes, bytes]:
        answer: dict[bytes, bytes] = await self._answer("hgetall", (key,), lambda: self._client.hgetall(key))
        return answer

    async def delete(self, *keys: str) -> None:
        await self._answer("delete", keys, lambda: self._client.delete(*keys))

    async def close(self) -> None:
        await self._client.aclose()

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
            found += await self._answer(doing, keys_of(batch[0]), partial(self._batch, batch, queue))
            for call, answer in zip(batch, found[start:], strict=True):
                if isinstance(answer, Exception):
                    await self._answer(doing, keys_of(call), partial(_raise, answer))
        return found

    async def _batch(self, batch: Sequence[Call], queue: Callable[[Pipeline, Call], Any]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for call in batch:
                await queue(pipeline, call)
            return await pipeline.execute(raise_on_error=False)

    async def _answer(self, doing: str, keys: Sequence[str], call: Callable[[], Awaitable[Any]]) -> Any:
        """Return the answer; whatever is none becomes StoreUnavailable or ContainerUnusable."""
        self.calls[doing] += 1
        at = f"{doing} {keys[0]}" if keys else doing
        try:
            return await call()
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):  # our keys were overwritten: nothing under them is known any more
                _log.warning("redis_key_of_wrong_type", keys=list(keys), doing=doing)
                await self.delete(*keys)
            raise refused(error, self.store, at) from error
        except (RedisError, OSError) as error:
            raise refused(error, self.store, at) from error


async def _raise(error: Exception) -> None:
    raise error


async def open_redis(settings: Settings) -> RedisServer:
    """Connect and see that the server answers; raises SettingsInvalid, StoreUnavailable."""
    server = RedisServer.connect(settings)
    try:
        await server.ping()
    except BaseException:
        await server.close()
        raise
    return server


class RedisLeases:
    """``Leases`` in Redis. ``lease_ms``: the duration of a lease that is neither released nor renewed.

    ``generations`` gives the current generations of the topics. Each generation's watermark is a field of its own.
    """

    def __init__(
        self,
        server: RedisServer,
        *,
        generations: Callable[[], Awaitable[Generations]],
        lease_ms: int,
        patience_ms: int = PATIENCE_MS,
    ) -> None:
        self._server = server
        self._generations = generations
        self._lease_ms = lease_ms
        self._patience_ms = patience_ms

    async def acquire_leases(
        self, aggregate_ids: Sequence[AggregateId], holder: str, *, queueing: bool = True
    ) -> list[Lease | Waiting]:
        generations = await self._generations()
        arguments = (holder, self._lease_ms, self._patience_ms, int(queueing))
        calls = [(self._keys(name), (*arguments, _watermark_field(generations.of(name)))) for name in aggregate_ids]
        answers = await self._server.run_each("take_turn", calls)
        return [
            _turn(aggregate_id, generations.of(aggregate_id), *found) if granted else Waiting(position=found[0])
            for aggregate_id, (granted, *found) in zip(aggregate_ids, answers, strict=True)
        ]

    async def save_progress(self, progress: Sequence[StreamProgress], holder: str) -> None:
        generations = await self._generations()
        calls = [
            (self._keys(one.aggregate_id), self._arguments(one, holder, generations.of(one.aggregate_id)))
            for one in progress
        ]
        await self._server.run_each("settle_turn", calls)

    def _arguments(self, each: StreamProgress, holder: str, generation: int) -> tuple[Any, ...]:
        state, published = each.state, each.published or Watermark(generation, 0)
        sealed = b"" if state is None else seal_state(state)
        return (
            holder,
            "" if state is None else state.sequence_number,
            sealed if len(sealed) <= CACHED_STATE_BYTES_MAX else b"",
            published.through,
            int(each.release),
            self._server.memory_s,
            _watermark_field(published.generation),
        )

    async def published(self, aggregate_ids: Sequence[AggregateId]) -> list[Watermark | None]:
        generations = await self._generations()
        fields = [(self._key(name, "head"), _watermark_field(generations.of(name))) for name in aggregate_ids]
        numbers = await self._numbers(fields, aggregate_ids)
        return [
            None if number is None else Watermark(generations.of(aggregate_id), number)
            for aggregate_id, number in zip(aggregate_ids, numbers, strict=True)
        ]

    async def heads(self, aggregate_ids: Sequence[AggregateId]) -> list[int | None]:
        return await self._numbers([(self._key(name, "head"), "head") for name in aggregate_ids], aggregate_ids)

    async def forget_stream(self, aggregate_id: AggregateId) -> None:
        await self._server.delete(self._key(aggregate_id, "head"))

    async def _numbers(
        self, fields: Sequence[tuple[str, str]], aggregate_ids: Sequence[AggregateId]
    ) -> list[int | None]:
        answers = await self._server.field_each(fields)
        return [_number(*pair) for pair in zip(answers, aggregate_ids, strict=True)]

    def _keys(self, aggregate_id: AggregateId) -> list[str]:
        return [self._key(aggregate_id, name) for name in ("turn", "waiting", "seen", "head")]

    def _key(self, aggregate_id: AggregateId, name: str) -> str:
        return f"{self._server.prefix}{{{aggregate_id}}}:{name}"


def _watermark_field(generation: int) -> str:
    """Return the field of a generation's watermark; that of the first is older than generations."""
    return "published" if generation == FIRST_GENERATION else f"published.{generation}"


def _turn(
    aggregate_id: AggregateId, generation: int, head: bytes | None, published: bytes | None, state: bytes | None
) -> Lease:
    """Return what is known; what cannot be read is not known, and never guessed."""
    head_number, published_number = _number(head, aggregate_id), _number(published, aggregate_id)
    if head_number is None or published_number is None:
        return Lease(head=0, published=Watermark(generation, 0), known=False, state=None)
    found = None
    if state is not None:
        try:
            found = open_state(state, aggregate_id=str(aggregate_id))
        except LogDamaged as error:
            _log.warning("cached_state_damaged", aggregate_id=str(aggregate_id), reason=error.message)
    if found is not None and found.sequence_number != head_number:
        _log.warning("cached_state_not_of_head", aggregate_id=str(aggregate_id), head=head_number)
        found = None
    return Lease(head=head_number, published=Watermark(generation, published_number), known=True, state=found)


def _number(text: bytes | None, aggregate_id: AggregateId) -> int | None:
    if text is None:
        return None
    if text.isdigit():
        return int(text)
    _log.warning("cached_number_damaged", aggregate_id=str(aggregate_id), found=text[:40])
    return None


class RedisCommandStatuses:
    """``CommandStatuses`` in Redis: a hash per command, with a field ``at:STAGE`` for each stage reached."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    async def claim_command(self, status: CommandStatus) -> CommandStatus | None:
        arguments = (self._server.memory_s, *_pairs(_identity(status)), *_pairs(_times(status.history)))
        existing = await self._server.run("claim_command", [self._key(status.command_id)], arguments)
        if existing is None:
            return None
        found = self._status(status.command_id, dict(zip(existing[::2], existing[1::2], strict=True)))
        if found is None:  # unreadable is not known, so it gives way
            await self.complete_command(status)
        return found

    async def complete_command(self, status: CommandStatus) -> None:
        fields = _pairs(_identity(status))
        arguments = (self._server.memory_s, status.command_hash, len(fields), *fields, *_pairs(_times(status.history)))
        await self._server.run("complete_command", [self._key(status.command_id)], arguments)

    async def read_status(self, command_id: str) -> CommandStatus | None:
        fields = await self._server.fields(self._key(command_id))
        return self._status(command_id, fields) if fields else None

    def _key(self, command_id: str) -> str:
        return f"{self._server.prefix}command:{command_id}"

    def _status(self, command_id: str, fields: Mapping[bytes, bytes]) -> CommandStatus | None:
        try:
            return _read_status(command_id, {name.decode(): value.decode() for name, value in fields.items()})
        except (KeyError, ValueError) as error:
            _log.warning("status_unreadable", command_id=command_id, reason=repr(error))
            return None


def _identity(status: CommandStatus) -> dict[str, str]:
    fields = {
        "command_hash": status.command_hash,
        "command_type": status.command_type,
        "aggregate_id": status.aggregate_id,
        "stage": status.stage.value,
    }
    return fields if status.result is None else fields | {"result": status.result.model_dump_json()}


def _times(history: Sequence[tuple[Stage, str]]) -> dict[str, str]:
    return {f"at:{stage}": time for stage, time in reversed(history)}  # of two times of one stage, the first


def _pairs(fields: Mapping[str, str]) -> list[str]:
    return [text for pair in fields.items() for text in pair]


def _read_status(command_id: str, fields: Mapping[str, str]) -> CommandStatus:
    """Read the fields back; raises KeyError and ValueError for what is not a status."""
    history = tuple((stage, fields[f"at:{stage}"]) for stage in Stage if f"at:{stage}" in fields)
    reached = [Stage(fields["stage"]), *(stage for stage, _ in history)]
    return CommandStatus(
        command_id=command_id,
        command_hash=fields["command_hash"],
        command_type=fields["command_type"],
        aggregate_id=fields["aggregate_id"],
        stage=max(reached, key=list(Stage).index),
        history=history,
        result=read_result(fields["result"]) if "result" in fields else None,
    )
