"""Checks of the invariants, wired to the servers of one process."""

from collections.abc import Collection
from dataclasses import dataclass

from oncelog.archive.log_reader import LogReader
from oncelog.checks.kept import CheckReports
from oncelog.checks.probe import Probe
from oncelog.checks.run import CheckRunner
from oncelog.checks.servers import ProjectAgain, Servers
from oncelog.composition.client import assemble_read_path
from oncelog.composition.replays import assemble_models
from oncelog.ports import Ports, RunningWorkflows
from oncelog.read_models.repair import ProjectionRepair
from oncelog.settings import Settings
from oncelog.stores.elasticsearch import ElasticsearchScan
from oncelog.stores.kafka.progress import KafkaProgress
from oncelog.stores.kafka.stream import KafkaStream
from oncelog.stores.opening import Stores
from oncelog.verification.reading import Projectors, Sources


@dataclass(frozen=True)
class InvariantChecks:
    """The parts of a worker that prove the invariants."""

    runner: CheckRunner
    reports: CheckReports
    probe: Probe


def sources_of(stores: Stores, settings: Settings) -> Sources:
    """Return where everything lies on real servers."""
    return Sources(
        bucket=stores.bucket,
        stream=KafkaStream(settings),
        scan=ElasticsearchScan(stores.elasticsearch, settings),
        documents=stores.documents,
        graph=stores.graph,
        large_objects=stores.ports.large_objects,
        statuses=stores.ports.statuses,
    )


def projectors_of(settings: Settings) -> KafkaProgress | None:
    """Return the read models that are projected by projectors, or None if each command projects its own."""
    return KafkaProgress(settings) if settings.projection == "stream" else None


def assemble_checks(
    sources: Sources,
    ports: Ports,
    running: RunningWorkflows,
    settings: Settings,
    *,
    projectors: Projectors | None = None,
    web_ui: str | None = None,
) -> InvariantChecks:
    """Build the parts; facts are spilled to S3. ``web_ui``: where Temporal's Web UI shows the namespace."""

    async def in_flight(command_ids: Collection[str]) -> Collection[str]:
        return {command_id for command_id in command_ids if await running.is_running(command_id)}

    servers = Servers(sources, ports.large_objects, in_flight, projectors, _repairs(ports))
    read_path = assemble_read_path(ports, settings)
    return InvariantChecks(
        runner=CheckRunner(servers),
        reports=CheckReports(ports.large_objects, web_ui=web_ui),
        probe=Probe(read_path.reader, ports.graph, ports.statuses, read_path.command_outcomes),
    )


def _repairs(ports: Ports) -> dict[str, ProjectAgain]:
    """Return the repairs that project aggregates again, by read model."""
    reader = LogReader(ports, slots_only=True)
    return {model.name: ProjectionRepair(model, reader).run for model in assemble_models(ports)}
