"""A reaction as its author writes it, and the commands that it makes of an event."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from pydantic import Field

from oncelog.domain.commands import Command, parse_command
from oncelog.domain.events import Event, rfc3339
from oncelog.domain.frozen_model import Value
from oncelog.domain.identifiers import check_name, derive_reaction_command_id
from oncelog.errors import InputInvalid
from oncelog.read_models.scope import EventScope


class NewCommand(Value):
    """A command as a reaction wants it: as ``Command``, without the members that follow from the event."""

    command_type: str
    db_name: str
    class_id: str
    instance_id: str | None = None
    payload: dict[str, Any] = Field(default_factory=dict)
    expected_version: int | None = None
    metadata: dict[str, Any] | None = None


class Reaction:
    """A function from an event to commands, with the name that makes its commands' IDs.

    ``react`` gets each event of the scope and returns commands, none for an event that does not matter. It has to be
    pure: the same event gives the same commands in the same order, for ever. ``name``: a letter, then up to 62 of
    A-Z a-z 0-9 _ -; another name is another reaction, which starts its commands anew. ``classes`` and ``event_types``:
    as for ``oncelog.subscribe``. ``since``: events that occurred before this aware time are left alone.

    Raises InputInvalid for a name or a time that is none.
    """

    def __init__(
        self,
        name: str,
        react: Callable[[Event], Iterable[NewCommand]],
        *,
        classes: Iterable[str] = (),
        event_types: Iterable[str] = (),
        since: datetime | None = None,
    ) -> None:
        check_name(name, "reaction: name")
        if since is not None and since.tzinfo is None:
            raise InputInvalid(f"reaction {name}: since: expected a time with its offset from UTC, found {since}")
        self.name = name
        self.scope = EventScope(classes, event_types)
        self._react = react
        self._since = rfc3339(since) if since is not None else ""

    def commands_of(self, event: Event) -> Iterator[Command]:
        """Yield the event's commands, with their IDs; raises InputInvalid, and the function's errors.

        Each command names its event as its cause, and has the event's correlation ID, or the ID of the event's command.
        """
        if not (self.scope.covers(event.aggregate) and self.scope.has_type(event)) or event.occurred_at < self._since:
            return
        for index, new in enumerate(self._react(event)):
            yield parse_command(
                new.model_dump(exclude_none=True)
                | {
                    "command_id": derive_reaction_command_id(self.name, event.event_id, index),
                    "actor": f"reaction {self.name}",
                    "correlation_id": event.correlation_id or event.command_id,
                    "causation_id": event.event_id,
                }
            )
