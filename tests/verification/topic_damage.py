"""Damage to the topic of a healthy installation as a whole."""

from oncelog.domain.canonical import canonical_bytes
from oncelog.stores.s3 import StoredObject
from oncelog.testing.memory.kafka import MEMORY_TOPIC
from oncelog.verification.findings import Code
from tests.verification import damage
from tests.verification.damage import LAMP, Damage, drop_message
from tests.write.world import World

RECORD = f"topics/{MEMORY_TOPIC}/000001.json"


async def healthy() -> World:
    """The installation of ``damage.healthy``, whose topic a worker has opened."""
    world = await damage.healthy()
    body = canonical_bytes({"topic_id": str(world.publisher.incarnation), "partitions": 1})
    world.bucket.objects[RECORD] = StoredObject(body)
    return world


def replace_topic(world: World) -> None:
    """Let another topic of the same name hold the very same messages."""
    world.publisher.incarnation += 1


def lose_messages(world: World) -> None:
    """Let Kafka lose what it had acknowledged of an aggregate's end."""
    for number in (5, 4, 3):
        drop_message(world, LAMP, number)


PLANTED = [
    Damage("a topic is of another generation", replace_topic, Code.TOPIC_REPLACED),
    Damage("a watermark is ahead of the topic", lose_messages, Code.WATERMARK_AHEAD),
    Damage(
        "a topic's record cannot be read",
        lambda w: w.bucket.objects.update({RECORD: StoredObject(b"{")}),
        Code.OBJECT_UNREADABLE,
    ),
]
