"""The steps of an archive run: list the classes, pack one file of a class, merge its files, remove unreferenced ones.

Each starts from the newest manifest of its class, so each may be repeated, and may run beside other archive runs.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from temporalio import activity

from oncelog.activities.heartbeats import heartbeats
from oncelog.archive.archiver import Archiver
from oncelog.archive.run import ArchivePlan, ArchiveRequest, MergeReport, PackReport
from oncelog.domain.events import rfc3339
from oncelog.ports import Ports

HEARTBEAT_S = 5.0

Answer = TypeVar("Answer")


class ArchiveStep(BaseModel):
    """One step of an archive run, on one class.

    ``first``: the stream to go on from. ``complete_through``: when the run began, by S3's clock (RFC 3339).
    """

    model_config = ConfigDict(frozen=True)

    db_name: str
    class_id: str
    first: str | None = None
    complete_through: str | None = None


class ArchiveActivities:
    """Every method is idempotent, and safe beside other archivers and live commands."""

    def __init__(self, archiver: Archiver, ports: Ports) -> None:
        self._archiver = archiver
        self._catalogue = ports.catalogue
        self._checkpoints = ports.checkpoints

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        """The activities for a worker to register."""
        return [self.plan_archive, self.pack_class, self.merge_class, self.collect_class]

    @activity.defn
    async def plan_archive(self, request: ArchiveRequest) -> ArchivePlan:
        """Ask S3's clock for the time, and list the classes."""
        started_at = rfc3339(await self._checkpoints.now())
        if request.db_name and request.class_id:
            return ArchivePlan(started_at=started_at, classes=((request.db_name, request.class_id),))
        classes = await _alive(self._catalogue.class_names(db_name=request.db_name))
        return ArchivePlan(started_at=started_at, classes=tuple(classes))

    @activity.defn
    async def pack_class(self, step: ArchiveStep) -> PackReport:
        """Pack the new events of a class, up to one full file."""
        packing = self._archiver.pack(
            step.db_name, step.class_id, first=step.first, complete_through=step.complete_through
        )
        return await _alive(packing)

    @activity.defn
    async def merge_class(self, step: ArchiveStep) -> MergeReport:
        """Merge files of a class, if too many overlap or are small."""
        return await _alive(self._archiver.merge(step.db_name, step.class_id))

    @activity.defn
    async def collect_class(self, step: ArchiveStep) -> int:
        """Remove the files of a class that no manifest names any more; returns how many."""
        return await _alive(self._archiver.collect(step.db_name, step.class_id))


async def _alive(doing: Awaitable[Answer]) -> Answer:
    async with heartbeats(lambda: None, every_s=HEARTBEAT_S):
        return await doing
