"""Classes whose documents do not lie as their newest definition says, or as this release has them, because nobody is at
work on it any more.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.ports import Extent
from oncelog.read_models.reindex import Reindexer
from oncelog.reconcile.running_definitions import Definers
from oncelog.reconcile.scope import Terms, each, half_done
from oncelog.reconcile.summary import Tally


class ClassSweep:
    """Brings the documents of classes into another index, as the command would have that defined them.

    Beside one that still lives both fill the same index, and one of them moves the alias. Without the sweep a class
    would stand still whose old index was closed for the last documents when its command's workflow was terminated.
    """

    def __init__(self, *, reindexer: Reindexer, definers: Definers) -> None:
        self._reindexer = reindexer
        self._definers = definers

    async def page(self, classes: Sequence[Extent], terms: Terms) -> Tally:
        """Sweep these classes; raises StoreUnavailable if a server kept it from every one of them."""
        within = [extent for extent in classes if terms.covers(extent.aggregate_id)]
        return await each(within, partial(self._class, terms), place=_place)

    async def of_instances(self, extents: Sequence[Extent], terms: Terms) -> Tally:
        """Sweep the classes of these instances, of which those that are not defined have no events of their own.

        An index of an earlier release cannot answer filters. Raises as ``page`` does.
        """
        classes: dict[AggregateId, Extent] = {}
        for extent in extents:
            of = extent.aggregate_id
            if of.class_id != CLASSES:
                name = AggregateId.of_class(of.db_name, of.class_id)
                classes.setdefault(name, replace(extent, aggregate_id=name, head=0, missing=None))
        return await each(list(classes.values()), partial(self._of_instances, terms), place=_place)

    async def _of_instances(self, terms: Terms, extent: Extent) -> Tally:
        if await self._reindexer.answers_filters(extent.aggregate_id):
            return Tally()
        return await self._class(terms, extent)

    async def _class(self, terms: Terms, extent: Extent) -> Tally:
        found = await self._reindexer.left_behind(extent.aggregate_id, at_least=extent.head)
        if found is None:
            return Tally()
        if terms.are_recent(extent.written_at):
            return Tally(recent=1)
        if await self._definers.are_at_work(extent.aggregate_id):
            return Tally(running=1)
        tally = half_done(_place(extent), found)
        if not terms.repair:
            return tally
        await self._reindexer.run(extent.aggregate_id, at_least=extent.head)
        return tally + Tally(reindexed=1)


def _place(extent: Extent) -> str:
    return f"class {extent.aggregate_id.db_name}/{extent.aggregate_id.instance_key}"
