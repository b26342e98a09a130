"""The chains of unique values, entry by entry: each whole and in its place, numbered 1..n, with the one after it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.domain.unique.constraint import ValueKey
from oncelog.domain.unique.entry import Place, UniqueEntry
from oncelog.errors import InputInvalid
from oncelog.verification.entries import read_own
from oncelog.verification.findings import Code, Finding
from oncelog.verification.log import GAPS_NAMED_MAX

ENTRY_KEY = re.compile(r"(unique/[^/]+/[^/]+/[^/]+/[0-9a-f]{64}/)([0-9]{6})\.json")


@dataclass(frozen=True)
class EntryFacts:
    """An entry, and the place after it where that is taken. ``is_late``: it was read after its aggregate's log."""

    entry: UniqueEntry
    next: Place | None = None
    is_late: bool = False


@dataclass(frozen=True)
class RefusalFacts:
    """A rejection for a value that another instance holds: the record's claim about that instance."""

    where: str
    constraint: str
    sha256: str
    holder: str
    version: int

    @property
    def value(self) -> ValueKey:
        """The value that was refused."""
        return ValueKey(self.constraint, self.sha256)


def refusal_of(rejection: Rejection | None, where: str) -> RefusalFacts | None:
    """Return a rejection's claim about a value's holder; None where it is of another code, or names no holder."""
    if rejection is None or rejection.code is not RejectionCode.UNIQUE_VIOLATED:
        return None
    details: dict[str, Any] = rejection.details
    texts = [details.get(name) for name in ("constraint", "sha256", "holder")]
    version = details.get("holder_version")
    if not all(isinstance(text, str) for text in texts) or not isinstance(version, int):
        return None
    try:
        AggregateId.parse(str(texts[2]))
    except (InputInvalid, UnicodeDecodeError):
        return None
    return RefusalFacts(where, str(texts[0]), str(texts[1]), str(texts[2]), version)


class ChainFindings(Protocol):
    """Takes the entries and findings of a walk through chains."""

    def add_entry(self, facts: EntryFacts) -> None:
        """Take an entry."""
        ...

    def add_chain_finding(self, finding: Finding) -> None:
        """Take a finding about a chain by itself; ``where`` is a key."""
        ...


class ChainWalk:
    """Takes the objects under ``unique/`` in the order of their keys; holds one of them at a time."""

    def __init__(self, report: ChainFindings) -> None:
        self.entries = 0
        self._report = report
        self._folder = ""
        self._number = 0
        self._follows = False
        self._open: UniqueEntry | None = None

    def add(self, key: str, body: bytes | None, *, damage: str = "") -> None:
        """Look at an object. ``body`` None: it could not be read for the reason in ``damage``."""
        if not self.pass_by(key):
            return
        entry = read_own(key, body) if body is not None else damage
        if isinstance(entry, UniqueEntry):
            self._close(entry.own_place if self._follows else None)
            self._open = entry
        else:
            self._close(None)
            found = f"expected an entry of a unique value, found {entry}; restore the first version"
            self._find(Code.ENTRY_FORGED, key, found)

    def pass_by(self, key: str) -> bool:
        """Look at a key alone, and return whether it names an entry."""
        match = ENTRY_KEY.fullmatch(key)
        if match is None or int(match[2]) == 0:
            self._report.add_chain_finding(foreign_key(key))
            return False
        self.entries += 1
        folder, number = match[1], int(match[2])
        if folder != self._folder:
            self.end()
            self._folder, self._number = folder, 0
        for finding in _gaps(folder, self._number, number):
            self._report.add_chain_finding(finding)
        self._follows, self._number = number == self._number + 1, number
        return True

    def end(self) -> None:
        """Report the entry that is open."""
        self._close(None)

    def _close(self, following: Place | None) -> None:
        entry, self._open = self._open, None
        if entry is not None:
            self._report.add_entry(EntryFacts(entry, following))

    def _find(self, code: Code, key: str, found: str) -> None:
        self._report.add_chain_finding(Finding(code, key, found))


def foreign_key(key: str) -> Finding:
    """Return the finding of a key under ``unique/`` that names no entry."""
    found = "expected an entry of a unique value here, found a key that names none; remove it"
    return Finding(Code.OBJECT_FOREIGN, key, found)


def _gaps(folder: str, before: int, number: int) -> Iterator[Finding]:
    missing = range(before + 1, number)
    for each in missing[:GAPS_NAMED_MAX]:
        found = f"expected an entry, found none, yet place {number} is taken; restore the object"
        yield Finding(Code.CHAIN_GAP, f"{folder}{each:06d}.json", found)
