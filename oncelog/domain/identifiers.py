"""Names: which are accepted, how they are encoded into keys, and which are derived from others."""

import re
import unicodedata
import uuid
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

from oncelog.domain.limits import (
    COMMAND_ID_CHARACTERS_MAX,
    INSTANCE_ID_BYTES_MAX,
    INSTANCE_KEY_CHARACTERS_MAX,
    NAME_CHARACTERS_MAX,
)
from oncelog.errors import InputInvalid

COMMAND_ID = re.compile(rf"[A-Za-z0-9._:-]{{1,{COMMAND_ID_CHARACTERS_MAX}}}")
NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_-]{{0,{NAME_CHARACTERS_MAX - 1}}}")
PARSED_MAX = 50_000  # aggregate IDs that are remembered as parsed: each is read at several places
#: An instance ID that is its own encoded form, and needs no look at each of its characters.
_PLAIN_KEY = re.compile(rf"[A-Za-z0-9_~-][A-Za-z0-9_.~-]{{0,{INSTANCE_ID_BYTES_MAX - 1}}}")

#: Namespace of event IDs and derived instance IDs (UUIDv5, RFC 9562 section 5.5).
ONCELOG_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:oncelog")


#: The class whose instances are the classes: no class can be given this name, so that none can meet them.
CLASSES = "_class"


class AggregateId(NamedTuple):
    """One aggregate: database, class, and the instance ID in its encoded form. ``str`` gives the contract's form.

    A class is an aggregate, too: ``db_name/_class/class_id``.
    """

    db_name: str
    class_id: str
    instance_key: str

    def __str__(self) -> str:
        return f"{self.db_name}/{self.class_id}/{self.instance_key}"

    @property
    def instance_id(self) -> str:
        """The instance ID as its owner wrote it."""
        return unquote(self.instance_key)

    @property
    def class_name(self) -> "AggregateId":
        """The aggregate that the instance's class is."""
        return AggregateId(self.db_name, CLASSES, self.class_id)

    @classmethod
    def of(cls, db_name: str, class_id: str, instance_id: str) -> "AggregateId":
        """Build from unencoded parts; raises InputInvalid."""
        if class_id == CLASSES:
            return cls.of_class(db_name, instance_id)
        return cls(check_name(db_name, "db_name"), check_name(class_id, "class_id"), encode_instance_id(instance_id))

    @classmethod
    def of_class(cls, db_name: str, class_id: str) -> "AggregateId":
        """Return the aggregate that a class itself is; raises InputInvalid."""
        return cls(check_name(db_name, "db_name"), CLASSES, check_name(class_id, "class_id"))

    @classmethod
    @lru_cache(maxsize=PARSED_MAX)
    def parse(cls, text: str) -> "AggregateId":
        """Read ``db_name/class_id/encoded-instance-id``; raises InputInvalid."""
        parts = text.split("/")
        if len(parts) == 3 and _PLAIN_KEY.fullmatch(parts[2]) and parts[1] != CLASSES:
            return cls(check_name(parts[0], "db_name"), check_name(parts[1], "class_id"), parts[2])
        if len(parts) != 3:
            raise InputInvalid(f"aggregate ID {text[:80]!r}: expected db_name/class_id/encoded-instance-id")
        try:
            instance_id = unquote(parts[2], errors="strict")
        except UnicodeDecodeError as error:
            raise InputInvalid(f"aggregate ID {text[:80]!r}: expected UTF-8 once percent-decoded: {error}") from error
        found = cls.of(parts[0], parts[1], instance_id)
        if str(found) != text:
            raise InputInvalid(f"aggregate ID {text[:80]!r}: expected the encoded form {str(found)!r}")
        return found


def aggregate_id_of(value: AggregateId | str) -> AggregateId:
    """Return the aggregate ID itself, or the one that a result's or an event's text names; raises InputInvalid."""
    return AggregateId.parse(value) if isinstance(value, str) else value


def check_command_id(value: str) -> str:
    """Return the command ID unchanged, or raise InputInvalid."""
    if not COMMAND_ID.fullmatch(value):
        raise InputInvalid(
            f"command_id: expected 1 to 128 characters of A-Z a-z 0-9 . _ : -, found {value[:140]!r}; "
            "a UUIDv7 is a good choice"
        )
    return value


