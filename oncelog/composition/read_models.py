"""Every read model by its name, with the services that keep it whole, for programs that have no command path."""

from dataclasses import dataclass
from typing import Any

from oncelog.domain.dead_letters import DeadLetter
from oncelog.ports import DeadLetters, EventReadModel, EventSubscription, Ports, ReadModel, last_numbers
from oncelog.read_models.dead_letter_service import DeadLetterService, newest_events, newest_state
from oncelog.read_models.document_schema import SchemaDocuments
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.graph_model import GraphModel
from oncelog.read_models.names import ReadModelName
from oncelog.read_models.parking import PROGRAM, Parking
from oncelog.read_models.projector.fold import EventProjection, Projection, StateProjection
from oncelog.read_models.projector.loop import BATCH_MESSAGES_MAX, Projector
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StateCache, StreamReader
from oncelog.replay.trace import AfterStep, nothing_after


@dataclass(frozen=True)
class ReadModelServices:
    """One read model, and the services that keep it whole."""

    read_model: ReadModel | EventReadModel
    projection: Projection[Any]
    parking: Parking
    dead_letters: DeadLetters
    dead_letter_service: DeadLetterService

    async def last_dead_letters(self) -> list[DeadLetter]:
        """Return the last dead letter of every aggregate that ever had one, in the order of their IDs."""
        return await last_dead_letters_of(self.read_model.name, self.dead_letters)


async def last_dead_letters_of(read_model: str, dead_letters: DeadLetters) -> list[DeadLetter]:
    """Return the last dead letter of every aggregate that ever had one in a read model, in the order of their IDs."""
    known = sorted(await last_numbers(dead_letters, read_model))
    found = [await dead_letters.latest_dead_letter(read_model, aggregate_id) for aggregate_id in known]
    return [dead_letter for dead_letter in found if dead_letter]


def read_model_of(name: str, ports: Ports) -> ReadModel:
    """Return a read model that needs no Redis; ``name`` is one of ``ReadModelName``."""
    cache = StateCache(aggregates_max=1)  # a class's log is read event by event
    reader = StreamReader(log=ports.event_log, snapshots=ports.snapshots, cache=cache)
    class_schemas = ClassSchemas(event_log=ports.event_log, reader=reader, leases=None)
    if ReadModelName(name) is ReadModelName.GRAPH:
        return GraphModel(ports.graph, class_schemas.newest)
    return DocumentsModel(SchemaDocuments(ports.documents, ports.indices, class_schemas))


def parking_of(read_model: ReadModel | EventReadModel, ports: Ports, *, by: str = PROGRAM) -> Parking:
    """Return the parking of a read model; ``by``: the program that parks."""
    return Parking(read_model=read_model.name, dead_letters=ports.dead_letters, failures=ports.failures, by=by)


def services_of(
    read_model: ReadModel, ports: Ports, *, aggregates_max: int = 1, by: str = PROGRAM
) -> ReadModelServices:
    """Build the services of a read model of states.

    ``by``: the program that parks; ``aggregates_max``: states that a projector remembers.
    """
    parking = parking_of(read_model, ports, by=by)
    log, snapshots = ports.event_log, ports.snapshots
    return ReadModelServices(
        read_model=read_model,
        projection=StateProjection(read_model, log=log, snapshots=snapshots, aggregates_max=aggregates_max),
        parking=parking,
        dead_letters=ports.dead_letters,
        dead_letter_service=DeadLetterService(
            log=log, project_newest=newest_state(log, snapshots, read_model), parking=parking
        ),
    )


def event_services_of(read_model: EventReadModel, ports: Ports, *, by: str = PROGRAM) -> ReadModelServices:
    """Build the services of a read model of events; ``by``: the program that parks."""
    parking = parking_of(read_model, ports, by=by)
    log = ports.event_log
    return ReadModelServices(
        read_model=read_model,
        projection=EventProjection(read_model, log),
        parking=parking,
        dead_letters=ports.dead_letters,
        dead_letter_service=DeadLetterService(log=log, project_newest=newest_events(log, read_model), parking=parking),
    )


def assemble_projector(
    ports: Ports,
    services: ReadModelServices,
    *,
    subscription: EventSubscription,
    metrics: ProjectorMetrics,
    after_step: AfterStep = nothing_after,
    batch_messages_max: int = BATCH_MESSAGES_MAX,
) -> Projector:
    """Build the projector that keeps the read model of these services up to date."""
    return Projector(
        subscription=subscription,
        projection=services.projection,
        parking=services.parking,
        dead_letter_service=services.dead_letter_service,
        failures=ports.failures,
        metrics=metrics,
        after_step=after_step,
        batch_messages_max=batch_messages_max,
    )
