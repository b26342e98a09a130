"""The archive against the log: the newest manifest of each class, and every row of the files that it names."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import Any

from oncelog.archive import parquet
from oncelog.domain.archive import ArchiveFile
from oncelog.errors import ArchiveDamaged, LogDamaged
from oncelog.ports import NewestManifest
from oncelog.stores.s3 import Bucket, S3Archives
from oncelog.verification.findings import Code, Finding
from oncelog.verification.log import SLOT_KEY, LogFacts, digest

REMEDY = "oncelog archive makes it again once the file is removed"


#: Sends a request, and again where it gets no answer.
Asking = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


def once(ask: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
    """Send a request once."""
    return ask()


async def judge_archive(
    bucket: Bucket, logs: Mapping[str, LogFacts], db_name: str, class_id: str, *, answered: Asking = once
) -> AsyncIterator[Finding]:
    """Yield what disagrees in the archive of a class; an archive that is behind is none. Raises StoreUnavailable."""
    newest: NewestManifest = await answered(partial(S3Archives(bucket).newest_manifest, db_name, class_id))
    if newest.damage:
        yield Finding(Code.ARCHIVE_DAMAGED, f"archive of {db_name}/{class_id}", newest.damage)
    archived: list[str] = []
    for file in newest.manifest.files:
        try:
            body = await answered(partial(_body, bucket, file))
            keys, findings = await asyncio.to_thread(_judged, file, body, logs)
        except ArchiveDamaged as error:
            yield Finding(Code.ARCHIVE_DAMAGED, file.key, error.message)
            continue
        archived += keys
        for finding in findings:
            if finding.code is not Code.ARCHIVE_FORGED or not await answered(partial(_is_newer, bucket, finding, logs)):
                yield finding
    for finding in _gaps(archived):
        yield finding


async def _body(bucket: Bucket, file: ArchiveFile) -> bytes:
    try:
        stored = await bucket.get(file.key)
    except LogDamaged as error:
        raise ArchiveDamaged(f"{error.message}; {REMEDY}") from error
    if stored is None:
        raise ArchiveDamaged("expected the file that the manifest names, found none; run oncelog archive")
    found = await asyncio.to_thread(lambda: hashlib.sha256(stored.body).hexdigest())
    if found != file.sha256:
        raise ArchiveDamaged(f"expected SHA-256 {file.sha256}, found {found}; {REMEDY}")
    return stored.body


def _judged(file: ArchiveFile, body: bytes, logs: Mapping[str, LogFacts]) -> tuple[list[str], list[Finding]]:
    """Compare each row with the event in its slot, and its columns with its event; returns the keys, and findings."""
    keys: list[str] = []
    findings: list[Finding] = []
    for rows in parquet.rows_of(file, io.BytesIO(body)):
        for key, event in rows.events:
            keys.append(key)
            match = SLOT_KEY.fullmatch(key)
            log = logs.get(match[1]) if match else None
            number = int(match[2]) if match else 0
            facts = log.events.get(number) if log else None
            if log is not None and facts is None and number in log.taken:
                continue  # the slot itself is damaged, which is told already
            if facts is None or facts.value_digest != digest(event):
                found = "expected the very bytes of the slot, found others, or no such event in the log"
                findings.append(Finding(Code.ARCHIVE_FORGED, key, f"{found}; {REMEDY}: {file.key}"))
        if not rows.columns_agree:
            found = f"expected the columns of row group {rows.group} to repeat its events, found others; {REMEDY}"
            findings.append(Finding(Code.ARCHIVE_FORGED, file.key, found))
    return keys, findings


async def _is_newer(bucket: Bucket, finding: Finding, logs: Mapping[str, LogFacts]) -> bool:
    """Return whether the finding is about an event that was written, and archived, after the log was read."""
    match = SLOT_KEY.fullmatch(finding.where)
    if match is None:
        return False
    log = logs.get(match[1])
    return (log is None or int(match[2]) > log.head) and await bucket.get(finding.where) is not None


def _gaps(keys: list[str]) -> Iterator[Finding]:
    """Yield streams of which an event is missing in the archive though a later one is there, or is there twice."""
    for stream, group in groupby(sorted(keys), key=lambda key: key.rpartition("/")[0]):
        numbers = [int(key[-25:-5]) for key in group]
        if numbers != list(range(1, len(numbers) + 1)):
            found = f"expected archived events 1 to {numbers[-1]}, each once, found {len(numbers)}; run oncelog archive"
            yield Finding(Code.ARCHIVE_GAP, f"archive of {stream.removeprefix('events/')}", found)
