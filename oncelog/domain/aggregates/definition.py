"""The interface of an aggregate of one's own: its models, and the functions that decide and evolve.

One command makes exactly one event: the slot that holds it is the only commit point, so a command is applied as a whole
or not at all, whichever process dies (docs/protocol.md, R1). A fact of several parts is one event with several fields.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import AfterValidator, ConfigDict, ValidationError

from oncelog.domain.canonical import normalised
from oncelog.domain.frozen_model import Value
from oncelog.domain.identifiers import NAME, AggregateId, check_instance_id
from oncelog.domain.schema_versions import Fields, SchemaVersions, Step
from oncelog.errors import AggregateDefect, InputInvalid


def _instance_id(value: str) -> str:
    try:
        return check_instance_id(value)
    except InputInvalid as error:
        raise ValueError(error.message) from error


#: A field of a command that names an instance, of whichever class.
InstanceId = Annotated[str, AfterValidator(_instance_id)]

#: A type's name, as it is stored in commands and events.
TYPE_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
_CODE = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class DomainModel(Value):
    """A frozen model with a stored name: its class's in capitals (``PlaceOrder``: ``PLACE_ORDER``), unless it says so
    itself by ``type_name``.
    """

    type_name: ClassVar[str]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "type_name" not in cls.__dict__:
            cls.type_name = _WORD_START.sub("_", cls.__name__).upper()


class DomainCommand(DomainModel):
    """A request to change one aggregate. Its fields are the ``payload`` of the command."""


class DomainEvent(DomainModel):
    """A fact about one aggregate. Its fields are the ``data`` of the event.

    ``first_version``: the semantic version in which it was stored first. ``migrations``: each further version, with the
    function from the data of the version before to its own; a field that is added needs one as well. ``deletes``: after
    this event the aggregate does not exist; ``evolve`` does not see it, and the next command begins with ``initial``.
    """

    model_config = ConfigDict(extra="ignore")  # fields of a newer MINOR are kept in the log, and not looked at

    first_version: ClassVar[str] = "1.0.0"
    migrations: ClassVar[Sequence[tuple[str, Step]]] = ()
    deletes: ClassVar[bool] = False

    @classmethod
    def versions(cls) -> SchemaVersions:
        """Return the versions ever stored, and the steps between them."""
        versions = SchemaVersions.starting(cls.type_name, cls.first_version)
        for version, step in cls.migrations:
            versions = versions.then(version, _on_data(step))
        return versions


def _on_data(step: Step) -> Step:
    """Return the step on an event's content that applies a step to its data."""
    return lambda fields: {**fields, "data": dict(step(fields["data"]))}


class DomainState(DomainModel):
    """The state of one aggregate: the fold of its events. Its JSON is the ``data`` of the instance's document."""


@dataclass(frozen=True)
class DecisionContext:
    """The facts about one decision that are no fields of the command. Time and identity come from here only.

    ``sequence_number``: of the aggregate's last event, 0 for none. ``occurred_at``: RFC 3339 UTC, fixed by the
    command's first record.
    """

    aggregate_id: str
    instance_id: str
    command_id: str
    sequence_number: int
    occurred_at: str
    actor: str | None = None


@dataclass(frozen=True)
class Refused:
    """The refusal of a command. ``code``: a name such as ``CreditExceeded``; ``details``: JSON."""

    code: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code):
            raise InputInvalid(f"refusal code {self.code[:80]!r}: expected a name such as CreditExceeded")


State = TypeVar("State", bound=DomainState)


