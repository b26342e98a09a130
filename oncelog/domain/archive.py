"""The archive's manifest: which files hold which events of a class. Pure; the bytes of a manifest are canonical JSON.

Manifests of a class are numbered 1, 2, 3 … and written once each, so that of two archivers that started from the same
manifest one publishes the next. The newest manifest alone is the list of archived files. A file is named by the
manifest that it was written for, and only that one may bring it in: as soon as a manifest of that number exists and
does not name the file, the file is garbage for ever, even if its writer does not know that.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from oncelog.domain.canonical import canonical_bytes, parse_stored, sha256_hex
from oncelog.domain.frozen_model import Value
from oncelog.errors import ArchiveDamaged, InputInvalid

FORMAT_VERSION = 1

#: A reader merges at most so many sorted runs of a class.
RUNS_MAX = 8
#: Runs that a merge leaves where there were too many, so that not every new file brings the next merge.
RUNS_AFTER_MERGE = 4
#: Files of less than half the full size that are left alone.
SMALL_FILES_MAX = 8

_DIGEST = r"^[0-9a-f]{64}$"


class ArchiveFile(Value):
    """A Parquet file with events in the order of their slots' keys, each key once.

    ``first`` and ``last`` are the keys of its first and last event, ``groups`` the first key of each row group. ``key``
    is where the file lies.
    """

    key: str
    sha256: str = Field(pattern=_DIGEST)
    size_bytes: int = Field(ge=1)
    events: int = Field(ge=1)
    first: str
    last: str
    groups: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        bounds = (*self.groups, self.last)
        if self.first != self.groups[0] or any(lower > upper for lower, upper in pairwise(bounds)):
            raise ValueError(f"file {self.key}: expected its keys in order, found {bounds[:4]}")
        return self

    def groups_between(self, first: str, end: str | None) -> range:
        """Return the row groups that may hold keys from ``first`` on and below ``end``."""
        if self.last < first or (end is not None and self.first >= end):
            return range(0)
        start = max(bisect_right(self.groups, first) - 1, 0)
        stop = len(self.groups) if end is None else bisect_right(self.groups, end)
        return range(start, stop)


class ArchiveManifest(Value):
    """The archived files of a class. ``previous_checksum``: of the manifest before, null in the first.

    ``complete_through``: all events of slots written until then, by S3's clock, are in the files; null before
    the first complete pass. ``checksum``: SHA-256 of the canonical form without ``checksum``.
    """

    format_version: int = FORMAT_VERSION
    db_name: str
    class_id: str
    number: int = Field(ge=1)
    complete_through: str | None = None
    files: tuple[ArchiveFile, ...] = ()
    previous_checksum: str | None = None
    checksum: str = ""

    @property
    def events(self) -> int:
        """Return how many events are archived."""
        return sum(file.events for file in self.files)

    @property
    def canonical(self) -> bytes:
        """The form in which the manifest is stored."""
        return canonical_bytes(self.model_dump(mode="json"))


def next_manifest(
    base: ArchiveManifest, files: Iterable[ArchiveFile], *, complete_through: str | None = None
) -> ArchiveManifest:
    """Return the sealed manifest after ``base`` with these files; ``base`` of number 0 or damaged has no checksum."""
    fields: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "db_name": base.db_name,
        "class_id": base.class_id,
        "number": base.number + 1,
        "complete_through": complete_through or base.complete_through,
        "files": [file.model_dump(mode="json") for file in sorted(files, key=lambda file: (file.first, file.key))],
        "previous_checksum": base.checksum or None,
    }
    return ArchiveManifest.model_validate({**fields, "checksum": sha256_hex(canonical_bytes(fields))})


def no_manifest(db_name: str, class_id: str, *, number: int = 0) -> ArchiveManifest:
    """Return the substitute for a missing or unreadable manifest: nothing is archived, the next number follows it."""
    return ArchiveManifest.model_construct(
        format_version=FORMAT_VERSION,
        db_name=db_name,
        class_id=class_id,
        number=number,
        complete_through=None,
        files=(),
        previous_checksum=None,
        checksum="",
    )


def read_manifest(data: bytes, *, db_name: str, class_id: str, number: int, where: str) -> ArchiveManifest:
    """Parse and verify a stored manifest; raises ArchiveDamaged."""
    try:
        fields = parse_stored(data, where=where)
        manifest = ArchiveManifest.model_validate(fields)
    except (InputInvalid, ValidationError) as error:
        raise ArchiveDamaged(
            f"{where}: not a manifest: {error}; oncelog archive makes it again", where=where
        ) from error
    content = {name: value for name, value in fields.items() if name != "checksum"}
    if sha256_hex(canonical_bytes(content)) != manifest.checksum:
        raise ArchiveDamaged(f"{where}: expected the checksum of its content; it was altered", where=where)
    if (manifest.db_name, manifest.class_id, manifest.number) != (db_name, class_id, number):
        raise ArchiveDamaged(f"{where}: it is of another class or number; an object was moved", where=where)
    return manifest


def sorted_runs(files: Iterable[ArchiveFile]) -> list[list[ArchiveFile]]:
    """Return the files as runs within which keys ascend: as few as there can be, so many as a reader has to merge."""
    runs: list[list[ArchiveFile]] = []
    for file in sorted(files, key=lambda file: (file.first, file.last)):
        fitting = next((run for run in runs if run[-1].last < file.first), None)
        if fitting is None:
            runs.append([file])
        else:
            fitting.append(file)
    return runs


def files_to_merge(files: Sequence[ArchiveFile], *, full_bytes: int, runs_max: int = RUNS_MAX) -> list[ArchiveFile]:
    """Return the files that are to become one run, in the order of their keys; none where nothing need be merged.

    Where more than ``runs_max`` files overlap, those of them with the fewest events; else files that stayed small.
    """
    overlapping = max((_overlapping(files, at.first) for at in files), key=len, default=[])
    if len(overlapping) > runs_max:
        smallest = sorted(overlapping, key=lambda file: file.events)[: len(overlapping) - RUNS_AFTER_MERGE + 1]
        return sorted(smallest, key=lambda file: file.first)
    small = [file for file in files if 2 * file.size_bytes < full_bytes]
    return sorted(small, key=lambda file: file.first) if len(small) > SMALL_FILES_MAX else []


def _overlapping(files: Sequence[ArchiveFile], key: str) -> list[ArchiveFile]:
    return [file for file in files if file.first <= key <= file.last]
