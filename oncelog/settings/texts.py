"""Types of settings that are texts of a form of their own."""

import re
from typing import Annotated

from pydantic import AfterValidator

from oncelog.domain.identifiers import NAME

ALL_DATABASES = "*"
_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_CRASH_POINT = re.compile(r"[a-z_]+(:[1-9][0-9]*)?")


def _check_namespace(value: str) -> str:
    if value and not _NAMESPACE.fullmatch(value):
        raise ValueError("expected up to 31 of a-z 0-9 -, or nothing")
    return value


def _check_crash_point(value: str) -> str:
    if not _CRASH_POINT.fullmatch(value):
        raise ValueError("expected a step's name, or step:N for the N-th time that it is done")
    return value


def _check_databases(value: str) -> str:
    for name in value.split(",") if value else ():
        if name != ALL_DATABASES and not NAME.fullmatch(name):
            raise ValueError(f"expected names of databases with commas between them, or {ALL_DATABASES} for all")
    return value


#: The namespace of an installation; empty for none.
Namespace = Annotated[str, AfterValidator(_check_namespace)]
#: A step of a command after which a worker ends itself.
CrashPoint = Annotated[str, AfterValidator(_check_crash_point)]
#: Names of databases with commas between them, or all.
DatabaseNames = Annotated[str, AfterValidator(_check_databases)]
