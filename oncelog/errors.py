"""Every error Oncelog raises, each with one stable code.

::

    OncelogError
    ├── InputInvalid             the input cannot be accepted; nothing was written
    │   ├── SettingsInvalid      a setting or an address is missing or malformed
    │   ├── TokenInvalid         a consistency token was altered, or is of another installation or release
    │   ├── CursorExpired        a search's pages are kept no more
    │   └── ObjectRefused        a store can never take this one object; all others are taken
    ├── StoreUnavailable         a server gave no usable answer; the same call may succeed later
    │   ├── DecisionOverdue      deciding a command took too long; it is tried again, its aggregate waits
    │   └── ContainerUnusable    … from one index, topic, bucket or database, which an operator has to mend
    ├── AggregateBusy            enough commands of one aggregate are under way; the same call may succeed later
    ├── StoreUnsafe              a server lacks a guarantee we rely on (conditional PUT, version, rights)
    ├── LogDamaged               an event or record in S3 is missing, altered or out of chain
    ├── ArchiveDamaged           a file or manifest of the archive is missing or altered; the log has it all
    ├── RebuildSuperseded        readers see another index that followed while one was rebuilt; nothing is lost
    ├── SchemaUnsupported        an event is whole, but this release cannot read the version it is written in
    │   ├── EventFromFuture      its type or its MAJOR is newer than this release, or its aggregate is not installed
    │   ├── SchemaGap            its version is none that was ever stored, or a migration is missing
    │   └── AggregateDefect      the code of an aggregate of one's own failed on it, or on a command
    ├── HandlerFailed            the application's own reaction or read model failed on an event
    ├── NotYetVisible            a read could not see the presented consistency token within its deadline
    │   └── ProjectionParked     … nor will it: the aggregate's projection waits for a person, or was given up
    ├── CommandUnknown           no store and no workflow knows this command ID
    ├── CommandNotSent           one before it, about the same aggregate, got no definite answer
    └── CommandFailed            a command's workflow was terminated, or ended by a defect, without a result

The code is the class name. It is also the ``ApplicationError`` type in Temporal, the log field, the metric label and
the heading in ``docs/errors.md``. ``StoreUnavailable``, ``ContainerUnusable`` and ``AggregateBusy`` are the only ones
worth repeating unchanged. Each store's adapter maps every refusal of its server to ``StoreUnavailable``,
``ObjectRefused`` or ``ContainerUnusable``; docs/refusals.md has the table.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, ClassVar, Self

#: User and password of a URL, with any characters that an unencoded password may have; not our own example.
_CREDENTIALS = re.compile(r"(?<=://)(?!user:password@)(?:[^\s/]*@|[^\s@]*:[^\s@]*@)")

#: The same of an address without a scheme, which some settings take and others refuse with the value found.
_BARE_CREDENTIALS = re.compile(r"""(?:^|(?<=[\s'"=(,]))[^\s/'"@:,=(]+:(?!//)[^\s@]+@(?=[\w\[])""")


def redacted(text: str) -> str:
    """Return the text without the user names and passwords of URLs in it."""
    while "@" in text and (shorter := _CREDENTIALS.sub("", text)) != text:
        text = shorter
    return _BARE_CREDENTIALS.sub("", text) if "@" in text else text


class OncelogError(Exception):
    """Base of all errors: a first line with the object, the problem and the remedy, and the same as ``details``."""

    #: Whether the very same call may succeed later without anyone changing anything.
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        message = redacted(message)  # errors end in logs, in workflow histories and on screens
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = {
            name: redacted(value) if isinstance(value, str) else value for name, value in details.items()
        }

    @property
    def code(self) -> str:
        return type(self).__name__


class InputInvalid(OncelogError):
    """Input cannot be accepted; nothing was written."""


class SettingsInvalid(InputInvalid):
    """A setting or an address is missing or malformed."""


class TokenInvalid(InputInvalid):
    """A consistency token was altered, or is of another installation or release."""


class CursorExpired(InputInvalid):
    """The pages of a search are kept no more: too long ago, or its index was replaced."""


class ObjectRefused(InputInvalid):
    """A store can never take this one object, and takes all others; its aggregate is parked, alone."""

    def __init__(self, store: str, name: str, reason: str, **details: Any) -> None:
        super().__init__(f"{store} can never take {name}: {reason}", store=store, name=name, reason=reason, **details)


class StoreUnavailable(OncelogError):
    """A server gave no usable answer, which says nothing about whether the call took effect."""

    retryable = True

    def __init__(self, store: str, doing: str, cause: object) -> None:
        super().__init__(
            f"{store} gave no usable answer to {doing}: {cause}; is it up? It is safe to try again",
            store=store,
            doing=doing,
            cause=str(cause),
        )

    @property
    def code(self) -> str:
        """The same for all of its kind: callers need not tell the subclasses of one store apart."""
        return "StoreUnavailable"

    @classmethod
    def of_all(cls, errors: Sequence["StoreUnavailable"]) -> Self:
        """Return one error that names every server which gave no answer."""
        refused = [error for error in errors if isinstance(error, ContainerUnusable)]
        stores = " and ".join(str(error.details["store"]) for error in errors)
        doings = dict.fromkeys(str(error.details["doing"]) for error in errors)
        found = cls(stores, ", ".join(doings), "; ".join(str(error.details["cause"]) for error in errors))
        if refused:  # an operator has to mend those, and reads how in their own words
            silent = [error for error in errors if error not in refused]
            found.message = "; ".join(error.message for error in [*refused, *silent])
            found.args = (found.message,)
        return found


class DecisionOverdue(StoreUnavailable):
    """Deciding a command took more CPU time than any input within the limits should; its aggregate waits, alone.

    A clock differs from machine to machine, and a rejection is for ever: so the command is tried again.
    """

    def __init__(self, aggregate_id: str, *, cpu_s: float) -> None:
        OncelogError.__init__(
            self,
            f"aggregate {aggregate_id}: deciding its command took more than {cpu_s:g} s of CPU time, beyond what the "
            "limits should allow; it is tried again and only its aggregate waits. Give the worker a faster machine, or "
            "terminate the command's workflow and submit a smaller or flatter one; report the definition as a defect",
            aggregate_id=aggregate_id,
            cpu_s=cpu_s,
        )

    @property
    def code(self) -> str:
        return "DecisionOverdue"


class UnusableReason(StrEnum):
    """Why a container cannot be used; a metric's label, so there are few."""

    CLOSED = "closed"
    WRITE_BLOCKED = "write_blocked"
    DISK_FULL = "disk_full"
    ALIAS_AMBIGUOUS = "alias_ambiguous"
    ALIAS_MISSING = "alias_missing"
    ALIAS_TAKEN = "alias_taken"
    SHARDS_EXHAUSTED = "shards_exhausted"
    SHARDS_UNASSIGNED = "shards_unassigned"
    MAPPING_REFUSED = "mapping_refused"
    CREATION_REFUSED = "creation_refused"
    MISSING = "missing"
    MISCONFIGURED = "misconfigured"
    FORBIDDEN = "forbidden"
    CREDENTIALS = "credentials"
    TLS = "tls"
    CLOCK_SKEWED = "clock_skewed"
    OUT_OF_MEMORY = "out_of_memory"
    READ_ONLY = "read_only"


class ContainerUnusable(StoreUnavailable):
    """One index, alias, topic, bucket or database cannot be used until an operator mends it.

    Only its aggregates wait, and they go on by themselves. ``shared``: every aggregate needs this container, so that
    waiting is all that can be done. ``container``: its kind and name, as in ``index instances.shop.product.000001``.
    ``cause``: the server's words. ``remedy``: an instruction.
    """

    def __init__(
        self,
        store: str,
        container: str,
        reason: UnusableReason,
        *,
        cause: object,
        remedy: str,
        doing: str = "",
        shared: bool = False,
    ) -> None:
        OncelogError.__init__(
            self,
            f"{store}: {container} cannot be used ({reason}){f' for {doing}' if doing else ''}: {cause}; {remedy}",
            store=store,
            container=container,
            reason=str(reason),
            cause=str(cause),
            remedy=remedy,
            doing=doing or f"using {container}",
        )
        self.store = store
        self.container = container
        self.reason = reason
        self.shared = shared

    @property
    def code(self) -> str:
        return "ContainerUnusable"


class AggregateBusy(OncelogError):
    """As many commands of one aggregate are under way in this process as may be; nothing was begun.

    ``retry_after_s``: seconds until a place is likely to be free, jittered.
    """

    retryable = True

    def __init__(self, aggregate_id: str, *, places: int, waiting: int, retry_after_s: float) -> None:
        super().__init__(
            f"aggregate {aggregate_id}: {places} commands are under way and {waiting} wait; this one is tried again in "
            f"about {retry_after_s:.1f} s, no action is needed",
            aggregate_id=aggregate_id,
            places=places,
            waiting=waiting,
            retry_after_s=retry_after_s,
        )
        self.retry_after_s = retry_after_s


class StoreUnsafe(OncelogError):
    """A server lacks a guarantee we rely on, so that running on it could lose or duplicate facts."""


class LogDamaged(OncelogError):
    """An event or a record in S3 is missing, altered or out of chain; it is never folded into a state."""


class ArchiveDamaged(OncelogError):
    """A file or a manifest of the archive is missing or altered; the log has all of it, and it is made again."""


class RebuildSuperseded(OncelogError):
    """Another index followed while one was rebuilt beside it: readers see that one, and nothing is lost."""


class SchemaUnsupported(OncelogError):
    """An event is whole, but this release cannot read the version it is written in; no damage, and it may wait."""


class EventFromFuture(SchemaUnsupported):
    """An event's type or its schema version's MAJOR is newer than this release; an upgrade reads it."""


class SchemaGap(SchemaUnsupported):
    """A schema version is none that was ever stored, or no migration leads on from it; a defect of a release."""


class AggregateDefect(SchemaUnsupported):
    """The code of an aggregate of one's own failed: only its aggregate waits, until a release mends it."""

    def __init__(self, aggregate: str, doing: str, problem: object) -> None:
        cause = f"{type(problem).__name__}: {problem}" if isinstance(problem, Exception) else str(problem)
        super().__init__(
            f"{aggregate}: {doing}: {cause[:1000]}; mend its code and deploy it, until then what this is about waits",
            aggregate=aggregate,
            doing=doing,
        )


class HandlerFailed(OncelogError):
    """The application's own function failed on an event: of a reaction, or of a read model."""

    def __init__(self, name: str, aggregate_id: str, sequence_number: int, cause: Exception) -> None:
        where, problem = f"{name}: aggregate {aggregate_id} event {sequence_number}", f"{type(cause).__name__}: {cause}"
        message = f"{where}: {problem[:1000]}; mend the function, then retry, or skip the event"
        super().__init__(message, aggregate_id=aggregate_id, sequence_number=sequence_number)


class NotYetVisible(OncelogError):
    """A read could not see the presented consistency token within its deadline."""


class ProjectionParked(NotYetVisible):
    """The aggregate's projection waits for a person, or was given up: its document is not, or not yet, to be had."""


class CommandUnknown(OncelogError):
    """No store and no workflow knows this command ID."""


class CommandNotSent(OncelogError):
    """A command was held back: one before it, about the same aggregate, got no definite answer."""


class CommandFailed(OncelogError):
    """A command's workflow was terminated, or ended by a defect, without a result."""
