"""The entries of unique values as they were read, under the places that records name."""

from oncelog.domain.unique.entry import UniqueEntry, read_entry
from oncelog.errors import LogDamaged, OncelogError


class StoredEntries:
    """The objects under the keys of entries that were read, or looked for; nothing is known of others."""

    def __init__(self) -> None:
        self._found: dict[str, UniqueEntry | str | None] = {}

    def add(self, key: str, body: bytes | None, *, damage: str = "") -> None:
        """Take an object. ``body`` None: it could not be read for the reason in ``damage``."""
        self._found[key] = damage or "nothing that can be read" if body is None else read_own(key, body)

    def add_entry(self, entry: UniqueEntry) -> None:
        """Take an entry that was read before."""
        self._found[entry.key] = entry

    def add_free(self, key: str) -> None:
        """Note that nothing lies under a key."""
        self._found[key] = None

    def is_known(self, key: str) -> bool:
        """Return whether the key was read, or looked for."""
        return key in self._found

    def damage_under(self, key: str) -> str:
        """Return why the object under a key is no entry of that key, empty where it is one or is not there."""
        found = self._found.get(key)
        return found if isinstance(found, str) else ""

    def checksum_under(self, key: str) -> str | None:
        """Return the checksum of the entry under a key; None where there is none."""
        found = self._found.get(key)
        return found.checksum if isinstance(found, UniqueEntry) else None

    def is_own(self, entry: UniqueEntry) -> bool | None:
        """Return whether the place of an entry holds that very entry; None if it is free or damaged."""
        found = self._found.get(entry.key)
        return found == entry if isinstance(found, UniqueEntry) else None


def read_own(key: str, body: bytes) -> UniqueEntry | str:
    """Return the entry if it is whole and the one that its key names, else a description of its defect."""
    try:
        entry = read_entry(body, where=key)
        if entry.key != key:
            return f"that of {entry.key}: an object was moved"
    except LogDamaged as error:
        return error.message
    except OncelogError as error:  # its aggregate is none
        return error.message
    return entry if entry.canonical == body else "other bytes of the same content than its canonical form"
