"""``oncelog doctor``: every server asked whether it is reachable, new enough, and meets Oncelog's requirements."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import partial
from urllib.parse import urlsplit

from rich.console import RenderableType

from oncelog.cli.exits import Exit
from oncelog.cli.reporting import report_each
from oncelog.errors import ContainerUnusable, OncelogError, StoreUnavailable
from oncelog.settings import Settings
from oncelog.stores.opening import Stores

CHECK_TIMEOUT_S = 20.0  # of one server; all are asked at once
CLOSE_TIMEOUT_S = 10.0
SKEW_MAX_S = 60.0  # S3 refuses requests from 15 minutes on
#: The oldest version that Oncelog is tested with, and the first of those that it is not made for, if there is one.
VERSIONS = {"Temporal": ("1.29.1", ""), "Redis": ("7.0", ""), "Elasticsearch": ("8.19.0", "9.0.0")}


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at on one server. ``remedy``: how to mend it, empty where nothing has to be."""

    server: str
    subject: str
    state: State
    found: str
    remedy: str = ""


Checks = Callable[[], AsyncIterator[Diagnosis]]


async def doctor() -> Exit:
    """Check every server: reachable, version, rights, guarantees, clock; exit code 1 or 3 if one fails."""
    settings = Settings.from_environment()
    stores = await Stores.connect(settings)
    try:
        found = await diagnose(stores, settings)
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(stores.close(), CLOSE_TIMEOUT_S)
    report_each([asdict(each) for each in found], partial(_table, found))
    failed = [each for each in found if each.state is State.FAILED]
    if any(each.subject == "reachable" for each in failed):
        return Exit.UNREACHABLE
    return Exit.FINDINGS if failed else Exit.FINE


async def diagnose(stores: Stores, settings: Settings) -> list[Diagnosis]:
    """Ask all servers at once; none takes longer than ``CHECK_TIMEOUT_S``."""
    checks: dict[str, Checks] = {
        "Temporal": _temporal,
        "S3": partial(_s3, stores),
        "Redis": partial(_redis, stores),
        "Kafka": partial(_kafka, settings),
        "Elasticsearch": partial(_elasticsearch, stores),
    }
    if stores.terminusdb:
        checks["TerminusDB"] = partial(_terminusdb, stores)
    found = await asyncio.gather(*(_checked(server, check, settings) for server, check in checks.items()))
    return [each for diagnoses in found for each in diagnoses]


async def _checked(server: str, check: Checks, settings: Settings) -> list[Diagnosis]:
    found: list[Diagnosis] = []
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            async for diagnosis in check():
                found.append(diagnosis)  # noqa: PERF401 - the diagnoses before a failure are kept
    except TimeoutError:
        cause = f"no answer within {CHECK_TIMEOUT_S:g} s"
        found.append(Diagnosis(server, "reachable", State.FAILED, cause, "see whether it hangs, and its address"))
    except OncelogError as error:
        silent = isinstance(error, StoreUnavailable) and not isinstance(error, ContainerUnusable)
        remedy = str(error.details.get("remedy", ""))
        if silent:
            remedy = await _unseen_tls(server, settings) or "start it, or mend its address"
        subject = "reachable" if silent else "usable"
        found.append(Diagnosis(server, subject, State.FAILED, str(error.details.get("cause", error.message)), remedy))
    return found


async def _unseen_tls(server: str, settings: Settings) -> str:
    """Return the remedy for a server that is asked without TLS and speaks it."""
    from oncelog.stores.elasticsearch.connecting import TLS as OF_ELASTICSEARCH
    from oncelog.stores.redis.refusals import TLS as OF_REDIS
    from oncelog.stores.tls import speaks_tls

    names = {"Redis": (settings.redis.url, OF_REDIS), "Elasticsearch": (settings.elasticsearch.url, OF_ELASTICSEARCH)}
    if server not in names:
        return ""
    url, tls = names[server]
    address = urlsplit(url.split(",")[0])
    if address.scheme in ("rediss", "https") or not address.hostname or not address.port:
        return ""
    return f"it speaks TLS: {tls.encrypted}" if await speaks_tls(address.hostname, address.port) else ""


def _skew(server: str, server_time_s: float, *, asked_s: float) -> Diagnosis:
    """Compare a server's clock with ours, in the middle of the request."""
    skew_s = server_time_s - (asked_s + time.time()) / 2
    state = State.OK if abs(skew_s) <= SKEW_MAX_S else State.FAILED
    remedy = "" if state is State.OK else "set the clocks of this machine and of the server by NTP"
    return Diagnosis(server, "clock", state, f"{skew_s:+.0f} s against ours", remedy)


def version_warnings(server: str, version: str) -> Iterator[Diagnosis]:
    """Yield a warning about a version outside ``VERSIONS``; of a version that is not told, nothing."""
    oldest, beyond = VERSIONS[server]
    number = _number(version)
    if number and (number < _number(oldest) or (beyond and number >= _number(beyond))):
        remedy = f"use {oldest} or newer" + (f", below {beyond}" if beyond else "")
        yield Diagnosis(server, "version", State.WARNING, f"{version} is not tested", remedy)


