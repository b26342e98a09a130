"""Relationship names that can be walked: along a class's predicates, and back by what other classes call the
way back.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from oncelog.domain.ontology.definition import ClassDefinition
from oncelog.errors import InputInvalid

LISTED_MAX = 12


@dataclass(frozen=True)
class Way:
    """One relationship in one direction.

    ``declared_by``: the class whose definition has it, whose instances refer to those of ``target_class``.
    ``inward``: against its direction. ``inverse``: what its definition calls that, if anything.
    """

    declared_by: str
    predicate: str
    target_class: str
    inverse: str | None = None
    inward: bool = False

    @property
    def begins_at(self) -> str:
        """The class that it is walked from."""
        return self.target_class if self.inward else self.declared_by

    @property
    def leads_to(self) -> str:
        """The class that it is walked to."""
        return self.declared_by if self.inward else self.target_class

    @property
    def reversed(self) -> "Way":
        """The same relationship in the other direction."""
        return replace(self, inward=not self.inward)

    @property
    def spelled(self) -> str:
        """A hop that means this and nothing else."""
        return f"^{self.predicate}:{self.declared_by}" if self.inward else self.predicate

    @property
    def name(self) -> str:
        """The name as people write it."""
        return (self.inverse if self.inward else self.predicate) or self.spelled

    def __str__(self) -> str:
        if self.inward and self.inverse:
            return f"{self.inverse} ({self.spelled})"
        return self.spelled if self.inward else f"{self.predicate} (to {self.target_class})"


class RelationshipNames:
    """All ways of one database, as the newest definitions of its classes say. ``class_schemas``: by class ID."""

    def __init__(self, db_name: str, class_schemas: Mapping[str, ClassDefinition]) -> None:
        self._db_name = db_name
        self._defined = frozenset(class_schemas)
        outward = [
            Way(class_id, predicate, one.target_class, one.inverse)
            for class_id, definition in sorted(class_schemas.items())
            for predicate, one in sorted(definition.relationships.items())
        ]
        self._all = (*outward, *(way.reversed for way in outward))

    def outward(self) -> list[Way]:
        """Return every relationship in its own direction."""
        return [way for way in self._all if not way.inward]

    def begun_at(self, class_ids: Collection[str]) -> list[Way]:
        """Return what can be walked from instances of these classes: their predicates first, then the ways back."""
        return [way for way in self._all if way.begins_at in class_ids]

    def spelled(self, text: str) -> list[Way]:
        """Return what a name means from whichever class has it; raises InputInvalid as ``of_hop`` does.

        ``text``: a name, ``^predicate`` to walk that back, either with ``:Class`` where it shall lead to one only.
        """
        name, _, leads_to = text.removeprefix("^").partition(":")
        begins = {way.begins_at for way in self._all}
        return self.of_hop(name, begins, inward=text.startswith("^"), leads_to=leads_to or None)

    def of_hop(
        self, name: str, class_ids: Collection[str], *, inward: bool = False, leads_to: str | None = None
    ) -> list[Way]:
        """Return what a hop of this name means from instances of these classes, at most one way for each of them.

        ``name`` is a predicate, or an inverse that another class declares towards the class at hand; a class's own
        predicate comes first, so that another class's definition does not change its meaning. ``inward``: it is a
        predicate to be walked back, from whichever class declares it. ``leads_to``: only to this class.

        Raises InputInvalid where none of the classes has such a way, or one has two that are called the same.
        """
        meant = [
            way
            for class_id in sorted(class_ids)
            for way in (self._back(name, class_id) if inward else self._called(name, class_id, leads_to))
        ]
        found = [way for way in meant if leads_to in (None, way.leads_to)]
        if not found:
            raise self._unknown(name, class_ids, inward=inward, leads_to=leads_to, meant=meant)
        return found

    def _back(self, predicate: str, class_id: str) -> list[Way]:
        return [way for way in self.begun_at([class_id]) if way.inward and way.predicate == predicate]

    def _called(self, name: str, class_id: str, leads_to: str | None) -> list[Way]:
        called = [way for way in self.begun_at([class_id]) if name == (way.inverse if way.inward else way.predicate)]
        fitting = [way for way in called if leads_to in (None, way.leads_to)]
        own = [way for way in fitting if not way.inward]
        if not own and len(fitting) > 1:
            spelled = _listed(way.spelled for way in fitting)
            raise InputInvalid(
                f"hop {name!r} from {class_id}: expected a name of one way, found {len(fitting)} that are called so: "
                f"{spelled}; write the one that you mean",
                hop=name,
                found=[way.spelled for way in fitting],
            )
        return own or fitting or called

    def _unknown(
        self, name: str, class_ids: Collection[str], *, inward: bool, leads_to: str | None, meant: list[Way]
    ) -> InputInvalid:
        hop = f"{'^' * inward}{name}" + (f":{leads_to}" if leads_to else "")
        where = f"hop {hop!r} from {' or '.join(sorted(class_ids))}"
        ways = self.begun_at(class_ids)
        if meant:
            targets = _listed(sorted({way.leads_to for way in meant}))
            return InputInvalid(f"{where}: expected a class that it leads to ({targets}), found {leads_to}", hop=hop)
        if not ways:
            defined = _listed(sorted(self._defined)) or "none"
            return InputInvalid(
                f"{where}: nothing can be walked from there, no definition in {self._db_name} has a relationship from "
                f"or to it; classes defined there: {defined}",
                hop=hop,
            )
        known = _listed(map(str, ways))
        return InputInvalid(
            f"{where}: expected one of {known}, found no such name; name one of these, or define it in a class of "
            f"{self._db_name}",
            hop=hop,
            expected=[way.name for way in ways],
        )


def _listed(texts: Iterable[str]) -> str:
    shown = list(texts)
    more = f" and {len(shown) - LISTED_MAX} more" if len(shown) > LISTED_MAX else ""
    return ", ".join(shown[:LISTED_MAX]) + more
