"""The files of the archive against their manifest; the rows are held against the slots where these are read."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from functools import partial

from oncelog.archive.parquet_reader import rows_of
from oncelog.domain.archive import ArchiveFile
from oncelog.errors import ArchiveDamaged, LogDamaged
from oncelog.ports import NewestManifest
from oncelog.stores.s3 import Bucket, S3Archives
from oncelog.verification.findings import Code, Finding
from oncelog.verification.reading import answered

REMEDY = "oncelog archive makes it again once the file is removed"


async def newest_manifest(bucket: Bucket, db_name: str, class_id: str) -> NewestManifest:
    """Return the newest manifest of a class; raises StoreUnavailable."""
    newest: NewestManifest = await answered(partial(S3Archives(bucket).newest_manifest, db_name, class_id))
    return newest


async def judge_files(bucket: Bucket, db_name: str, class_id: str) -> AsyncIterator[Finding]:
    """Yield the findings about a class's archive by itself; holds one file at a time. Raises StoreUnavailable."""
    newest = await newest_manifest(bucket, db_name, class_id)
    if newest.damage:
        yield Finding(Code.ARCHIVE_DAMAGED, f"archive of {db_name}/{class_id}", newest.damage)
    for file in newest.manifest.files:
        try:
            body = await _body(bucket, file)
            forged = await asyncio.to_thread(_forged_groups, file, body)
        except ArchiveDamaged as error:
            yield Finding(Code.ARCHIVE_DAMAGED, file.key, error.message)
            continue
        for group in forged:
            found = f"expected the columns of row group {group} to repeat its events, found others; {REMEDY}"
            yield Finding(Code.ARCHIVE_FORGED, file.key, found)


async def _body(bucket: Bucket, file: ArchiveFile) -> bytes:
    try:
        stored = await answered(partial(bucket.get, file.key))
    except LogDamaged as error:
        raise ArchiveDamaged(f"{error.message}; {REMEDY}") from error
    if stored is None:
        raise ArchiveDamaged("expected the file that the manifest names, found none; run oncelog archive")
    found = await asyncio.to_thread(lambda: hashlib.sha256(stored.body).hexdigest())
    if found != file.sha256:
        raise ArchiveDamaged(f"expected SHA-256 {file.sha256}, found {found}; {REMEDY}")
    return stored.body


def _forged_groups(file: ArchiveFile, body: bytes) -> list[int]:
    return [rows.group for rows in rows_of(file, io.BytesIO(body)) if not rows.columns_agree]
