"""Names of relationships that a hop can follow: a class's predicates, and the inverses that other classes declare."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from oncelog.domain.ontology.definition import ClassDefinition
from oncelog.errors import InputInvalid

LISTED_MAX = 12


@dataclass(frozen=True)
class DirectedRelationship:
    """One relationship in one direction.

    ``declared_by``: the class that declares it; its instances refer to those of ``target_class``.
    ``inward``: against its direction. ``inverse``: its declared name in that direction, if any.
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
    def reversed(self) -> "DirectedRelationship":
        """The same relationship in the other direction."""
        return replace(self, inward=not self.inward)

    @property
    def notation(self) -> str:
        """The hop that means this and nothing else."""
        return f"^{self.predicate}:{self.declared_by}" if self.inward else self.predicate

    @property
    def name(self) -> str:
        """The name as people write it."""
        return (self.inverse if self.inward else self.predicate) or self.notation

    def __str__(self) -> str:
        if self.inward and self.inverse:
            return f"{self.inverse} ({self.notation})"
        return self.notation if self.inward else f"{self.predicate} (to {self.target_class})"


class RelationshipNames:
    """All relationships of one database, by the newest definitions of its classes. ``class_schemas``: by class ID."""

    def __init__(self, db_name: str, class_schemas: Mapping[str, ClassDefinition]) -> None:
        self._db_name = db_name
        self._defined = frozenset(class_schemas)
        outward = [
            DirectedRelationship(class_id, predicate, one.target_class, one.inverse)
            for class_id, definition in sorted(class_schemas.items())
            for predicate, one in sorted(definition.relationships.items())
        ]
        self._all = (*outward, *(relationship.reversed for relationship in outward))

    def outward(self) -> list[DirectedRelationship]:
        """Return every relationship in its own direction."""
        return [relationship for relationship in self._all if not relationship.inward]

    def begun_at(self, class_ids: Collection[str]) -> list[DirectedRelationship]:
        """Return the relationships that begin at these classes: their predicates first, then the inverses."""
        return [relationship for relationship in self._all if relationship.begins_at in class_ids]

    def named(self, text: str) -> list[DirectedRelationship]:
        """Return the relationships of a name from each class that has it; raises InputInvalid as ``of_hop`` does.

        ``text``: a name, ``^predicate`` to walk that back, either with ``:Class`` where it shall lead to one only.
        """
        name, _, leads_to = text.removeprefix("^").partition(":")
        begins = {relationship.begins_at for relationship in self._all}
        return self.of_hop(name, begins, inward=text.startswith("^"), leads_to=leads_to or None)

    def of_hop(
        self, name: str, class_ids: Collection[str], *, inward: bool = False, leads_to: str | None = None
    ) -> list[DirectedRelationship]:
        """Return the relationships of a hop by this name from instances of these classes, at most one for each class.

        ``name`` is a predicate, or an inverse that another class declares towards the class at hand; a class's own
        predicate comes first, so that another class's definition does not change its meaning. ``inward``: it is a
        predicate to be walked back, from whichever class declares it. ``leads_to``: only to this class.

        Raises InputInvalid where none of the classes has such a relationship, or one has two of the same name.
        """
        meant = [
            relationship
            for class_id in sorted(class_ids)
            for relationship in (self._back(name, class_id) if inward else self._called(name, class_id, leads_to))
        ]
        found = [relationship for relationship in meant if leads_to in (None, relationship.leads_to)]
        if not found:
            raise self._unknown(name, class_ids, inward=inward, leads_to=leads_to, meant=meant)
        return found

    def _back(self, predicate: str, class_id: str) -> list[DirectedRelationship]:
        return [
            relationship
            for relationship in self.begun_at([class_id])
            if relationship.inward and relationship.predicate == predicate
        ]

    def _called(self, name: str, class_id: str, leads_to: str | None) -> list[DirectedRelationship]:
        called = [
            relationship
            for relationship in self.begun_at([class_id])
            if name == (relationship.inverse if relationship.inward else relationship.predicate)
        ]
        fitting = [relationship for relationship in called if leads_to in (None, relationship.leads_to)]
        own = [relationship for relationship in fitting if not relationship.inward]
        if not own and len(fitting) > 1:
            notations = [relationship.notation for relationship in fitting]
            raise InputInvalid(
                f"hop {name!r} from {class_id}: expected the name of one relationship, found {len(fitting)} of that "
                f"name: {_listed(notations)}; write the one that you mean",
                hop=name,
                found=notations,
            )
        return own or fitting or called

    def _unknown(
        self,
        name: str,
        class_ids: Collection[str],
        *,
        inward: bool,
        leads_to: str | None,
        meant: list[DirectedRelationship],
    ) -> InputInvalid:
        hop = f"{'^' * inward}{name}" + (f":{leads_to}" if leads_to else "")
        where = f"hop {hop!r} from {' or '.join(sorted(class_ids))}"
        relationships = self.begun_at(class_ids)
        if meant:
            targets = _listed(sorted({relationship.leads_to for relationship in meant}))
            return InputInvalid(f"{where}: expected a class that it leads to ({targets}), found {leads_to}", hop=hop)
        if not relationships:
            defined = _listed(sorted(self._defined)) or "none"
            return InputInvalid(
                f"{where}: nothing can be walked from there, no definition in {self._db_name} has a relationship from "
                f"or to it; classes defined there: {defined}",
                hop=hop,
            )
        known = _listed(map(str, relationships))
        return InputInvalid(
            f"{where}: expected one of {known}, found no such name; name one of these, or define it in a class of "
            f"{self._db_name}",
            hop=hop,
            expected=[relationship.name for relationship in relationships],
        )


def _listed(texts: Iterable[str]) -> str:
    shown = list(texts)
    more = f" and {len(shown) - LISTED_MAX} more" if len(shown) > LISTED_MAX else ""
    return ", ".join(shown[:LISTED_MAX]) + more
