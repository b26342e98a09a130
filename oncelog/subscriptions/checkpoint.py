"""The checkpoint of a subscription: a text that its caller keeps, and that only a subscription reads.

``1.``, then the base64url form of a compressed JSON object, then the first 16 hexadecimal digits of the SHA-256 of all
that, joined by dots.
"""

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, ValidationError

from oncelog.archive.log_part import LogPosition
from oncelog.domain.canonical import sha256_hex
from oncelog.domain.frozen_model import Value
from oncelog.errors import InputInvalid
from oncelog.ports import TopicOffsets

VERSION = "1"
DIGEST_CHARACTERS = 16
#: Of a checkpoint once it is uncompressed: some million aggregates.
BYTES_MAX = 256 * 1024 * 1024


class HistoryProgress(Value):
    """How far the log was read before the stream: classes below ``class_name`` are done. ``after``: the last event."""

    class_name: tuple[str, str] = ("", "")
    after: LogPosition | None = None


class Checkpoint(Value):
    """The content of a checkpoint.

    ``topics``: by topic, its ID and the next offsets. ``history``: set while the log itself is read. ``since``: the
    time at which a subscription to new events began, RFC 3339. ``positions``: by aggregate, the last sequence number
    that was delivered or left out; empty where the caller keeps them.
    """

    kind: Literal["subscription"] = "subscription"
    name: str
    installation: str
    topics: dict[str, tuple[str, dict[int, int]]] | None = None
    history: HistoryProgress | None = None
    since: str | None = None
    positions: dict[str, int] = Field(default_factory=dict)

    @property
    def offsets(self) -> Mapping[str, TopicOffsets] | None:
        """The offsets to go on from, by topic; None: at the end of each."""
        if self.topics is None:
            return None
        return {topic: TopicOffsets(topic_id, offsets) for topic, (topic_id, offsets) in self.topics.items()}

    def text(self) -> str:
        """Return the checkpoint as its caller keeps it."""
        body = base64.urlsafe_b64encode(zlib.compress(self.model_dump_json(exclude_none=True).encode())).decode()
        said = f"{VERSION}.{body}"
        return f"{said}.{sha256_hex(said.encode())[:DIGEST_CHARACTERS]}"


def read_checkpoint(text: str, *, name: str, installation: str) -> Checkpoint:
    """Read a checkpoint of the subscription ``name``; raises InputInvalid for any other text."""
    where = f"subscription {name}: checkpoint"
    version, _, rest = text.partition(".")
    said, _, digest = text.rpartition(".")
    if version != VERSION or not rest:
        raise InputInvalid(
            f"{where}: expected one of this release, found {text[:12]!r}; begin with 'beginning' or 'now'"
        )
    if sha256_hex(said.encode())[:DIGEST_CHARACTERS] != digest:
        raise InputInvalid(f"{where}: it was altered or cut short; pass it as it was given")
    try:
        packed = base64.b64decode(said.partition(".")[2], altchars=b"-_", validate=True)
        unpacking = zlib.decompressobj()
        checkpoint = Checkpoint.model_validate_json(unpacking.decompress(packed, BYTES_MAX))
    except (binascii.Error, zlib.error, ValidationError) as error:
        raise InputInvalid(f"{where}: not readable; pass it as it was given") from error
    if checkpoint.name != name or checkpoint.installation != installation:
        raise InputInvalid(
            f"{where}: expected one of {name} in installation {installation}, found one of {checkpoint.name} in "
            f"{checkpoint.installation}; keep a checkpoint for each subscription"
        )
    return checkpoint
