"""Runs a reaction: starts the commands that its function makes of events, each exactly once, until told to stop.

As many as you like of one reaction share its partitions.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial

import structlog
from prometheus_client import Counter

from oncelog.client.client import Oncelog
from oncelog.client.reactions import command_starter, dry_run
from oncelog.composition.own_code import load_object
from oncelog.composition.projector_program import log_and_stream, run_served
from oncelog.composition.read_models import assemble_projector, event_services_of
from oncelog.domain.aggregates import load_aggregates
from oncelog.domain.commands import Command
from oncelog.domain.event_schemas import check_event_schemas
from oncelog.errors import OncelogError, StoreUnavailable
from oncelog.process import leave
from oncelog.program import EXIT_FINE, EXIT_UNREACHABLE, EXIT_USAGE, crash_point, run_program
from oncelog.reactions.model import ReactionModel, StartCommand, reaction_model_name
from oncelog.reactions.reaction import Reaction
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.settings import Settings
from oncelog.stores.kafka.subscription import KafkaSubscription, projector_group
from oncelog.stores.opening import Stores

EXIT_FINDINGS = 1

log = structlog.get_logger(__name__)


async def run(path: str, settings: Settings, stopping: asyncio.Event) -> None:
    """Connect, make the topics that are missing, and react until ``stopping`` is set.

    Needs S3, Kafka and Temporal. Raises OncelogError before any work is taken; after that, it waits for servers.
    """
    check_event_schemas()
    load_aggregates()
    reaction = load_object(path, Reaction)
    async with log_and_stream(settings) as stores:
        client = Oncelog(stores.ports, settings)
        await client.temporal()
        metrics = ProjectorMetrics(reaction_model_name(reaction.name))
        model = ReactionModel(reaction, stores.ports, start=_counted(command_starter(client), reaction.name, metrics))
        reactor = assemble_projector(
            stores.ports,
            event_services_of(model, stores.ports, by="oncelog-reactor"),
            subscription=KafkaSubscription(settings, group=projector_group(model.name)),
            metrics=metrics,
            after_step=crash_point(settings),
        )
        starts = partial(log.info, "reactor_starts", reaction=reaction.name, pid=os.getpid())
        await run_served(reactor, settings, stopping, metrics, on_start=starts)
    log.info("reactor_stopped")


def _counted(start: StartCommand, reaction: str, metrics: ProjectorMetrics) -> StartCommand:
    started = Counter(
        "reaction_commands_started",
        "Commands that a reaction started, or found to be started before.",
        ("reaction",),
        registry=metrics.registry,
    ).labels(reaction)

    async def counted(command: Command) -> None:
        await start(command)
        started.inc()

    return counted


async def print_dry_run(path: str) -> int:
    """Print the commands that the reaction would start because of all events so far, as JSON lines; start none."""
    load_aggregates()
    reaction = load_object(path, Reaction)
    events = commands = failures = 0
    async with (
        await Stores.connect(Settings.from_environment()) as stores,
        aclosing(dry_run(reaction, stores.ports)) as outcomes,
    ):
        async for outcome in outcomes:
            events += 1
            commands += len(outcome.commands)
            for command in outcome.commands:
                sys.stdout.write(json.dumps(command.as_json) + "\n")
            if outcome.failure:
                failures += 1
                sys.stderr.write(f"error: {outcome.failure.message!r}\n")
    sys.stderr.write(
        f"{reaction.name}: {commands} commands of {events} events, {failures} failures; none was started\n"
    )
    return EXIT_FINDINGS if failures else EXIT_FINE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``oncelog-reactor``; returns its exit code, and ends the process where it is the program itself."""
    parser = argparse.ArgumentParser(
        prog="oncelog-reactor", description=__doc__, epilog="Settings come from the environment: docs/settings.md."
    )
    parser.add_argument("--reaction", required=True, metavar="MODULE:OBJECT", help="such as shop.reactions:shipments")
    parser.add_argument("--dry-run", action="store_true", help="print the commands of all events so far; start none")
    options = parser.parse_args(arguments)
    if options.dry_run:
        code = _dry_run_code(options.reaction)
    else:
        code = run_program("oncelog-reactor", str(__doc__), partial(run, options.reaction), [])
    return leave(code) if arguments is None else code


def _dry_run_code(path: str) -> int:
    try:
        return asyncio.run(print_dry_run(path))
    except OncelogError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return EXIT_UNREACHABLE if isinstance(error, StoreUnavailable) else EXIT_USAGE


if __name__ == "__main__":
    sys.exit(main())
