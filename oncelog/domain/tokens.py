"""Consistency tokens: "show me at least this".

A token names, per aggregate, the sequence number a read must have reached. It is opaque to its bearer: the format's
version, the mark of the installation that it counts for, the base64url form of a canonical JSON object, and the first
16 hexadecimal digits of the SHA-256 of all that, joined by dots. The digest finds damage and idle edits; a token grants
nothing, so it needs no secret. The mark tells a token of another installation, where aggregates may well have the same
names, from one that is only not visible yet.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from oncelog.domain.canonical import canonical_bytes, parse_json, sha256_hex
from oncelog.domain.limits import TOKEN_CHARACTERS_MAX
from oncelog.errors import InputInvalid, TokenInvalid

Name = TypeVar("Name")

VERSION = 2
DIGEST_CHARACTERS = 16
MARK_CHARACTERS = 8

_FORM = re.compile(r"(?P<version>[1-9][0-9]{0,8})\.(?P<rest>[A-Za-z0-9_.-]*)")
_REST = re.compile(r"(?P<mark>[0-9a-f]{8})\.(?P<body>[A-Za-z0-9_-]*)\.(?P<digest>[0-9a-f]{16})")


def installation_mark(name: str) -> str:
    """Return the mark that tokens carry for an installation of this name: digits of the name's SHA-256."""
    return sha256_hex(name.encode())[:MARK_CHARACTERS]


def make_token(sequences: Mapping[str, int], *, installation: str) -> str:
    """Return the token for aggregate IDs and the sequence numbers to be seen.

    ``installation``: its mark. Raises InputInvalid for more aggregates than a token may name.
    """
    text = base64.urlsafe_b64encode(canonical_bytes(dict(sequences))).rstrip(b"=").decode()
    content = f"{VERSION}.{installation}.{text}"
    token = f"{content}.{_digest(content)}"
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise InputInvalid(
            f"consistency token: expected at most {TOKEN_CHARACTERS_MAX} characters, found {len(token)} for "
            f"{len(sequences)} aggregates; read in several parts, with a token each"
        )
    return token


def read_token(token: str, *, installation: str | None = None) -> dict[str, int]:
    """Return aggregate IDs and sequence numbers of a token; raises TokenInvalid.

    ``installation``: the mark that it has to have; None: any.
    """
    return _read(token, installation)[1]


def merge_tokens(tokens: Iterable[str]) -> str:
    """Return one token that asks for everything the given ones ask for.

    Raises TokenInvalid, also for those of different installations, and InputInvalid for none or too much.
    """
    asked: list[tuple[str, int]] = []
    mark: str | None = None
    for token in tokens:
        mark, sequences = _read(token, mark)
        asked += sequences.items()
    if mark is None:
        raise InputInvalid("consistency tokens: expected at least one to merge, found none; read without a token")
    return make_token(highest(asked), installation=mark)


def highest(asked: Iterable[tuple[Name, int]]) -> dict[Name, int]:
    """Return the highest sequence number asked for of each aggregate, which takes in all others."""
    highest_numbers: dict[Name, int] = {}
    for name, sequence_number in asked:
        highest_numbers[name] = max(sequence_number, highest_numbers.get(name, 0))
    return highest_numbers


def _read(token: str, installation: str | None) -> tuple[str, dict[str, int]]:
    """Return mark and content of a token."""
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise TokenInvalid(
            f"consistency token: expected at most {TOKEN_CHARACTERS_MAX} characters, found {len(token)}; pass it "
            "unchanged"
        )
    form = _FORM.fullmatch(token)
    if form is None:
        raise TokenInvalid(f"consistency token: expected one of ours, found {token[:12]!r}; pass it unchanged")
    version = int(form["version"])
    if version != VERSION:
        age, remedy = ("an older", "read without it") if version < VERSION else ("a newer", "upgrade this one")
        raise TokenInvalid(
            f"consistency token: expected version {VERSION}, found {version}, of {age} release; {remedy}"
        )
    rest = _REST.fullmatch(form["rest"])
    if rest is None or _digest(token[: -DIGEST_CHARACTERS - 1]) != rest["digest"]:
        raise TokenInvalid("consistency token: it was altered or cut short; pass it unchanged")
    if installation is not None and rest["mark"] != installation:
        raise TokenInvalid(
            f"consistency token: expected one of installation {installation}, found one of {rest['mark']}: another "
            "namespace or bucket; read where its command was submitted",
            expected=installation,
            found=rest["mark"],
        )
    return rest["mark"], _content(rest["body"])


def _content(text: str) -> dict[str, int]:
    try:
        body = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        sequences = parse_json(body, where="consistency token")
    except (binascii.Error, ValueError, InputInvalid) as error:
        raise TokenInvalid("consistency token: not readable; pass it unchanged") from error
    if not isinstance(sequences, dict) or not all(type(each) is int and each > 0 for each in sequences.values()):
        raise TokenInvalid("consistency token: expected positive sequence numbers; pass it unchanged")
    return sequences


def _digest(content: str) -> str:
    return sha256_hex(content.encode())[:DIGEST_CHARACTERS]
