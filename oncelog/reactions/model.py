"""A reaction as the projector drives it: a read model of events that writes by starting commands."""

from collections.abc import Awaitable, Callable, Sequence

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.commands import Command
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import OncelogError
from oncelog.ports import Changes, Ports
from oncelog.reactions.reaction import Reaction
from oncelog.read_models.changes import ChangedEvents

#: Starts a command, or finds that it was started before. Raises StoreUnavailable.
StartCommand = Callable[[Command], Awaitable[None]]

AGGREGATES_AT_ONCE_MAX = 64


def reaction_model_name(reaction: str) -> str:
    """Return the name of a reaction in dead letters, consumer groups and metrics."""
    return f"reaction-{reaction}"


class ReactionModel:
    """The ``EventReadModel`` of a reaction.

    It remembers nothing: a command that was started before is found by its ID, in Temporal or in the log.
    """

    def __init__(self, reaction: Reaction, ports: Ports, *, start: StartCommand) -> None:
        self.name = reaction_model_name(reaction.name)
        self._reaction = reaction
        self._start = start
        self._events = ChangedEvents(
            self.name, log=ports.event_log, snapshots=ports.snapshots, dead_letters=ports.dead_letters
        )

    async def project_events(self, changes: Sequence[Changes]) -> Sequence[Exception | None]:
        """Start the commands of each aggregate's events, in order; several aggregates at a time."""
        return await bounded_gather(self._react, changes, at_once=AGGREGATES_AT_ONCE_MAX)

    async def projected_versions(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return 0 for each: its commands alone say how far a reaction has come."""
        return [0] * len(aggregate_ids)

    async def _react(self, changes: Changes) -> Exception | None:
        if not self._reaction.scope.covers(AggregateId.parse(changes.aggregate_id)):
            return None
        try:
            async for event in self._events.events(changes, changes.first):
                for command in await self._commands_of(event):
                    await self._start(command)
        except OncelogError as error:
            return error
        return None

    async def _commands_of(self, event: Event) -> list[Command]:
        """Return the event's commands, none of one that an operator skipped; raises HandlerFailed."""
        try:
            return list(self._reaction.commands_of(event))
        except Exception as error:  # noqa: BLE001 - the application's own: raised unless an operator skipped the event
            await self._events.check_skipped(event, error)
            return []
