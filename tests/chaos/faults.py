"""Kinds of faults that stop, damage or lie. Servers that refuse stand in ``refusals``."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from oncelog.stores.kafka.stream import KafkaStream
from tests.chaos import clocks, disks, forgeries, tampering
from tests.chaos.installation import PROJECTORS, SERVERS, Installation
from tests.chaos.kinds import OFTEN, SELDOM, Draws, Note, elasticsearch_of, kind, redis_of
from tests.chaos.proxies import Toxic
from tests.chaos.workers import PROJECTOR, READ_MODELS, WORKER

STEPS = ("claim", "allocate", "record", "persist", "publish", "project", "complete")
PROJECTOR_STEPS = ("fetch", "fold", "show", "commit")
PROJECTORS_KEPT = tuple(range(PROJECTORS * len(READ_MODELS)))
GUEST_PATIENCE_S = 20.0
FORGED_PATIENCE_S = 10.0
AT_LAST_S = 2.0
"""How long a guest goes on when its clock is right again."""

# Workers


@kind("worker", (0.5, 1.5), worker=(0, 1))
async def worker_killed(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """SIGKILL; the supervisor starts it again at once."""
    await ground.supervisor.workers[draws["worker"]].kill()
    yield {}


@kind("worker", (7.0, 12.0), worker=(0, 1))
async def worker_frozen(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """SIGSTOP beyond the activities' time-outs: others do its work, and then it wakes up as a zombie."""
    worker = ground.supervisor.workers[draws["worker"]]
    paused = worker.pause()
    yield {"paused": paused}
    worker.resume()


