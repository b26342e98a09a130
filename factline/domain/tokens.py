"""Consistency tokens: "show me at least this".

A token names, per aggregate, the sequence number a read must have reached. It is opaque to its bearer: the text is
``1.`` (the format's version), the base64url form of a canonical JSON object, and the first 16 hexadecimal digits of
its SHA-256, joined by dots. The digest finds damage and idle edits; a token grants nothing, so it needs no secret.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping

from factline.domain.canonical import canonical_bytes, parse_json, sha256_hex
from factline.errors import InputInvalid, TokenInvalid

VERSION = "1"
DIGEST_CHARACTERS = 16
TOKEN_CHARACTERS_MAX = 64 * 1024


def make_token(sequences: Mapping[str, int]) -> str:
    """Return the token for aggregate IDs and the sequence numbers to be seen."""
    body = canonical_bytes(dict(sequences))
    text = base64.urlsafe_b64encode(body).rstrip(b"=").decode()
    return f"{VERSION}.{text}.{sha256_hex(body)[:DIGEST_CHARACTERS]}"


def read_token(token: str) -> dict[str, int]:
    """Return aggregate IDs and sequence numbers of a token; raises TokenInvalid."""
    version, _, rest = token.partition(".")
    text, _, digest = rest.partition(".")
    if version != VERSION or len(token) > TOKEN_CHARACTERS_MAX:
        raise TokenInvalid(f"consistency token: expected version {VERSION}, found {version[:8]!r}; pass it unchanged")
    try:
        body = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found = parse_json(body, where="consistency token")
    except (binascii.Error, ValueError, InputInvalid) as error:
        raise TokenInvalid("consistency token: not readable; pass it unchanged") from error
    if sha256_hex(body)[:DIGEST_CHARACTERS] != digest or not isinstance(found, dict):
        raise TokenInvalid("consistency token: its digest does not match; pass it unchanged")
    if not all(isinstance(sequence, int) and sequence > 0 for sequence in found.values()):
        raise TokenInvalid("consistency token: expected positive sequence numbers; pass it unchanged")
    return found


def merge_tokens(tokens: Iterable[str]) -> str:
    """Return one token that asks for everything the given ones ask for; raises TokenInvalid."""
    merged: dict[str, int] = {}
    for token in tokens:
        for aggregate_id, sequence in read_token(token).items():
            merged[aggregate_id] = max(sequence, merged.get(aggregate_id, 0))
    return make_token(merged)
