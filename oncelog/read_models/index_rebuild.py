"""Documents of a class rebuilt beside those that readers see: another index is filled from the log, and then follows.

Readers see the old index, whole, until they see the new one, whole. Live writes go to the old one meanwhile, and from
there to the new one, in their order: first as they come, the last few while the old one is closed. Until the switch
the old index is as it was, so a crash leaves nothing to repair, and each step may be repeated.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial

import structlog
from pydantic import BaseModel, ConfigDict

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.state_digest import StateDigest
from oncelog.errors import InputInvalid, OncelogError, RebuildSuperseded, StoreUnavailable
from oncelog.offload import offloaded
from oncelog.ports import Document, DocumentIndex, Ports, StaleIndex
from oncelog.read_models.document import document_of, migrated
from oncelog.read_models.document_schema import find_index_schema
from oncelog.read_models.rebuild import Projected, StateProjection, damaged_streams
from oncelog.read_models.reindex import Reindexer
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.fold import FoldedBatch
from oncelog.replay.stream_reader import StreamReader

#: Documents with versions looked up in one request.
COMPARED_AT_ONCE = 1_000
FOLDED_AT_ONCE = 16

log = structlog.get_logger(__name__)


class RebuildTarget(BaseModel):
    """A rebuild of one class, such as ``shop/Product``, as it began.

    ``position``: of the old index; documents written there later are copied.
    """

    model_config = ConfigDict(frozen=True)

    class_name: str
    old: DocumentIndex
    new: DocumentIndex
    position: int

    @property
    def class_aggregate(self) -> AggregateId:
        """The aggregate that the class itself is."""
        db_name, _, class_id = self.class_name.partition("/")
        return AggregateId(db_name, CLASSES, class_id)


class SwitchedIndex(BaseModel):
    """A class and the index that its readers see now. ``kept``: the one before, to go back to.

    ``caught_up``: documents that live writes changed meanwhile; ``completed``: documents that a comparison with
    the folded states found behind.
    """

    model_config = ConfigDict(frozen=True)

    class_name: str
    index: str
    kept: str
    caught_up: int = 0
    completed: int = 0


class IndexRebuild:
    """Rebuilds the documents of classes, and goes back."""

    def __init__(
        self,
        ports: Ports,
        *,
        class_schemas: ClassSchemas,
        reindexer: Reindexer,
        reader: StreamReader,
        projection: StateProjection,
    ) -> None:
        self._documents = ports.documents
        self._indices = ports.indices
        self._index_contents = ports.index_contents
        self._kept_indices = ports.kept_indices
        self._class_schemas = class_schemas
        self._reindexer = reindexer
        self._reader = reader
        self._projection = projection

    async def begin(self, class_name: AggregateId, *, name: str) -> RebuildTarget:
        """Make the new index, named by the run, and note how far the old one is; raises StoreUnavailable.

        A class without an index gets an empty one first, which live writes go to.
        """
        index_schema = await find_index_schema(await self._class_schemas.newest_of(class_name))
        old = await self._indices.current_index(class_name) or await self._indices.create_index(
            class_name, index_schema, first=True
        )
        new = await self._indices.create_index(class_name, index_schema, first=False, beside=name)
        position = await self._index_contents.index_position(old)
        return RebuildTarget(class_name=_named(class_name), old=old, new=new, position=position)

    async def fill(self, target: RebuildTarget, batch: FoldedBatch) -> Projected:
        """Write states into the new index; an aggregate that cannot be written keeps the document that readers see.

        Raises StoreUnavailable, RebuildSuperseded.
        """
        class_schema = await self._class_schemas.of_index(target.class_aggregate, target.new.definition)
        documents = [await _migrated(state, class_schema) for state in batch.states]
        outcomes = await self._copy(target.new, documents)
        refused: dict[str, tuple[int, Exception]] = {
            state.aggregate_id: (state.sequence_number, error)
            for state, error in zip(batch.states, outcomes, strict=True)
            if error is not None
        }
        kept = [*refused, *(damage.aggregate_id for damage in damaged_streams(batch.damages))]
        if kept:
            await self._keep(target, [AggregateId.parse(name) for name in kept])
        return Projected(len(documents) - len(refused), await self._projection.park(batch, refused))

    async def finish(self, target: RebuildTarget, folded: AsyncIterator[StateDigest]) -> SwitchedIndex:
        """Compare the new index with the folded states, catch up, and let readers see it; may be repeated.

        ``folded``: the digests of the class's states, each at the head that its stream had when it was read. A later
        event is written to the old index, after ``target.position``, and comes from there. Raises StoreUnavailable,
        and RebuildSuperseded where readers see a third index meanwhile.
        """
        class_name = target.class_aggregate
        switched = SwitchedIndex(class_name=target.class_name, index=target.new.name, kept=target.old.name)
        if await self._is_seen(target):
            return switched
        completed = await self._complete(target, folded)
        while True:
            caught_up = await self._reindexer.follow(class_name, target.old, target.new, after=target.position)
            if await self._indices.switch_alias(class_name, target.old, target.new, may_shrink=True):
                log.info("documents_rebuilt", alias_of=target.class_name, index=target.new.name, kept=target.old.name)
                return switched.model_copy(update={"caught_up": caught_up, "completed": completed})
            if await self._is_seen(target):
                return switched

    async def _is_seen(self, target: RebuildTarget) -> bool:
        """Return whether readers see the new index already; raises RebuildSuperseded if they see a third one."""
        current = await self._indices.current_index(target.class_aggregate)
        if current is None or current.name not in (target.old.name, target.new.name):
            raise _superseded(target.new)
        return current.name == target.new.name

    async def roll_back(self, class_name: AggregateId, *, name: str) -> SwitchedIndex:
        """Let readers see the index again that they saw before the last switch, with all that was written since.

        The kept index stays as it is: a clone of it, named by ``name``, follows. Raises InputInvalid where none is
        kept, StoreUnavailable.
        """
        current, kept = await self._indices.current_index(class_name), await self._kept_indices.kept_index(class_name)
        if current is None or kept is None:
            raise InputInvalid(
                f"class {_named(class_name)}: expected an index that readers saw before, "
                "found none; it was dropped, or there was no switch; oncelog rebuild makes a new one from the log"
            )
        clone = await self._kept_indices.clone_index(kept, beside=name)
        caught_up = await self._reindexer.follow(class_name, current, clone, after=kept.position)
        pin = clone.definition != current.definition
        if not await self._indices.switch_alias(class_name, current, clone, may_shrink=True, pin=pin):
            raise _superseded(clone)
        log.info("documents_rolled_back", alias_of=str(class_name), index=clone.name, kept=current.name)
        return SwitchedIndex(class_name=_named(class_name), index=clone.name, kept=current.name, caught_up=caught_up)

    async def _complete(self, target: RebuildTarget, folded: AsyncIterator[StateDigest]) -> int:
        """Write the folded states that the new index lacks; returns their number."""
        completed, digests = 0, list[StateDigest]()
        async for digest in folded:
            digests.append(digest)
            if len(digests) == COMPARED_AT_ONCE:
                completed += await self._complete_some(target, digests)
                digests = []
        return completed + await self._complete_some(target, digests)

    async def _complete_some(self, target: RebuildTarget, digests: Sequence[StateDigest]) -> int:
        keys = [digest.aggregate_id.rpartition("/")[2] for digest in digests]
        versions = await self._index_contents.document_versions(target.new, keys)
        pairs = zip(digests, versions, strict=True)
        behind = [digest for digest, version in pairs if version < digest.sequence_number]
        if not behind:
            return 0
        found = await bounded_gather(self._state_of, behind, at_once=FOLDED_AT_ONCE)
        states = [state for state in found if state is not None]
        class_schema = await self._class_schemas.of_index(target.class_aggregate, target.new.definition)
        outcomes = await self._copy(target.new, [await _migrated(state, class_schema) for state in states])
        return sum(outcome is None for outcome in outcomes)

    async def _state_of(self, digest: StateDigest) -> Instance | None:
        """Return the state of a digest, None where its log is damaged by now: its document was kept."""
        try:
            return await self._reader.at(AggregateId.parse(digest.aggregate_id), digest.sequence_number)
        except StoreUnavailable:
            raise
        except OncelogError:
            return None

    async def _keep(self, target: RebuildTarget, aggregate_ids: Sequence[AggregateId]) -> None:
        found = await self._documents.read_documents(aggregate_ids)
        await self._copy(
            target.new,
            [replace(document, document_schema=target.new.definition) for document in found if document is not None],
        )

    async def _copy(self, index: DocumentIndex, documents: Sequence[Document]) -> Sequence[Exception | None]:
        """Write documents into an index; raises StoreUnavailable, RebuildSuperseded where the index is gone."""
        outcomes = await self._index_contents.copy_documents(index, documents) if documents else ()
        for outcome in outcomes:
            if isinstance(outcome, StaleIndex):
                raise _superseded(index) from outcome
            if isinstance(outcome, StoreUnavailable):
                raise outcome
        return outcomes


async def _migrated(state: Instance, class_schema: ClassSchema | None) -> Document:
    document = document_of(state)
    if class_schema is None:  # so that the document need not be weighed
        return document
    return await offloaded(partial(migrated, document, class_schema), of=document.body)


def _named(class_name: AggregateId) -> str:
    return f"{class_name.db_name}/{class_name.instance_key}"


def _superseded(index: DocumentIndex) -> RebuildSuperseded:
    return RebuildSuperseded(
        f"index {index.name}: expected it to follow, found that readers see another one that followed meanwhile; "
        "rebuild again if that is needed still",
        index=index.name,
    )
