"""The results of a bulk command against the digests of the lines that its records tell; block by block."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from oncelog.domain.canonical import canonical_bytes
from oncelog.errors import InputInvalid
from oncelog.verification.findings import Code, Finding
from oncelog.verification.log import digest

DIGEST_BYTES = 16


@dataclass
class ResultsCheck:
    """Takes the results block by block; ``expected``: 16 bytes per item, the digest of its line."""

    command_id: str
    expected: bytes
    counts: tuple[int, int, int]
    _rest: bytes = b""
    _lines: int = 0
    _first_wrong: int | None = None
    _problem: str = ""
    _sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, block: bytes) -> None:
        """Look at the next bytes."""
        self._sha256.update(block)
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            self._add_line(line)

    def end(self) -> str:
        """Look at the remaining bytes; returns the SHA-256 of all bytes, in hexadecimal."""
        if self._rest:
            self._add_line(self._rest)
            self._rest = b""
        return self._sha256.hexdigest()

    def judge(self) -> Iterator[Finding]:
        """Yield the differences of the results from the records; call after ``end``."""
        where = f"results of command {self.command_id}"
        if self._problem:
            found = f"expected results, found what cannot be read: {self._problem}"
            yield Finding(Code.RESULTS_WRONG, where, found)
        elif self._first_wrong is not None or self._lines * DIGEST_BYTES != len(self.expected):
            found = "other" if self._first_wrong is None else f"other at item {self._first_wrong}"
            yield Finding(Code.RESULTS_WRONG, where, f"expected what the records say of each item, found {found}")

    def _add_line(self, line: bytes) -> None:
        index, self._lines = self._lines, self._lines + 1
        try:
            found = digest(canonical_bytes(json.loads(line)))
        except (ValueError, InputInvalid) as error:
            self._problem = self._problem or str(error)
            return
        wanted = self.expected[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
        if self._first_wrong is None and wanted and found != wanted:
            self._first_wrong = index