@kind("worker", (0.0, 0.5), SELDOM, worker=(0, 1))
async def worker_restarted(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """SIGTERM, as for a new release: it drains; the supervisor starts it again."""
    await ground.supervisor.workers[draws["worker"]].stop()
    yield {}


@kind("worker", (0.0, 0.0), step=STEPS, nth=(1, 2, 3, 5, 8))
async def worker_crash_point(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """One worker more, which ends itself after the N-th time of a step."""
    point = f"{draws['step']}:{draws['nth']}"
    async with ground.supervisor.guest(ONCELOG_CRASH_AFTER=point) as guest:
        await guest.ready()
        yield {"crashed": await guest.ended(GUEST_PATIENCE_S)}


@kind("worker", (3.0, 6.0), needs="libfaketime", jump=("+3600", "-3600", "+600", "-600"))
async def worker_clock_jumped(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """One worker more, whose clock jumps while it works, and jumps back; S3 refuses signatures over 15 minutes off."""
    clock = ground.forgery.with_name("clock")
    clock.write_text("+0")
    async with ground.supervisor.guest(WORKER, **clocks.variables(clock)) as guest:
        await guest.ready()
        clock.write_text(draws["jump"])
        yield {}
        clock.write_text("+0")
        await asyncio.sleep(AT_LAST_S)


# Projectors


@kind("projector", (0.5, 1.5), projector=PROJECTORS_KEPT)
async def projector_killed(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """SIGKILL in the middle of a batch: its partitions go to the other one."""
    await ground.supervisor.projectors[draws["projector"]].kill()
    yield {}


@kind("own program", (0.5, 1.5), needs="shop", program=(0, 1))
async def own_program_killed(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """SIGKILL of the projector that counts orders in SQL, or of the reactor that ships them."""
    program = ground.supervisor.own[draws["program"]]
    await program.kill()
    yield {"program": program.name}


@kind("projector", (7.0, 12.0), SELDOM, projector=PROJECTORS_KEPT)
async def projector_frozen(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """SIGSTOP: others get its partitions, and then it wakes up with a batch in hand."""
    projector = ground.supervisor.projectors[draws["projector"]]
    paused = projector.pause()
    yield {"paused": paused}
    projector.resume()


@kind("projector", (0.0, 0.0), SELDOM, step=PROJECTOR_STEPS, nth=(1, 2, 3), read_model=READ_MODELS)
async def projector_crash_point(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """One projector more, which ends itself after the N-th time of a step: partitions go back and forth."""
    crash = {"ONCELOG_CRASH_AFTER": f"{draws['step']}:{draws['nth']}"}
    of = {"ONCELOG_PROJECTOR_READ_MODEL": draws["read_model"]}
    async with ground.supervisor.guest(PROJECTOR, **crash, **of) as guest:
        await guest.ready()
        yield {"crashed": await guest.ended(GUEST_PATIENCE_S)}


# Redis


@kind("redis")
async def redis_flushed(ground: Installation, _: Draws) -> AsyncIterator[Note]:
    async with redis_of(ground) as redis:
        keys = await redis.dbsize()
        await redis.flushall()
    yield {"keys": keys}


@kind("redis", (2.0, 4.0), SELDOM)
async def redis_rolled_back(ground: Installation, _: Draws) -> AsyncIterator[Note]:
    """An older append-only file is restored after a crash."""
    server, folder = ground.server("redis"), ground.data("redis") / "appendonlydir"
    old = folder.with_name("older")
    await asyncio.to_thread(shutil.copytree, folder, old)
    yield {}
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(shutil.rmtree, folder)
    old.rename(folder)
    await ground.start(server.name)


@kind("redis", how=("readonly", "oom"))
async def redis_refused_writes(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """READONLY, as after a failover; or OOM, since ours must never evict."""
    async with redis_of(ground) as redis:
        if draws["how"] == "readonly":
            await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
        else:
            await redis.config_set("maxmemory", "1")
        yield {}
        await redis.execute_command("REPLICAOF", "NO", "ONE")
        await redis.config_set("maxmemory", "0")


@kind("redis", (0.5, 1.0), SELDOM)
async def redis_overwritten(ground: Installation, _: Draws) -> AsyncIterator[Note]:
    """Plain strings are written over our keys: the wrong type for every script."""
    async with redis_of(ground) as redis:
        keys = [key async for key in redis.scan_iter("oncelog:*", count=1000)]
        for key in keys:
            await redis.set(key, "?")
    yield {"keys": len(keys)}


# S3


def _forging(*names: str) -> Callable[[Installation, Draws], AsyncIterator[Note]]:
    """Return a fault that forges S3's answers; the note says how many were forged."""

    async def forge(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
        made = forgeries.made_path(ground.forgery)
        before = _lines(made)
        forgeries_in_force = forgeries.Order(names, draws["share"])
        scratch = ground.forgery.with_suffix(".new")
        scratch.write_text(forgeries_in_force.to_json())
        scratch.replace(ground.forgery)
        note: Note = {}
        yield note
        until_s = time.monotonic() + FORGED_PATIENCE_S
        while _lines(made) == before and time.monotonic() < until_s:
            await asyncio.sleep(0.05)  # S3 was not asked yet
        ground.forgery.unlink(missing_ok=True)
        note["forged"] = _lines(made) - before

    return forge


def _lines(path: Any) -> int:
    return path.read_text().count("\n") if path.exists() else 0


for _name, _names in {
    "s3_put_errors": ("put_500", "put_503", "get_500"),
    "s3_put_conflicts": ("put_409", "put_412"),
    "s3_put_lost_answers": ("put_lost", "put_412_own"),
    "s3_put_bogus_successes": ("put_no_etag", "put_bogus"),
    "s3_get_damaged": ("get_truncated", "get_bit_flipped"),
}.items():
    _forge = _forging(*_names)
    _forge.__name__ = _name
    kind("s3", share=(0.2, 0.5, 0.8))(_forge)


@kind("s3", (0.5, 1.0), SELDOM, how=("overwrite", "delete"), which=tuple(range(8)))
async def s3_tampered_with(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """An event is overwritten or deleted by a foreign hand: denied, or noticed and restored from its versions."""
    async with tampering.tampered(ground.settings, how=draws["how"], which=draws["which"]) as note:
        yield note


# Kafka and Elasticsearch


@kind("kafka", (0.5, 2.0), SELDOM)
async def kafka_topic_dropped(ground: Installation, _: Draws) -> AsyncIterator[Note]:
    """The topic is deleted with all that is in it; the next publisher makes it anew."""
    ground.dropped.append([message async for message in KafkaStream(ground.settings).messages(after={})])
    admin = AIOKafkaAdminClient(bootstrap_servers=ground.direct.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([ground.settings.instance_topic])
    finally:
        await admin.close()
    yield {"messages": len(ground.dropped[-1])}


#: The indices of documents and those of the graph.
_READ_MODELS = "instances.*,graph.*"


@kind("elasticsearch", (0.5, 2.0))
async def elasticsearch_index_deleted(ground: Installation, _: Draws) -> AsyncIterator[Note]:
    async with elasticsearch_of(ground) as client:
        found = sorted(await client.indices.get(index=_READ_MODELS))
        if found:
            await client.indices.delete(index=found)
    yield {"indices": found}


@kind("elasticsearch", weight=SELDOM)
async def elasticsearch_refused_writes(ground: Installation, _: Draws) -> AsyncIterator[Note]:
    """A write block, as Elasticsearch sets it itself when a disk is nearly full."""
    async with elasticsearch_of(ground) as client:
        await client.indices.put_settings(index=_READ_MODELS, settings={"index.blocks.write": True})
        yield {}
        await client.indices.put_settings(index=_READ_MODELS, settings={"index.blocks.write": None})


# Temporal


@kind("temporal", (0.0, 1.0), SELDOM)
async def temporal_wiped(ground: Installation, _: Draws) -> AsyncIterator[Note]:
    """All of Temporal's histories are lost: no workflow is known any more, running or closed."""
    server = ground.server("temporal")
    await asyncio.to_thread(server.kill)
    for path in ground.data("temporal").glob("temporal.db*"):
        path.unlink()
    yield {}
    await ground.start(server.name)


# Every server alike


def _killed(name: str) -> Callable[[Installation, Draws], AsyncIterator[Note]]:
    async def killed(ground: Installation, _: Draws) -> AsyncIterator[Note]:
        await asyncio.to_thread(ground.server(name).kill)
        yield {}
        await ground.start(name)

    killed.__name__ = f"{name}_killed"
    return killed


def _frozen(name: str) -> Callable[[Installation, Draws], AsyncIterator[Note]]:
    async def frozen(ground: Installation, _: Draws) -> AsyncIterator[Note]:
        ground.server(name).pause()
        yield {}
        ground.server(name).resume()

    frozen.__name__ = f"{name}_frozen"
    return frozen


for _name in SERVERS:
    kind(_name, weight=SELDOM if _name == "elasticsearch" else OFTEN)(_killed(_name))
    kind(_name, (3.0, 7.0), weight=SELDOM if _name == "s3" else OFTEN)(_frozen(_name))


@kind("disk", (2.0, 4.0), SELDOM, "tmpfs", server=SERVERS)
async def disk_full(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """A server's disk is filled to the last byte; if it dies of that, it is started again once there is room."""
    server = ground.server(draws["server"])
    filled = await asyncio.to_thread(disks.fill, ground.data(server.name))
    note: Note = {"bytes": filled}
    yield note
    await asyncio.to_thread(disks.free, ground.data(server.name))
    note["died"] = not server.is_running()
    await ground.start(server.name)


# The network, per link

_ENDS = ("upstream", "downstream")


@kind("network", link=SERVERS, ms=(100, 400, 1500))
async def network_latency(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    toxic = Toxic("latency", "downstream", {"latency": draws["ms"], "jitter": draws["ms"] // 2})
    async with _spoilt(ground, draws["link"], toxic):
        yield {}


@kind("network", link=SERVERS, end=_ENDS, after_ms=(0, 50))
async def network_reset(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """Connections are reset: upstream before the server hears of it, downstream after it did."""
    toxic = Toxic("reset_peer", draws["end"], {"timeout": draws["after_ms"]}, 0.5)
    async with _spoilt(ground, draws["link"], toxic):
        yield {}


@kind("network", (3.0, 6.0), link=SERVERS, end=_ENDS)
async def network_black_hole(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """Nothing comes through in one direction, and nothing is closed."""
    async with _spoilt(ground, draws["link"], Toxic("timeout", draws["end"], {"timeout": 0})):
        yield {}


@kind("network", link=SERVERS, bytes=(0, 50, 500))
async def network_lost_answers(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """Requests are served, and their answers cut off."""
    async with _spoilt(ground, draws["link"], Toxic("limit_data", "downstream", {"bytes": draws["bytes"]})):
        yield {}


@asynccontextmanager
async def _spoilt(ground: Installation, link: str, toxic: Toxic) -> AsyncIterator[None]:
    await asyncio.to_thread(ground.proxies.spoil, link, toxic)
    try:
        yield
    finally:
        await asyncio.to_thread(ground.proxies.mend)
