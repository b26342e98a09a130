"""Kafka when it takes its time: a program that begins waits for it instead of giving up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from oncelog.settings import Settings
from oncelog.stores.kafka.producer import REQUEST_TIMEOUT_MS
from oncelog.stores.kafka.publisher import KafkaPublisher
from tests.contract.topics import records_in_memory
from tests.settings import with_server

pytestmark = pytest.mark.integration

DELAY_S = REQUEST_TIMEOUT_MS / 1000 + 1


@asynccontextmanager
async def slow_proxy(servers: str) -> AsyncIterator[str]:
    """Pass everything on to a broker, its answers only after a while; yields the address."""
    host, _, port = servers.rpartition(":")
    passing: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection(host, int(port))
        for task in (_pass(reader, to_broker, 0), _pass(from_broker, writer, DELAY_S)):
            passing.add(asyncio.create_task(task))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    try:
        while data := await reader.read(65536):
            await asyncio.sleep(delay_s)
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def test_topics_are_made_on_a_slow_broker(settings: Settings):
    async with slow_proxy(settings.kafka.bootstrap_servers) as proxy:
        publisher = KafkaPublisher(with_server(settings, kafka={"bootstrap_servers": proxy}), records_in_memory())
        await publisher.prepare()
    known = KafkaPublisher(settings, records_in_memory())
    await known.prepare()  # they are there: nothing to make, and no error
    await known.stop()
    await publisher.stop()
