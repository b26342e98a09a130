"""An ``ElasticsearchReadModel`` as the projector drives it."""

from collections.abc import Sequence
from typing import Any, Self

from elasticsearch import ApiError, BadRequestError, NotFoundError, TransportError

from oncelog.domain.canonical import normalised, sha256_hex
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.stored_names import VIEWS_ALIAS
from oncelog.elasticsearch.read_model import RESERVED, ElasticsearchReadModel
from oncelog.errors import HandlerFailed, InputInvalid, StoreUnavailable
from oncelog.ports import ProjectionStatus
from oncelog.read_models.document import document_of
from oncelog.settings import Settings
from oncelog.stores.elasticsearch.server import FIRST_INDEX, INDEX_TIMEOUT_S, ElasticsearchServer
from oncelog.stores.elasticsearch.versioned import VersionedWrite

ID_BYTES_MAX = 512  # Elasticsearch's own limit


class ElasticsearchPositions:
    """A read model in Elasticsearch as a program reads it: it says how far each aggregate is projected.

    An asynchronous context manager, which closes its connections. ``settings``: the environment's by default.
    """

    def __init__(self, definition: ElasticsearchReadModel, settings: Settings | None = None) -> None:
        settings = settings or Settings.from_environment()
        self.name = definition.name
        self.alias = settings.named(f"{VIEWS_ALIAS}.{definition.name}").lower()
        self._definition = definition
        self._server = ElasticsearchServer(settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._server.close()

    def covers(self, aggregate_id: AggregateId) -> bool:
        """Return whether the read model has to do with the aggregate."""
        return self._definition.scope.covers(aggregate_id)

    async def projected_versions(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the version of each one's document, tombstones included, 0 where there is none.

        Raises StoreUnavailable.
        """
        found = await self._server.read([(self.alias, _id_of(str(each))) for each in aggregate_ids])
        return [document.version if document else 0 for document in found]


class ElasticsearchModel(ElasticsearchPositions):
    """The ``ReadModel``: the document of the newest version stays, in any order of arrival."""

    async def prepare(self) -> None:
        """Make the index that is missing.

        Raises InputInvalid if one is there that was made with other properties, StoreUnavailable.
        """
        if (failure := await self._create_index(self.alias)) is not None:
            raise failure
        client = self._server.client.options(request_timeout=INDEX_TIMEOUT_S)
        try:
            answer = await client.indices.get_mapping(index=self.alias)
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"looking at {self.alias}", error) from error
        for index_name, index in answer.items():
            made_with = index["mappings"].get("_meta", {}).get("properties_digest")
            if made_with != self._definition.properties_digest:
                raise InputInvalid(
                    f"read model {self.name}: index {index_name} was made with other properties; give the read model "
                    "another name, let it catch up, and then delete the old index"
                )

    async def project_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        """Write each state's document unless a newer one is there; return per state None, or why it is not written."""
        outcomes: list[Exception | None] = [None] * len(states)
        writes: dict[int, VersionedWrite] = {}
        for place, state in enumerate(states):
            aggregate_id = AggregateId.parse(state.aggregate_id)
            if not self.covers(aggregate_id):
                continue
            try:
                writes[place] = self._write_of(aggregate_id, state)
            except HandlerFailed as error:
                outcomes[place] = error
        written = await self._server.write(list(writes.values()), self._create_index)
        for place, outcome in zip(writes, written, strict=True):
            outcomes[place] = outcome
        return outcomes

    async def projection_statuses(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[ProjectionStatus]:
        """Return the same as ``projected_versions``: no document is made under an earlier definition."""
        return [ProjectionStatus(number) for number in await self.projected_versions(aggregate_ids)]

    def _write_of(self, aggregate_id: AggregateId, state: Instance) -> VersionedWrite:
        try:
            body = self._body_of(state)
        except Exception as error:
            raise HandlerFailed(self.name, state.aggregate_id, state.sequence_number, error) from error
        return VersionedWrite(
            alias=self.alias,
            id=_id_of(state.aggregate_id),
            version=state.sequence_number,
            body=body,
            kind=f"document of {self.name}",
            aggregate_id=aggregate_id,
        )

    def _body_of(self, state: Instance) -> dict[str, Any]:
        found = self._definition.document(document_of(state))
        fields = {} if found is None else normalised(dict(found))
        if taken := sorted(fields.keys() & RESERVED.keys()):
            raise InputInvalid(f"expected fields of other names than Oncelog's, found {taken}")
        own = {"aggregate_id": state.aggregate_id, "sequence_number": state.sequence_number, "deleted": found is None}
        return {**fields, **own}

    async def _create_index(self, alias: str) -> StoreUnavailable | None:
        """Create the index behind the alias, unless it is there; return why that did not succeed, or None."""
        client = self._server.client.options(request_timeout=INDEX_TIMEOUT_S)
        mappings = {
            "dynamic": False,
            "properties": self._definition.properties,
            "_meta": {"properties_digest": self._definition.properties_digest},
        }
        try:
            await client.indices.get_alias(name=alias)
        except NotFoundError:
            pass
        except (ApiError, TransportError) as error:
            return self._server.unavailable(f"looking for {alias}", error)
        else:
            return None
        try:
            await client.indices.create(
                index=alias + FIRST_INDEX,
                aliases={alias: {"is_write_index": True}},
                mappings=mappings,
                settings=self._server.index_settings,
            )
        except BadRequestError as error:
            if error.error != "resource_already_exists_exception":  # another projector was faster
                return self._server.unavailable(f"creating {alias}{FIRST_INDEX}", error, creating=True)
        except (ApiError, TransportError) as error:
            return self._server.unavailable(f"creating {alias}{FIRST_INDEX}", error, creating=True)
        return None


def _id_of(aggregate_id: str) -> str:
    """Return the ``_id`` of an aggregate's document: its ID, or the hash of one that is too long."""
    return aggregate_id if len(aggregate_id) <= ID_BYTES_MAX else sha256_hex(aggregate_id.encode())
