"""S3, where the truth lies: one bucket, and the stores in it.

``bucket`` tells answers from failures; ``requests`` and ``direct`` send, and their exceptions do not leave
it. The stores are written against the small ``Bucket`` protocol, so that the in-memory twin runs the same keys, checks
and read-backs.
"""

from oncelog.stores.s3.archives import S3Archives
from oncelog.stores.s3.bucket import Bucket, ListedObject, S3Bucket, StoredObject
from oncelog.stores.s3.catalogue import S3LogCatalogue
from oncelog.stores.s3.checkpoints import S3Checkpoints
from oncelog.stores.s3.class_names import S3ClassNames
from oncelog.stores.s3.command_records import S3ChunkRecords, S3CommandRecords
from oncelog.stores.s3.connecting import connect
from oncelog.stores.s3.dead_letters import S3DeadLetters
from oncelog.stores.s3.event_log import S3EventLog
from oncelog.stores.s3.large_objects import S3LargeObjects
from oncelog.stores.s3.opening import open_bucket, prepare_bucket, probe_conditional_put
from oncelog.stores.s3.snapshots import S3Snapshots
from oncelog.stores.s3.topic_records import S3TopicRecords
from oncelog.stores.s3.unique_entries import S3UniqueEntries

__all__ = [
    "Bucket",
    "ListedObject",
    "S3Archives",
    "S3Bucket",
    "S3Checkpoints",
    "S3ChunkRecords",
    "S3ClassNames",
    "S3CommandRecords",
    "S3DeadLetters",
    "S3EventLog",
    "S3LargeObjects",
    "S3LogCatalogue",
    "S3Snapshots",
    "S3TopicRecords",
    "S3UniqueEntries",
    "StoredObject",
    "connect",
    "open_bucket",
    "prepare_bucket",
    "probe_conditional_put",
]
