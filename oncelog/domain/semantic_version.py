"""Semantic versions (https://semver.org), as far as schemas need them: three numbers, no pre-releases, no build."""

import re
from typing import NamedTuple

from oncelog.errors import InputInvalid

_FORM = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")


class SemanticVersion(NamedTuple):
    """``MAJOR.MINOR.PATCH``; sorts by precedence."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def parse(cls, text: str) -> "SemanticVersion":
        """Read ``1.2.3``; raises InputInvalid."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise InputInvalid(f"version: expected MAJOR.MINOR.PATCH such as 1.2.3, found {text[:40]!r}")
        return cls(int(match[1]), int(match[2]), int(match[3]))
