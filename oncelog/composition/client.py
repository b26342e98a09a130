"""The parts of a client put together from ports: readers of log and read models, and the outcomes of commands."""

from dataclasses import dataclass

from oncelog.composition.reindexing import assemble_reindexer
from oncelog.ports import Ports
from oncelog.query.reader import Reader
from oncelog.read_models.reindex import Reindexer
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StateCache, StreamReader
from oncelog.settings import Settings
from oncelog.write.command_outcomes import CommandOutcomes


@dataclass(frozen=True)
class ReadPath:
    """One client's parts; they share the states that it has read."""

    stream_reader: StreamReader
    reader: Reader
    command_outcomes: CommandOutcomes
    reindexer: Reindexer


def assemble_read_path(ports: Ports, settings: Settings) -> ReadPath:
    """Build the parts of a client on these ports."""
    cache = StateCache(aggregates_max=settings.cached_aggregates_max)
    stream_reader = StreamReader(log=ports.event_log, snapshots=ports.snapshots, cache=cache)
    class_schemas = ClassSchemas(event_log=ports.event_log, reader=stream_reader, leases=ports.leases)
    return ReadPath(
        stream_reader=stream_reader,
        reader=Reader(ports, stream_reader),
        command_outcomes=CommandOutcomes(ports),
        reindexer=assemble_reindexer(ports, class_schemas, stream_reader),
    )
