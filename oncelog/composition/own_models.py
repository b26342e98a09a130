"""Read models of the application's own, as services that programs run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from oncelog.composition.own_code import load_object
from oncelog.composition.read_models import ReadModelServices, event_services_of, services_of
from oncelog.elasticsearch.models import ElasticsearchModel
from oncelog.elasticsearch.read_model import ElasticsearchReadModel
from oncelog.errors import InputInvalid
from oncelog.ports import EventReadModel, Ports, ReadModel
from oncelog.reactions.model import ReactionModel, StartCommand
from oncelog.reactions.reaction import Reaction
from oncelog.settings import Settings


@asynccontextmanager
async def own_services(
    path: str, ports: Ports, settings: Settings, *, start: StartCommand | None = None, aggregates_max: int = 1, by: str
) -> AsyncIterator[ReadModelServices]:
    """Open the read model that ``module:object`` names, for the length of a block.

    ``start``: starts the commands of a reaction; without it, reactions are refused. ``by``, ``aggregates_max``: as for
    ``services_of``. Raises InputInvalid, StoreUnavailable.
    """
    found = load_object(path, object)
    if isinstance(found, Reaction):
        if start is None:
            raise InputInvalid(f"{path}: is a reaction; run it with oncelog-reactor --reaction {path}")
        yield event_services_of(ReactionModel(found, ports, start=start), ports, by=by)
        return
    if isinstance(found, ElasticsearchReadModel):
        async with ElasticsearchModel(found, settings) as documents:
            await documents.prepare()
            yield services_of(documents, ports, aggregates_max=aggregates_max, by=by)
        return
    try:
        from oncelog.sql.models import SqlEventModel, SqlStateModel
        from oncelog.sql.read_model import SqlReadModel
    except ImportError as error:
        raise InputInvalid(f"{path}: {error}; pip install 'oncelog[sql]'") from error
    if not isinstance(found, SqlReadModel):
        yield _of_own_store(path, found, ports, aggregates_max=aggregates_max, by=by)
        return
    model = SqlStateModel(found) if found.rows else SqlEventModel(found, ports)
    try:
        await model.prepare()
        if isinstance(model, SqlStateModel):
            yield services_of(model, ports, aggregates_max=aggregates_max, by=by)
        else:
            yield event_services_of(model, ports, by=by)
    finally:
        await model.close()


def _of_own_store(path: str, found: object, ports: Ports, *, aggregates_max: int, by: str) -> ReadModelServices:
    """Return the services of an object that implements one of the two interfaces; raises InputInvalid."""
    model: object = found
    if isinstance(model, EventReadModel):
        return event_services_of(model, ports, by=by)
    if isinstance(model, ReadModel):
        return services_of(model, ports, aggregates_max=aggregates_max, by=by)
    raise InputInvalid(
        f"{path}: expected a SqlReadModel, an ElasticsearchReadModel, or an object with the methods of "
        f"oncelog.ReadModel or oncelog.EventReadModel, found {type(found).__name__}"
    )
