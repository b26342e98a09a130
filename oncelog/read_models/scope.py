"""The scope of a subscription, a reaction or a read model: of which classes, and which types of events."""

from collections.abc import Iterable

from oncelog.domain.events import Event
from oncelog.domain.identifiers import CLASSES, AggregateId, check_name
from oncelog.errors import InputInvalid


class EventScope:
    """Events of some classes and types; without any named, those of all instances.

    ``classes``: ``"shop/Order"``, ``"shop/_class"`` for the classes of a database themselves. ``event_types``: such as
    ``"INSTANCE_CREATED"``. Raises InputInvalid for an invalid name.
    """

    def __init__(self, classes: Iterable[str] = (), event_types: Iterable[str] = ()) -> None:
        self._classes = frozenset(_parsed(each) for each in _several(classes, "classes"))
        self._event_types = frozenset(_several(event_types, "event_types"))

    def covers_class(self, db_name: str, class_id: str) -> bool:
        """Return whether events of the class belong to the scope."""
        return (db_name, class_id) in self._classes if self._classes else class_id != CLASSES

    def covers(self, aggregate_id: AggregateId) -> bool:
        """Return whether events of the aggregate belong to the scope."""
        return self.covers_class(aggregate_id.db_name, aggregate_id.class_id)

    def has_type(self, event: Event) -> bool:
        """Return whether the event, which is of a class of the scope, is of a type of the scope."""
        return not self._event_types or str(event.event_type) in self._event_types


def _several(names: Iterable[str], what: str) -> list[str]:
    if isinstance(names, str):
        raise InputInvalid(f"{what}: expected a list of names, found the text {names!r}; write [{names!r}]")
    return list(names)


def _parsed(name: str) -> tuple[str, str]:
    db_name, slash, class_id = name.partition("/")
    if not slash:
        raise InputInvalid(f"classes: expected names such as shop/Order, found {name[:80]!r}; add the database")
    return check_name(db_name, "db_name"), class_id if class_id == CLASSES else check_name(class_id, "class_id")