def check_name(value: str, what: str) -> str:
    """Return a database or class name unchanged, or raise InputInvalid."""
    if not NAME.fullmatch(value):
        raise InputInvalid(f"{what}: expected a letter, then up to 62 of A-Z a-z 0-9 _ -, found {value[:80]!r}")
    return value


@lru_cache(maxsize=4096)
def encode_instance_id(value: str) -> str:
    """Return the percent-encoded form that stands in keys, or raise InputInvalid.

    Format characters (zero-width, directional) count as control characters: two names that look the same to every
    reader must not be two instances. Homoglyphs of different scripts are different names.
    """
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError as error:
        raise InputInvalid(f"instance_id: a lone surrogate at character {error.start}; send valid Unicode") from error
    if not 1 <= size_bytes <= INSTANCE_ID_BYTES_MAX:
        raise InputInvalid(f"instance_id: expected 1 to {INSTANCE_ID_BYTES_MAX} bytes of UTF-8, found {size_bytes}")
    if value != value.strip():
        raise InputInvalid(f"instance_id: blank or padded with blanks: {value!r}; strip it")
    if not unicodedata.is_normalized("NFC", value):
        raise InputInvalid(f"instance_id: not NFC-normalised: {value!r}; normalise it to NFC first")
    for position, character in enumerate(value):
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp"):
            name = unicodedata.name(character, f"U+{ord(character):04X}")
            raise InputInvalid(f"instance_id: control or invisible character {name} at {position}; remove it")
    encoded = quote(value, safe="").replace(".", "%2E") if value in (".", "..") else quote(value, safe="")
    if len(encoded) > INSTANCE_KEY_CHARACTERS_MAX:
        raise InputInvalid(
            f"instance_id: expected at most {INSTANCE_KEY_CHARACTERS_MAX} characters once percent-encoded, "
            f"found {len(encoded)}; use a shorter ID"
        )
    return encoded


def check_instance_id(value: str) -> str:
    """Return the ID of a new command's instance unchanged, or raise InputInvalid.

    Beyond the checks of ``encode_instance_id``, it has no invisible character: an ID of an earlier release may have
    one, and stays readable.
    """
    encode_instance_id(value)
    for position, character in enumerate(value):
        if not character.isascii() and any(ord(character) in ignorable for ignorable in _SHOWS_NOTHING):
            name = unicodedata.name(character, f"U+{ord(character):04X}")
            raise InputInvalid(f"instance_id: invisible character {name} at {position}; remove it")
    return value


#: Default_Ignorable_Code_Point of Unicode 15.1 (DerivedCoreProperties.txt), and the blank Braille pattern.
_SHOWS_NOTHING = (
    range(0x00AD, 0x00AE),
    range(0x034F, 0x0350),
    range(0x061C, 0x061D),
    range(0x115F, 0x1161),
    range(0x17B4, 0x17B6),
    range(0x180B, 0x1810),
    range(0x200B, 0x2010),
    range(0x202A, 0x202F),
    range(0x2060, 0x2070),
    range(0x2800, 0x2801),
    range(0x3164, 0x3165),
    range(0xFE00, 0xFE10),
    range(0xFEFF, 0xFF00),
    range(0xFFA0, 0xFFA1),
    range(0xFFF0, 0xFFF9),
    range(0x1BCA0, 0x1BCA4),
    range(0x1D173, 0x1D17B),
    range(0xE0000, 0xE1000),
)


def command_folder(command_id: str) -> str:
    """Return a command ID as it stands in keys: as it is, but where it would name a folder itself or its parent."""
    return encode_instance_id(command_id) if command_id in (".", "..") else command_id


def derive_event_id(command_id: str, index: int) -> str:
    """Return the event's ID: UUIDv5 of command ID and index within the command, the same on every attempt."""
    return str(uuid.uuid5(ONCELOG_NAMESPACE, f"{command_id}/{index}"))


def derive_reaction_command_id(reaction: str, event_id: str, index: int) -> str:
    """Return the ID of the command number ``index`` (from 0) that a reaction makes of an event, the same for ever."""
    return str(uuid.uuid5(ONCELOG_NAMESPACE, f"reaction/{reaction}/{event_id}/{index}"))


def derive_instance_id(command_id: str) -> str:
    """Return the instance ID of a CREATE that names none, the same on every attempt."""
    return str(uuid.uuid5(ONCELOG_NAMESPACE, f"instance/{command_id}"))