def _number(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: (1, 31, 0) of ``1.31.0-154.6``, none of another text."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


async def _temporal() -> AsyncIterator[Diagnosis]:
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
    from temporalio.service import RPCError

    from oncelog.client import connection
    from oncelog.workflows.attributes import SEARCH_ATTRIBUTES

    client = await connection.connect()
    try:
        info = await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=connection.RPC_TIMEOUT)
        yield Diagnosis("Temporal", "reachable", State.OK, f"version {info.server_version}")
        for warning in version_warnings("Temporal", info.server_version):
            yield warning
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace), timeout=connection.RPC_TIMEOUT
        )
    except RPCError as error:
        raise connection.unavailable(client.service_client.config.target_host, "looking around", error) from error
    missing = sorted({key.name for key in SEARCH_ATTRIBUTES} - {*listed.custom_attributes, *listed.system_attributes})
    if missing:
        remedy = "start a worker, which adds them, or let the namespace's operator add them"
        yield Diagnosis("Temporal", "search attributes", State.WARNING, f"missing: {', '.join(missing)}", remedy)
    else:
        yield Diagnosis("Temporal", "search attributes", State.OK, f"all are in namespace {client.namespace}")


async def _s3(stores: Stores) -> AsyncIterator[Diagnosis]:
    from oncelog.stores.s3.opening import has_object_lock, probe_conditional_put

    bucket, asked_s = stores.bucket, time.time()
    answer = await bucket.call("HeadBucket", partial(bucket.client.head_bucket, Bucket=bucket.name), at=bucket.name)
    yield Diagnosis("S3", "reachable", State.OK, f"bucket {bucket.name} at {bucket.client.meta.endpoint_url}")
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date:
        at_s = parsedate_to_datetime(date).replace(tzinfo=UTC).timestamp()
        yield _skew("S3", at_s, asked_s=asked_s)
    await probe_conditional_put(bucket)
    yield Diagnosis("S3", "conditional PUT", State.OK, "of several writers at once exactly one won")
    locked = await bucket.call(
        "GetObjectLockConfiguration", partial(has_object_lock, bucket.client, bucket.name), at=bucket.name
    )
    if locked:
        yield Diagnosis("S3", "Object Lock", State.OK, "on, with versioning")
    else:
        remedy = "deny s3:DeleteObject and overwriting by policy, or make a bucket with Object Lock"
        yield Diagnosis("S3", "Object Lock", State.WARNING, "off: only rights keep events from deletion", remedy)


async def _redis(stores: Stores) -> AsyncIterator[Diagnosis]:
    await stores.redis.ping()
    asked_s = time.time()
    about = await stores.redis.about()
    yield Diagnosis("Redis", "reachable", State.OK, f"version {about.version or 'untold'}")
    for warning in version_warnings("Redis", about.version):
        yield warning
    if about.time_s is not None:
        yield _skew("Redis", about.time_s, asked_s=asked_s)
    await stores.redis.probe_scripts()
    yield Diagnosis("Redis", "rights", State.OK, "our scripts run on our keys")
    if about.eviction not in ("", "noeviction"):
        found = f"maxmemory-policy {about.eviction}: keys go early, which costs time and loses nothing"
        yield Diagnosis("Redis", "memory", State.WARNING, found, "set maxmemory-policy to noeviction")


async def _kafka(settings: Settings) -> AsyncIterator[Diagnosis]:
    from oncelog.stores.kafka.topics import look_at_topics

    found = await look_at_topics(settings)
    yield Diagnosis("Kafka", "reachable", State.OK, f"brokers: {found.brokers}")
    if found.missing:
        remedy = "start a worker, which creates them, or create them by hand (docs/stream.md)"
        yield Diagnosis("Kafka", "topics", State.WARNING, f"missing: {', '.join(found.missing)}", remedy)
    else:
        yield Diagnosis("Kafka", "topics", State.OK, "all are there, and set as they have to be")


async def _elasticsearch(stores: Stores) -> AsyncIterator[Diagnosis]:
    from oncelog.stores.elasticsearch.health import cluster_health

    health = await cluster_health(stores.elasticsearch)
    yield Diagnosis("Elasticsearch", "reachable", State.OK, f"version {health.version}, nodes: {health.nodes}")
    for warning in version_warnings("Elasticsearch", health.version):
        yield warning
    explain = "see GET _cluster/allocation/explain: a shard is on no node"
    if health.red:
        yield Diagnosis("Elasticsearch", "health", State.FAILED, f"red: {', '.join(health.red)}", explain)
    elif health.status == "red":
        found = "the cluster is red, by indices that are not ours"
        yield Diagnosis("Elasticsearch", "health", State.WARNING, found, explain)
    else:
        yield Diagnosis("Elasticsearch", "health", State.OK, f"the cluster is {health.status}")
    await stores.documents.prepare()
    yield Diagnosis("Elasticsearch", "rights", State.OK, "index templates can be put")


async def _terminusdb(stores: Stores) -> AsyncIterator[Diagnosis]:
    if stores.terminusdb:
        await stores.terminusdb.ping()
        yield Diagnosis("TerminusDB", "reachable", State.OK, "answers to our user")


def _table(found: list[Diagnosis]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    colours = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red"}
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("server", "checked", "state", "found, and what mends it"):
        table.add_column(heading, overflow="fold")
    for each in found:
        text = f"{each.found}; {each.remedy}" if each.remedy else each.found
        table.add_row(each.server, each.subject, Text(each.state, style=colours[each.state]), text)
    return table
