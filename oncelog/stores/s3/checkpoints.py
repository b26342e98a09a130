"""How far the log is known to be whole: one object, replaced by each check that went through all of it."""

from datetime import datetime

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from oncelog.domain.stored_names import CHECK_REPORTS
from oncelog.errors import LogDamaged, StoreUnavailable
from oncelog.ports import Generations, LogCheckpoint
from oncelog.stores.s3.bucket import Bucket

CHECKPOINT = CHECK_REPORTS + "settled.json"
CLOCK = CHECK_REPORTS + "clock.json"

_log = structlog.get_logger()


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")

    settled_through: AwareDatetime
    generations: Generations = Generations()


class S3Checkpoints:
    """``Checkpoints`` on a bucket: ``reports/sweep/settled.json``; an object beside it is written to learn the time."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def now(self) -> datetime:
        await self._bucket.put(CLOCK, b"{}")
        listed, _ = await self._bucket.list_after(CLOCK, "", count_max=1)
        if not listed:
            raise StoreUnavailable("S3", f"ListObjectsV2 {CLOCK}", "what was just written is not listed")
        return listed[0].written_at

    async def read_checkpoint(self) -> LogCheckpoint | None:
        try:
            found = await self._bucket.get(CHECKPOINT)
            stored = None if found is None else _Stored.model_validate_json(found.body)
        except (LogDamaged, ValidationError) as error:  # derived: without it, a check reads more
            _log.warning("checkpoint_unreadable", reason=str(error))
            return None
        return None if stored is None else LogCheckpoint(stored.settled_through, stored.generations)

    async def save_checkpoint(self, through: datetime, generations: Generations) -> None:
        stored = _Stored(settled_through=through, generations=generations)
        await self._bucket.put(CHECKPOINT, stored.model_dump_json(exclude_defaults=True).encode())
