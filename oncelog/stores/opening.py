"""All stores of one installation, connected together and closed together."""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from oncelog.errors import StoreUnavailable
from oncelog.ports import Ports
from oncelog.settings import Settings
from oncelog.stores.elasticsearch import (
    ElasticsearchDocuments,
    ElasticsearchGraph,
    ElasticsearchSearches,
    ElasticsearchServer,
)
from oncelog.stores.kafka.publisher import KafkaFailures, KafkaPublisher
from oncelog.stores.kafka.topic_publisher import KafkaTopicPublisher
from oncelog.stores.redis.chain_hints import RedisChainHints
from oncelog.stores.redis.command_statuses import RedisCommandStatuses
from oncelog.stores.redis.leases import RedisLeases
from oncelog.stores.redis.server import RedisServer
from oncelog.stores.s3 import (
    S3Archives,
    S3Bucket,
    S3Checkpoints,
    S3ChunkRecords,
    S3ClassNames,
    S3CommandRecords,
    S3DeadLetters,
    S3EventLog,
    S3LargeObjects,
    S3LogCatalogue,
    S3Snapshots,
    S3TopicRecords,
    S3UniqueEntries,
    connect,
    prepare_bucket,
)
from oncelog.stores.terminusdb import TerminusGraph, TerminusServer


@dataclass(frozen=True)
class Stores:
    """The real servers behind the ports, to prepare them, count their requests and close them."""

    ports: Ports
    bucket: S3Bucket
    redis: RedisServer
    kafka: KafkaPublisher
    elasticsearch: ElasticsearchServer
    documents: ElasticsearchDocuments
    graph: ElasticsearchGraph | TerminusGraph
    terminusdb: TerminusServer | None

    @classmethod
    async def connect(cls, settings: Settings) -> Self:
        """Make every client; none has sent a request yet, so that a reader needs only the servers it reads.

        Raises SettingsInvalid.
        """
        redis = RedisServer.connect(settings)
        bucket = await asyncio.to_thread(connect, settings)
        kafka, elasticsearch = KafkaPublisher(settings, S3TopicRecords(bucket)), ElasticsearchServer(settings)
        documents = ElasticsearchDocuments(elasticsearch, settings)
        terminusdb = TerminusServer(settings.terminusdb) if settings.terminusdb.url else None
        graph = TerminusGraph(terminusdb, settings) if terminusdb else ElasticsearchGraph(elasticsearch, settings)
        event_log = S3EventLog(bucket)
        ports = Ports(
            installation=settings.installation,
            event_log=event_log,
            records=S3CommandRecords(bucket),
            catalogue=S3LogCatalogue(bucket, event_log),
            archives=S3Archives(bucket),
            checkpoints=S3Checkpoints(bucket),
            chunk_records=S3ChunkRecords(bucket),
            large_objects=S3LargeObjects(bucket),
            snapshots=S3Snapshots(bucket),
            names=S3ClassNames(bucket),
            unique_entries=S3UniqueEntries(bucket),
            leases=RedisLeases(redis, generations=kafka.generations, lease_ms=settings.lease_ms),
            chain_hints=RedisChainHints(redis),
            statuses=RedisCommandStatuses(redis),
            publisher=kafka,
            topics=KafkaTopicPublisher(kafka, settings),
            documents=documents,
            searches=ElasticsearchSearches(elasticsearch, settings),
            indices=documents.indices,
            index_contents=documents.indices,
            kept_indices=documents.kept_indices,
            graph=graph,
            graphs=graph,
            dead_letters=S3DeadLetters(bucket),
            failures=KafkaFailures(kafka, settings.failure_topic),
        )
        return cls(
            ports=ports,
            bucket=bucket,
            redis=redis,
            kafka=kafka,
            elasticsearch=elasticsearch,
            documents=documents,
            graph=graph,
            terminusdb=terminusdb,
        )

    async def prepare(self, *, with_redis: bool = True) -> None:
        """See that every server answers and is safe to run on, and make the missing bucket, topics and templates.

        ``with_redis``: False for a program that commits nothing, and so does not need it.
        Raises StoreUnsafe, or one StoreUnavailable that names every server which cannot be reached.
        """
        outcomes = await asyncio.gather(
            prepare_bucket(self.bucket),
            self.kafka.prepare(),
            self.documents.prepare(),
            self.graph.prepare(),
            *([self.redis.ping()] if with_redis else []),
            return_exceptions=True,
        )
        silent: list[StoreUnavailable] = []
        for outcome in outcomes:
            if isinstance(outcome, StoreUnavailable):
                silent.append(outcome)
            elif outcome is not None:
                raise outcome
        if silent:
            raise silent[0] if len(silent) == 1 else StoreUnavailable.of_all(silent)
        await self.kafka.open()  # with the bucket, where generations are recorded

    async def close(self) -> None:
        """Close every connection."""
        closing = [self.kafka.stop(), self.elasticsearch.close(), self.redis.close(), self.bucket.close()]
        if self.terminusdb:
            closing.append(self.terminusdb.close())
        await asyncio.gather(*closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
