"""Snapshots: the latest kept state of an aggregate, derived and replaceable."""

import structlog

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.stored_names import snapshot_key
from oncelog.errors import LogDamaged
from oncelog.stores.s3.bucket import Bucket
from oncelog.stores.sealed_state import open_state, seal_state

_log = structlog.get_logger()


class S3Snapshots:
    """``Snapshots`` on a bucket: ``snapshots/{db_name}/{class_id}/{instance_key}.json``, one object per aggregate."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def save_snapshot(self, state: Instance) -> None:
        await self._bucket.put(snapshot_key(state.aggregate_id), seal_state(state))

    async def latest_snapshot(self, aggregate_id: AggregateId) -> Instance | None:
        try:
            found = await self._bucket.get(snapshot_key(str(aggregate_id)))
            return None if found is None else open_state(found.body, aggregate_id=str(aggregate_id))
        except LogDamaged as error:
            _log.warning("snapshot_damaged", aggregate_id=str(aggregate_id), reason=error.message)
            return None
