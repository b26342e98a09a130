"""The generations of topics: which topic of a name was opened when, and how many partitions it had then."""

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.stored_names import topic_record_key
from oncelog.errors import LogDamaged
from oncelog.ports import TopicRecord
from oncelog.stores.s3.bucket import Bucket, StoredObject


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    topic_id: str
    partitions: int = Field(ge=1)


class S3TopicRecords:
    """``TopicRecords`` on a bucket: ``topics/{topic}/{generation:06d}.json``."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def write_topic_record(self, topic: str, record: TopicRecord) -> TopicRecord:
        key = topic_record_key(topic, record.generation)
        body = canonical_bytes({"topic_id": record.topic_id, "partitions": record.partitions})
        existing = await self._bucket.put_if_absent(key, body)
        return record if existing is None else _read(existing, key, record.generation)

    async def topic_history(self, topic: str) -> list[TopicRecord]:
        records: list[TopicRecord] = []
        while True:
            key = topic_record_key(topic, len(records) + 1)
            stored = await self._bucket.get(key)
            if stored is None:
                return records
            records.append(_read(stored, key, len(records) + 1))


def _read(stored: StoredObject, key: str, generation: int) -> TopicRecord:
    try:
        record = _Stored.model_validate_json(stored.body)
    except ValidationError as error:
        raise LogDamaged(
            f"{key}: not a topic's record: {error}; restore the object from its versions", where=key
        ) from error
    return TopicRecord(generation, record.topic_id, record.partitions)