@dataclass(frozen=True)
class Aggregate(Generic[State]):
    """An aggregate of one's own; its instances are those of the class ``name``, in any database.

    ``decide(state, command, context)`` returns an event or ``Refused``. ``evolve(state, event)`` returns the state
    after the event. ``document(state)`` returns the data of the document, ``relationships(state)`` the edges of the
    node: predicate to instances as ``Class/instance_id``. ``unique`` has, by the name of each unique constraint, a
    function from the state to the value that no other instance may hold at the same time: a text, number or boolean, or
    a sequence of them; None for none (docs/unique.md). ``dropped``: the names of those that new events are not decided
    under any more; their functions stay, for earlier events. All are pure: the same arguments give the same
    result, at any time, on any machine.
    ``state_version``: give it a new value with every change of ``state``, ``evolve`` or an event's ``deletes``, so
    that states kept outside the log are folded anew.

    Raises InputInvalid, SchemaGap for a definition that cannot work.
    """

    name: str
    state: type[State]
    initial: State
    commands: Sequence[type[DomainCommand]]
    events: Sequence[type[DomainEvent]]
    decide: Callable[[State, Any, DecisionContext], DomainEvent | Refused]
    evolve: Callable[[State, Any], State]
    document: Callable[[State], Mapping[str, Any]] | None = None
    relationships: Callable[[State], Mapping[str, Sequence[str]]] | None = None
    unique: Mapping[str, Callable[[State], Any]] = field(default_factory=dict)
    dropped: Collection[str] = ()
    state_version: str = "1.0.0"

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InputInvalid(f"aggregate {self.name[:80]!r}: expected the name of a class, such as Order")
        if not isinstance(self.initial, self.state):
            raise InputInvalid(f"{self}: expected 'initial' to be a {self.state.__name__}, found {self.initial!r}")
        for kind in (self.commands, self.events):
            names = [model.type_name for model in kind]
            if not names or len(set(names)) < len(names):
                raise InputInvalid(f"{self}: expected commands and events, each with its own name, found {names}")
            if malformed := [name for name in names if not TYPE_NAME.fullmatch(name)]:
                raise InputInvalid(f"{self}: expected type names such as PLACE_ORDER, found {malformed}")
        if malformed := [name for name in self.unique if not NAME.fullmatch(name)]:
            raise InputInvalid(f"{self}: expected names of unique constraints such as email, found {malformed}")
        if unknown := sorted(set(self.dropped) - set(self.unique)):
            raise InputInvalid(f"{self}: expected 'dropped' to name constraints of 'unique', found {unknown}")
        for versions in self.versions.values():
            versions.check()

    def __str__(self) -> str:
        return f"aggregate {self.name} of package {self.package}"

    @property
    def package(self) -> str:
        """The package that its code is in."""
        return self.state.__module__.partition(".")[0]

    @property
    def state_mark(self) -> str:
        """The name and version of the states that this code folds."""
        return f"{self.name}/{self.state_version}"

    @cached_property
    def versions(self) -> Mapping[str, SchemaVersions]:
        """The versions of each event type."""
        return {model.type_name: model.versions() for model in self.events}

    def read_command(self, command_type: str, payload: Fields) -> DomainCommand:
        """Return the payload as its model; raises pydantic's ValidationError."""
        return next(model for model in self.commands if model.type_name == command_type).model_validate(payload)

    def read_event(self, event_type: str, data: Fields) -> DomainEvent:
        """Return data of the newest version as its model; raises AggregateDefect."""
        model = next(model for model in self.events if model.type_name == event_type)
        try:
            return model.model_validate(data)
        except ValidationError as error:
            raise AggregateDefect(str(self), f"its event {event_type} is not readable", error) from error

    def read_state(self, data: Fields | None) -> State:
        """Return a state from its JSON, the initial one for None; raises AggregateDefect."""
        try:
            return self.initial if data is None else self.state.model_validate(data)
        except ValidationError as error:
            raise AggregateDefect(str(self), "its state does not read back from its own JSON", error) from error

    def decided(self, state: State, command: DomainCommand, context: DecisionContext) -> DomainEvent | Refused:
        """Return the decision of the aggregate's own code; raises AggregateDefect."""
        doing = f"decide on {command.type_name}"
        try:
            decision = self.decide(state, command, context)
        except Exception as error:
            raise AggregateDefect(str(self), doing, error) from error
        if not isinstance(decision, (Refused, *self.events)):
            problem = f"expected one of its events or Refused, found {type(decision).__name__}"
            raise AggregateDefect(str(self), doing, problem)
        return decision

    def after(self, data: Fields | None, event_type: str, event_data: Fields) -> dict[str, Any] | None:
        """Return the JSON of the state after an event in its newest version, None after one that deletes.

        ``data``: None for an aggregate that does not exist. Raises AggregateDefect.
        """
        event = self.read_event(event_type, event_data)
        if event.deletes:
            return None
        try:
            state = self.evolve(self.read_state(data), event)
        except AggregateDefect:
            raise
        except Exception as error:
            raise AggregateDefect(str(self), f"evolve by {event_type}", error) from error
        if not isinstance(state, self.state):
            problem = f"expected a {self.state.__name__}, found {type(state).__name__}"
            raise AggregateDefect(str(self), f"evolve by {event_type}", problem)
        found = self._json(state.model_dump(mode="json"), f"the state after {event_type}")
        self.document_data(found)  # an event whose state cannot be projected is not applied either
        self.edges(found, self.name)
        self.unique_parts(found)
        return found

    def document_data(self, data: Fields) -> dict[str, Any]:
        """Return the data of the document of a state, which is given as JSON; raises AggregateDefect."""
        if self.document is None:
            return dict(data)
        try:
            document = self.document(self.read_state(data))
        except AggregateDefect:
            raise
        except Exception as error:
            raise AggregateDefect(str(self), "document", error) from error
        return self._json(document, "the document")

    @property
    def constraints(self) -> tuple[str, ...]:
        """The names of the unique constraints that hold, in order: not those that were dropped."""
        return tuple(sorted(set(self.unique) - set(self.dropped)))

    def unique_parts(self, data: Fields) -> dict[str, list[Any]]:
        """Return the parts of a state's value under each unique constraint, by name; raises AggregateDefect.

        The parts are JSON scalars; None is among them where the state holds no value.
        """
        if not self.unique:
            return {}
        found: dict[str, list[Any]] = {}
        state = self.read_state(data)
        for name, value_of in self.unique.items():
            try:
                value = value_of(state)
            except Exception as error:
                raise AggregateDefect(str(self), f"unique {name}", error) from error
            parts = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
            if not parts or not all(part is None or isinstance(part, str | int | float) for part in parts):
                problem = f"expected a text, number or boolean, a sequence of them, or None, found {value!r:.80}"
                raise AggregateDefect(str(self), f"unique {name}", problem)
            found[name] = self._json({"parts": parts}, f"unique {name}")["parts"]
        return found

    def edges(self, data: Fields, db_name: str) -> dict[str, set[AggregateId]] | None:
        """Return the edges of a state's node, None where the class's definition says them; raises AggregateDefect."""
        if self.relationships is None:
            return None
        try:
            references = self.relationships(self.read_state(data))
            split = {name: [each.partition("/") for each in targets] for name, targets in references.items()}
            return {
                name: {AggregateId.of(db_name, class_id, instance_id) for class_id, _, instance_id in targets}
                for name, targets in split.items()
            }
        except AggregateDefect:
            raise
        except Exception as error:
            raise AggregateDefect(str(self), "relationships", error) from error

    def _json(self, value: Any, doing: str) -> dict[str, Any]:
        """Return JSON as it reads back from the log."""
        try:
            found: dict[str, Any] = normalised(dict(value), where=doing)
        except (InputInvalid, TypeError, ValueError) as error:
            raise AggregateDefect(str(self), doing, error) from error
        return found
