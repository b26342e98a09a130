"""Passwords in every setting that may hold one: none of them is found in anything that a program leaves or prints."""

import asyncio
import base64
import json
import os
import socket
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from oncelog.settings import Settings
from oncelog.stores.kafka.topic_reader import read_topic
from tests.commands import create
from tests.integration.gates import gate, refusal
from tests.integration.installation import Installation, until_pending

pytestmark = pytest.mark.integration

CANARY = "canary-7d1e"
#: 32 bytes that begin with the canary.
SIGNING_KEY = base64.b64encode(f"{CANARY}-signing".ljust(32, "-").encode()).decode()
#: Stands in payloads, so that a look that finds nothing at all is told from a clean one.
MARKER = "marker-5b2a"
GONE = refusal("503 Service Unavailable", "application/json", b'{"error":"gone","status":503}')
PROGRAMS_TIMEOUT_S = 900  # of some programs, on a busy machine


def with_password(url: str, user: str, name: str) -> str:
    """Return the URL with a user and a password of its own."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}:{CANARY}-{name}@{parts.netloc.rpartition('@')[2]}").geturl()


#: In place of user and password: the worker has it, the command line has those.
API_KEY = {"ONCELOG_ELASTICSEARCH_API_KEY": base64.b64encode(f"id:{CANARY}-elasticsearch".encode()).decode()}


@pytest.fixture
def secrets(installation: Installation) -> Mapping[str, str]:
    """Variables with passwords, all of which the servers take or pass over; AWS' secret is a password as it is."""
    settings = installation.settings
    return {
        "ONCELOG_REDIS_URL": with_password(settings.redis.url, "default", "redis"),
        "ONCELOG_SIGNING_KEY": SIGNING_KEY,
        "ONCELOG_METRICS_ADDRESS": f"127.0.0.1:{_free_port()}",
        "ONCELOG_PROJECTOR_METRICS_ADDRESS": f"127.0.0.1:{_free_port()}",
        "TEMPORAL_API_KEY": f"{CANARY}-temporal",
        "TEMPORAL_TLS": "false",
        "ONCELOG_KAFKA_SASL_PASSWORD": f"{CANARY}-kafka",
        "ONCELOG_KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": f"{CANARY}-kafka-client",
        "ONCELOG_KAFKA_SSL_KEY_PASSWORD": f"{CANARY}-kafka-key",
    }


def refused_secrets() -> list[dict[str, str]]:
    """Variables with passwords that Kafka's listener refuses, and with those of a TerminusDB that is not there."""
    kafka = {
        "ONCELOG_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "ONCELOG_KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
        "ONCELOG_KAFKA_SASL_USERNAME": "oncelog",
    }
    address = f"http://127.0.0.1:{_free_port()}"
    with_user = {"ONCELOG_TERMINUSDB_URL": with_password(address, "admin", "terminusdb")}
    with_token = {"ONCELOG_TERMINUSDB_URL": address, "ONCELOG_TERMINUSDB_TOKEN": f"{CANARY}-terminusdb"}
    return [{**kafka, **with_user}, {**kafka, **with_token}]


async def test_no_password_is_left_anywhere(installation: Installation, secrets: Mapping[str, str]):
    settings = installation.settings
    async with gate(urlsplit(settings.elasticsearch.url).netloc.rpartition("@")[2], GONE) as elasticsearch:
        url = with_password(f"http://{elasticsearch.address}", "elastic", "elasticsearch")
        gated = {**secrets, "ONCELOG_ELASTICSEARCH_URL": url}
        with_key = {**secrets, "ONCELOG_ELASTICSEARCH_URL": f"http://{elasticsearch.address}", **API_KEY}
        worker = await (await installation.worker_process(**with_key)).ready()
        printed = [await run_python(installation, gated, COMMAND_LINES, json.dumps(COMMANDS))]
        waiting = await installation.client.start(create("p9", {"name": MARKER}))
        elasticsearch.shut()
        pending = await installation.client.start(create("p8", {"name": MARKER}))
        await until_pending(pending)
        metrics = await asyncio.to_thread(_read_url, f"http://{secrets['ONCELOG_METRICS_ADDRESS']}/metrics")
        printed += [await run_python(installation, gated, COMMAND_LINES, json.dumps(QUESTIONS))]
        left = {
            "worker log": worker.output(),
            "refusals": await refusals(installation, with_key, gated),
            "command line": "\n".join(printed),
            "metrics": metrics,
            "workflows": await workflows(installation),
            "Redis": await redis_values(settings),
            "S3": await asyncio.to_thread(objects, installation),
            "Kafka": await messages(settings),
            "Elasticsearch": await documents(installation),
        }
        await waiting.terminate()
        await pending.terminate()
    for place, text in left.items():
        assert any(sign in text for sign in SIGNS[place]), f"{place}: the look saw nothing of ours"
    passwords = [CANARY, SIGNING_KEY, *API_KEY.values(), os.environ["AWS_SECRET_ACCESS_KEY"]]
    found = {
        place: excerpt(text, password) for place, text in left.items() for password in passwords if password in text
    }
    assert not found
    assert "127.0.0.1" in left["workflows"]  # the failure does name the address


