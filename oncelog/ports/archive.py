"""Port of the archive: manifests, written once each, and the listing of its files. Files are read as large objects."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from oncelog.domain.archive import ArchiveManifest


@dataclass(frozen=True)
class NewestManifest:
    """The newest manifest of a class; an empty one of number 0 where there is none.

    ``damage``: why it cannot be read; ``manifest`` is an empty one of its number then, so that the next may follow it.
    """

    manifest: ArchiveManifest
    damage: str = ""


class ListedFile(NamedTuple):
    """A file as a listing shows it. ``number``: of the manifest that it was written for; ``written_at``: S3's clock."""

    key: str
    number: int
    written_at: datetime


class Archives(Protocol):
    """The archives of all classes."""

    async def newest_manifest(self, db_name: str, class_id: str) -> NewestManifest:
        """Return the newest manifest of a class."""
        ...

    async def publish_manifest(self, manifest: ArchiveManifest) -> bool:
        """Write the manifest unless its number is taken, and return whether it is the one that stands."""
        ...

    def recent_manifests(self, db_name: str, class_id: str, *, since: datetime) -> AsyncIterator[ArchiveManifest]:
        """Yield the manifests that were the newest at ``since`` or at a later time. Raises ArchiveDamaged."""
        ...

    def archive_files(self, db_name: str, class_id: str) -> AsyncIterator[ListedFile]:
        """Yield all files that lie in a class's archive, named by a manifest or not."""
        ...

    async def remove_file(self, file: ListedFile) -> None:
        """Remove a file that no manifest will ever name again."""
        ...
