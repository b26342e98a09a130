"""Signed notes of C2SP, with Ed25519: a short text, and signatures that anybody can check by a public key.

Source: https://c2sp.org/signed-note. A tree's root is signed as a checkpoint (https://c2sp.org/tlog-checkpoint): the
text is the log's name, the number of its leaves and its root in Base64, a line each.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from oncelog.domain.merkle import HASH_BYTES
from oncelog.errors import InputInvalid

_ED25519 = b"\x01"
_KEY_BYTES = 32
_KEY_HASH_BYTES = 4
_CHECKPOINT_LINES = 3
_SIZE = re.compile(r"0|[1-9][0-9]*")
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]+")
_DASH = "— "
_BLOCK = "\n\n" + _DASH


@dataclass(frozen=True)
class Verifier:
    """A public key with its name. ``text``: the form that C2SP calls a verifier key, safe to publish."""

    name: str
    public_key: Ed25519PublicKey

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Read ``name+hash+key``; raises InputInvalid."""
        name, _, rest = text.strip().partition("+")
        digest, _, encoded = rest.partition("+")
        key = _from_base64(encoded, where="verifier key")
        if key[:1] != _ED25519 or len(key) != 1 + _KEY_BYTES or _key_hash(_checked(name), key).hex() != digest:
            raise InputInvalid("verifier key: expected name+hash+key of Ed25519, found another form, or another hash")
        return cls(name, Ed25519PublicKey.from_public_bytes(key[1:]))

    @property
    def text(self) -> str:
        key = _ED25519 + self.public_key.public_bytes_raw()
        return f"{self.name}+{_key_hash(self.name, key).hex()}+{base64.b64encode(key).decode()}"

    def opened(self, note: str) -> str:
        """Return the note's text if it bears a valid signature by this key; raises InputInvalid."""
        text, found, signatures = note.rpartition(_BLOCK)
        if not found or not note.endswith("\n"):
            raise InputInvalid("signed note: expected a text, an empty line and signature lines, found another form")
        text += "\n"
        for line in (_DASH + signatures).splitlines():
            name, _, encoded = line.removeprefix(_DASH).rpartition(" ")
            if line.startswith(_DASH) and name == self.name and self._has_signed(text, encoded):
                return text
        raise InputInvalid(f"signed note: expected a valid signature of {self.name}, found none; do not trust the note")

    def _has_signed(self, text: str, encoded: str) -> bool:
        try:
            found = base64.b64decode(encoded, validate=True)
            if found[:_KEY_HASH_BYTES] != _key_hash(self.name, _ED25519 + self.public_key.public_bytes_raw()):
                return False
            self.public_key.verify(found[_KEY_HASH_BYTES:], text.encode())
        except (binascii.Error, InvalidSignature):
            return False
        return True


class Signer:
    """Signs notes. The private key never appears in ``repr``."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Take a key's name and its 32 secret bytes; raises InputInvalid."""
        if len(seed) != _KEY_BYTES:
            raise InputInvalid(f"signing key: expected {_KEY_BYTES} bytes, found {len(seed)}")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(_checked(name), self._key.public_key())

    @classmethod
    def parse(cls, name: str, text: str) -> "Signer":
        """Take the key in Base64; raises InputInvalid, which does not cite it."""
        try:
            seed = base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            raise InputInvalid("signing key: expected Base64 of 32 bytes") from None
        return cls(name, seed)

    def __repr__(self) -> str:
        return f"Signer({self.verifier.name!r})"

    def signed(self, text: str) -> str:
        """Return the note: the text, an empty line, the signature. The text ends with a newline."""
        if not text.endswith("\n"):
            raise InputInvalid("signed note: expected a text that ends with a newline")
        public = _ED25519 + self.verifier.public_key.public_bytes_raw()
        signature = _key_hash(self.verifier.name, public) + self._key.sign(text.encode())
        return f"{text}\n{_DASH}{self.verifier.name} {base64.b64encode(signature).decode()}\n"


@dataclass(frozen=True)
class Checkpoint:
    """The text that is signed for a tree: the log's name, how many leaves it has, and its root (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions]
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read the text of a checkpoint; raises InputInvalid."""
        lines = text.removesuffix("\n").split("\n")
        if len(lines) < _CHECKPOINT_LINES or not lines[0] or not _SIZE.fullmatch(lines[1]):
            raise InputInvalid("checkpoint: expected a name, a size and a root, a line each, found another form")
        origin, size, root, *extensions = lines
        found = _from_base64(root, where="checkpoint")
        if len(found) != HASH_BYTES:
            raise InputInvalid(f"checkpoint: expected a root of {HASH_BYTES} bytes, found {len(found)}")
        return cls(origin, int(size), found, tuple(extensions))


def _from_base64(text: str, *, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InputInvalid(f"{where}: expected Base64: {error}") from error


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputInvalid(f"key name: expected neither spaces nor '+', found {name!r}")
    return name


def _key_hash(name: str, key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + key).digest()[:_KEY_HASH_BYTES]