async def refusals(installation: Installation, worker: Mapping[str, str], command_line: Mapping[str, str]) -> str:
    """Return what worker and ``doctor`` say where Kafka refuses their password, and TerminusDB is not there."""
    texts = []
    for variables in refused_secrets():
        doomed = await installation.worker_process(**{**worker, **variables})
        assert await doomed.ended() != 0
        texts.append(doomed.output())
        texts.append(await run_python(installation, {**command_line, **variables}, COMMAND_LINES, DOCTOR))
    assert all("Kafka" in text and "TerminusDB" in text for text in texts), texts
    return "\n".join(texts)


COMMANDS: list[tuple[str, ...]] = [
    ("class", "define", "shop/Order", "-p", '{"version": "1.0.0", "schema": {"type": "object"}}'),
    ("submit", "create", "shop/Product/p1", "-p", json.dumps({"name": MARKER})),
    ("submit", "create", "shop/Product/p1", "-p", json.dumps({"name": MARKER})),
    ("submit", "update", "shop/Product/p1", "-p", json.dumps({"price": 7}), "--actor", MARKER),
    ("get", "shop/Product/p1"),
    ("history", "shop/Product/p1"),
    ("search", "shop/Product"),
    ("check",),
    ("replay", "start", "shop"),
    ("verify",),
    ("doctor",),
]
#: Asked once Elasticsearch is gone.
QUESTIONS: list[tuple[str, ...]] = [
    ("get", "shop/Product/p1"),
    ("search", "shop/Product"),
    ("graph", "shop/Product/p1", "maker"),
    ("verify",),
    ("dead-letters", "list"),
]
#: Asked with what Kafka and TerminusDB refuse.
DOCTOR = json.dumps([("doctor",), ("doctor", "--json")])
#: In each place one of these is found, if the look sees anything.
SIGNS = {
    "refusals": ["Kafka"],
    "worker log": ["worker_ready"],
    "command line": [MARKER],
    "metrics": ["temporal_"],
    "workflows": [MARKER],
    "Redis": ["shop/Product"],
    "S3": [MARKER],
    "Kafka": [MARKER],
    "Elasticsearch": [MARKER],
}


#: Runs command lines one after the other in one process, which takes a fraction of the time of one each.
COMMAND_LINES = """
import json, sys
from oncelog.cli import main
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as end:
        print(arguments, end.code, flush=True)
"""


async def run_python(installation: Installation, variables: Mapping[str, str], script: str, argument: str) -> str:
    """Run a script on the installation's servers; returns all that it prints, wherever."""
    given = {**installation.variables, "TEMPORAL_NAMESPACE": installation.temporal.namespace, **variables}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        argument,
        env=given,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(PROGRAMS_TIMEOUT_S):
        output, _ = await process.communicate()
    return output.decode()


async def workflows(installation: Installation) -> str:
    """Return every history of the namespace, and what the Web UI shows of each workflow."""
    texts = []
    async for execution in installation.temporal.list_workflows():
        handle = installation.temporal.get_workflow_handle(execution.id)
        texts.append((await handle.fetch_history()).to_json())
        texts.append(str((await handle.describe()).raw_description))
    texts.append(MARKER * any(MARKER in _decoded(text) for text in texts))
    return "\n".join([*texts, *map(_decoded, texts)])


def _decoded(history: str) -> str:
    """Return the payloads of a history, which are Base64 in its JSON, as text."""
    try:
        return "\n".join(_payloads(json.loads(history)))
    except ValueError:
        return history


def _payloads(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        data = value.get("data")
        if isinstance(data, str):
            yield base64.b64decode(data).decode(errors="replace")
        for each in value.values():
            yield from _payloads(each)
    elif isinstance(value, list):
        for each in value:
            yield from _payloads(each)


async def redis_values(settings: Settings) -> str:
    """Return all keys of the installation with what lies under them."""
    read = {"string": "get", "hash": "hgetall", "list": "lrange", "zset": "zrange", "set": "smembers"}
    texts = []
    async with Redis.from_url(settings.redis.url) as redis:
        async for key in redis.scan_iter(f"{settings.redis_prefix}*", count=1000):
            answer: Any = await redis.type(key)
            kind = answer.decode()
            some = (0, -1) if kind in ("list", "zset") else ()
            texts.append(f"{key!r} {await getattr(redis, read[kind])(key, *some)!r}" if kind in read else repr(key))
    return "\n".join(texts)


def objects(installation: Installation) -> str:
    """Return all objects of the installation with their metadata."""
    client, settings = installation.stores.bucket.client, installation.settings
    texts = []
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=settings.s3.bucket, Prefix=settings.s3_prefix)
    for item in (item for page in pages for item in page.get("Contents", [])):
        found = client.get_object(Bucket=settings.s3.bucket, Key=item["Key"])
        texts.append(f"{item['Key']} {found['Metadata']} {found['Body'].read().decode(errors='replace')}")
    return "\n".join(texts)


async def messages(settings: Settings) -> str:
    """Return all messages of the installation's topics with their headers."""
    topics = (settings.instance_topic, settings.ontology_topic, settings.failure_topic)
    return "\n".join([repr(message) for topic in topics for message in await read_topic(settings, topic)])


async def documents(installation: Installation) -> str:
    """Return all documents of the installation's indices, and how those are set."""
    client, names = installation.stores.elasticsearch.client, f"{installation.settings.namespace}.*"
    await client.indices.refresh(index=names)
    answers = [await client.search(index=names, size=1000), await client.indices.get(index=names)]
    return "\n".join(json.dumps(answer.body) for answer in answers)


def excerpt(text: str, password: str) -> str:
    """Return where a password stands, with what is around it."""
    at = text.index(password)
    return text[max(0, at - 200) : at + 60]


def _read_url(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
