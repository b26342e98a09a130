"""Every error Factline raises, each with one stable code.

::

    FactlineError
    ├── InputInvalid             what was given cannot be accepted; nothing was written
    │   ├── SettingsInvalid      a setting or an address is missing or malformed
    │   └── TokenInvalid         a consistency token was altered, or is of another installation or release
    ├── StoreUnavailable         a server gave no usable answer; the same call may succeed later
    ├── StoreUnsafe              a server lacks a guarantee we rely on (conditional PUT, version, rights)
    ├── LogDamaged               an event or record in S3 is missing, altered or out of chain
    ├── SchemaUnsupported        an event is whole, but this release cannot read the version it is written in
    │   ├── EventFromFuture      its type or its MAJOR is newer than this release
    │   └── SchemaGap            its version is none that was ever stored, or a migration is missing
    ├── NotYetVisible            a read could not see the presented consistency token within its deadline
    │   └── ProjectionParked     … nor will it: the aggregate's projection waits for a person, or was given up
    ├── CommandUnknown           no store and no workflow knows this command ID
    └── CommandFailed            a command's workflow was terminated, or ended by a defect, without a result

The code is the class name. It is also the ``ApplicationError`` type in Temporal, the log field, the metric label and
the heading in ``docs/errors.md``. ``StoreUnavailable`` is the only one worth repeating unchanged.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self


class FactlineError(Exception):
    """Base of all errors: a first line that says what, why and what to do, and the same as ``details``."""

    #: Whether the very same call may succeed later without anyone changing anything.
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = details

    @property
    def code(self) -> str:
        return type(self).__name__


class InputInvalid(FactlineError):
    """What was given cannot be accepted; nothing was written."""


class SettingsInvalid(InputInvalid):
    """A setting or an address is missing or malformed."""


class TokenInvalid(InputInvalid):
    """A consistency token was altered, or is of another installation or release."""


class StoreUnavailable(FactlineError):
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
        """The same for all of its kind: what a store tells apart for itself is nothing to others."""
        return "StoreUnavailable"

    @classmethod
    def of_all(cls, errors: Sequence["StoreUnavailable"]) -> Self:
        """Return one error that names every server which gave no answer."""
        stores = " and ".join(str(error.details["store"]) for error in errors)
        doings = dict.fromkeys(str(error.details["doing"]) for error in errors)
        return cls(stores, ", ".join(doings), "; ".join(str(error.details["cause"]) for error in errors))


class StoreUnsafe(FactlineError):
    """A server lacks a guarantee we rely on, so that running on it could lose or duplicate facts."""


class LogDamaged(FactlineError):
    """An event or a record in S3 is missing, altered or out of chain; it is never folded into a state."""


class SchemaUnsupported(FactlineError):
    """An event is whole, but this release cannot read the version it is written in; no damage, and it may wait."""


class EventFromFuture(SchemaUnsupported):
    """An event's type or its schema version's MAJOR is newer than this release; an upgrade reads it."""


class SchemaGap(SchemaUnsupported):
    """A schema version is none that was ever stored, or no migration leads on from it; a defect of a release."""


class NotYetVisible(FactlineError):
    """A read could not see the presented consistency token within its deadline."""


class ProjectionParked(NotYetVisible):
    """The aggregate's projection waits for a person, or was given up: its document is not, or not yet, to be had."""


class CommandUnknown(FactlineError):
    """No store and no workflow knows this command ID."""


class CommandFailed(FactlineError):
    """A command's workflow was terminated, or ended by a defect, without a result."""
