"""The client's side of reactions: how their commands are started, and which ones a reaction would start."""

from collections.abc import AsyncGenerator
from typing import NamedTuple

from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from oncelog.archive.log_reader import LogReader
from oncelog.archive.stretch import EventOrigin
from oncelog.client.client import Oncelog
from oncelog.domain.commands import Command
from oncelog.domain.events import Event
from oncelog.errors import HandlerFailed, OncelogError
from oncelog.ports import Ports
from oncelog.reactions.model import StartCommand, reaction_model_name
from oncelog.reactions.reaction import Reaction


def command_starter(client: Oncelog) -> StartCommand:
    """Return how commands are started: once each, without waiting for their results."""

    async def start(command: Command) -> None:
        try:
            await client.start(command)
        except WorkflowAlreadyStartedError:
            return  # and has come to its end
        except RPCError as error:
            raise client.unavailable("starting a command", error) from error

    return start


class DryRun(NamedTuple):
    """An event of the log, and the commands that a reaction would start because of it, or the reason why it fails."""

    event: Event
    commands: list[Command]
    failure: OncelogError | None = None


async def dry_run(reaction: Reaction, ports: Ports) -> AsyncGenerator[DryRun, None]:
    """Yield every event of the log that matters to the reaction; nothing is started.

    Raises StoreUnavailable; the error of an event that cannot be read.
    """
    reader = LogReader(ports)
    for db_name, class_id in await reader.classes():
        if not reaction.scope.covers_class(db_name, class_id):
            continue
        for part in await reader.parts(db_name, class_id, count=1):
            async for batch in reader.batches(part):
                for event in batch.events:
                    outcome = _tried(reaction, event)
                    if outcome.commands or outcome.failure:
                        yield outcome
                for damage in batch.damages:
                    if damage.origin is EventOrigin.SLOTS:
                        raise damage.error


def _tried(reaction: Reaction, event: Event) -> DryRun:
    try:
        return DryRun(event, list(reaction.commands_of(event)))
    except Exception as error:  # noqa: BLE001 - the application's own: it is reported beside the event
        name = reaction_model_name(reaction.name)
        return DryRun(event, [], HandlerFailed(name, event.aggregate_id, event.sequence_number, error))
