"""The archive in the bucket: numbered manifests, written once each, beside the files that they name."""

import re
from collections.abc import AsyncIterator
from datetime import datetime

from oncelog.domain.archive import ArchiveManifest, no_manifest, read_manifest
from oncelog.errors import ArchiveDamaged, LogDamaged
from oncelog.ports import ListedFile, NewestManifest
from oncelog.stores.s3.bucket import Bucket, ListedObject
from oncelog.stores.s3.numbered import highest_number, number_of, numbered_key

_FILE = re.compile(r"([0-9]{20})/[^/]+\.parquet")


class S3Archives:
    """``Archives`` on a bucket.

    ``archive/{db_name}/{class_id}/manifests/{number:020d}.json`` and
    ``archive/{db_name}/{class_id}/files/{number:020d}/{uuid}.parquet``.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def newest_manifest(self, db_name: str, class_id: str) -> NewestManifest:
        number = await highest_number(self._bucket, _manifests(db_name, class_id))
        if number == 0:
            return NewestManifest(no_manifest(db_name, class_id))
        try:
            return NewestManifest(await self._read(db_name, class_id, number))
        except ArchiveDamaged as error:
            return NewestManifest(no_manifest(db_name, class_id, number=number), damage=error.message)

    async def publish_manifest(self, manifest: ArchiveManifest) -> bool:
        key = numbered_key(_manifests(manifest.db_name, manifest.class_id), manifest.number)
        existing = await self._bucket.put_if_absent(key, manifest.canonical)
        return existing is None or existing.body == manifest.canonical

    async def recent_manifests(self, db_name: str, class_id: str, *, since: datetime) -> AsyncIterator[ArchiveManifest]:
        numbers: list[int] = []
        async for item in self._listed(_manifests(db_name, class_id)):
            number = number_of(_manifests(db_name, class_id), item)
            if number is not None:
                # The newest until then was the newest at `since`, until this one came.
                numbers = [*numbers, number] if item.written_at >= since else [number]
        for number in numbers:
            yield await self._read(db_name, class_id, number)

    async def archive_files(self, db_name: str, class_id: str) -> AsyncIterator[ListedFile]:
        folder = f"archive/{db_name}/{class_id}/files/"
        async for item in self._listed(folder):
            match = _FILE.fullmatch(item.key.removeprefix(folder))
            if match:
                yield ListedFile(item.key, int(match[1]), item.written_at)

    async def remove_file(self, file: ListedFile) -> None:
        await self._bucket.delete(file.key)

    async def _read(self, db_name: str, class_id: str, number: int) -> ArchiveManifest:
        key = numbered_key(_manifests(db_name, class_id), number)
        try:
            stored = await self._bucket.get(key)
        except LogDamaged as error:
            raise ArchiveDamaged(f"{key}: {error.message}", where=key) from error
        if stored is None:
            raise ArchiveDamaged(f"{key}: expected a manifest, found none; oncelog archive makes it again", where=key)
        return read_manifest(stored.body, db_name=db_name, class_id=class_id, number=number, where=key)

    async def _listed(self, folder: str) -> AsyncIterator[ListedObject]:
        after, more = folder, True
        while more:
            listed, more = await self._bucket.list_after(folder, after)
            for item in listed:
                yield item
            after = listed[-1].key if listed else after


def _manifests(db_name: str, class_id: str) -> str:
    return f"archive/{db_name}/{class_id}/manifests/"
