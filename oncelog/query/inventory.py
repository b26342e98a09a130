"""The databases and classes that there are, with their numbers of instances."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.identifiers import CLASSES
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.queries import Search
from oncelog.errors import InputInvalid, StoreUnavailable
from oncelog.ports import LogCatalogue, SearchPage
from oncelog.query.classes import DefinedClasses

READS_AT_A_TIME = 16


@dataclass(frozen=True)
class ClassEntry:
    """A class with a log. ``version``: of its newest definition, None if it has none.

    ``instances``: how many are not deleted, as a search finds them; None where it finds no answer, and ``problem``
    says why.
    """

    db_name: str
    class_id: str
    version: str | None
    retired: bool
    instances: int | None
    problem: str | None = None


class Inventory:
    """Lists databases and classes from the log, and counts instances in the documents."""

    def __init__(
        self,
        catalogue: LogCatalogue,
        classes: DefinedClasses,
        search: Callable[[Search], Awaitable[SearchPage]],
    ) -> None:
        self._catalogue = catalogue
        self._classes = classes
        self._search = search

    async def entries(self, db_name: str | None = None) -> list[ClassEntry]:
        """Return all classes, or those of a database, by name; raises StoreUnavailable, LogDamaged.

        Costs a listing of S3, one for each database, and a search for each class.
        """
        names = await self._catalogue.class_names(db_name=db_name)
        databases = sorted({name for name, _ in names})
        defined = dict(zip(databases, await bounded_gather(self._classes.newest, databases, at_once=4), strict=True))
        places = {(name, class_id) for name, class_id in names if class_id != CLASSES}
        places |= {(name, class_id) for name, found in defined.items() for class_id in found}

        async def entry(place: tuple[str, str]) -> ClassEntry:
            return await self._entry(*place, defined[place[0]].get(place[1]))

        return await bounded_gather(entry, sorted(places), at_once=READS_AT_A_TIME)

    async def _entry(self, db_name: str, class_id: str, class_schema: ClassSchema | None) -> ClassEntry:
        version = class_schema.reference.version if class_schema else None
        retired = class_schema.retired if class_schema else False
        count, problem = None, None
        try:
            count = (await self._search(Search(db_name, class_id, results_max=1))).total
        except (StoreUnavailable, InputInvalid) as error:
            problem = error.message
        return ClassEntry(db_name, class_id, version, retired, count, problem)
