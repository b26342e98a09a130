"""Distinguishes a class or graph that never had anything from one that lost its index."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from oncelog.domain.identifiers import AggregateId
from oncelog.errors import StoreUnavailable
from oncelog.ports import Ports

#: An event that is younger may not have been projected yet, so that its index need not be there.
PROJECTED_WITHIN = timedelta(seconds=60)


class Presence:
    """Compares a read model's missing indices and graphs with the log: at most one page of a listing for each class."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def check_documents(self, classes: Iterable[tuple[str, str]]) -> None:
        """Raise StoreUnavailable for a class (``db_name``, ``class_id``) without an index, though it has instances."""
        for db_name, class_id in sorted(set(classes)):
            class_name = AggregateId.of_class(db_name, class_id)
            if await self._ports.indices.current_index(class_name) is not None:
                continue
            example = await self._example(db_name, class_id)
            if example is not None:
                alias = self._ports.indices.alias_of(class_name)
                raise StoreUnavailable(
                    "Elasticsearch",
                    f"reading {db_name}/{class_id}",
                    f"no index is behind the alias {alias}, but the log has {example}; run oncelog check --repair "
                    f"--db {db_name} --class {class_id}",
                )

    async def check_graph(self, aggregate_ids: Iterable[AggregateId]) -> None:
        """Raise StoreUnavailable for a database without a graph, though its log has instances of these classes."""
        missing: dict[str, AggregateId] = {}
        for aggregate_id in aggregate_ids:
            missing.setdefault(aggregate_id.db_name, aggregate_id)
        for db_name, aggregate_id in missing.items():
            if await self._ports.graphs.graph_exists(db_name):
                continue
            example = await self._example(db_name, aggregate_id.class_id)
            if example is not None:
                raise StoreUnavailable(
                    "the graph",
                    f"reading {db_name}",
                    f"there is none behind {self._ports.graphs.place_of(db_name)}, but the log has {example}; run "
                    f"oncelog check --repair --db {db_name}",
                )

    async def _example(self, db_name: str, class_id: str) -> AggregateId | None:
        page = await self._ports.catalogue.listed_streams(db_name=db_name, class_id=class_id)
        if not page.items:
            return None
        due = datetime.now(UTC) - PROJECTED_WITHIN  # against S3's clock: a reader may have no right to ask it
        return next(
            (listed_stream.aggregate_id for listed_stream in page.items if listed_stream.written_at < due), None
        )
