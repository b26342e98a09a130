"""Requests: the command model, and its hash."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo, model_validator

from oncelog.domain.aggregates.aggregate_registry import registry
from oncelog.domain.aggregates.definition import TYPE_NAME, Aggregate, DomainCommand
from oncelog.domain.canonical import canonical_bytes, normalised, sha256_hex, shortened
from oncelog.domain.frozen_model import STORED, Value, is_stored
from oncelog.domain.identifiers import (
    AggregateId,
    check_command_id,
    check_instance_id,
    check_name,
    derive_event_id,
    derive_instance_id,
)
from oncelog.domain.json_pointer import pointer_of
from oncelog.domain.limits import (
    FINDINGS_MAX,
    METADATA_BYTES_MAX,
    POINTER_CHARACTERS_MAX,
    SHORT_TEXT_CHARACTERS_MAX,
    TEXT_BYTES_MAX,
)
from oncelog.domain.type_names import BULK_PREFIX, CLASS_COMMANDS, CommandType
from oncelog.errors import InputInvalid

__all__ = [
    "CLASS_COMMANDS",
    "Command",
    "CommandIdText",
    "CommandType",
    "CommandTypeName",
    "InstanceIdText",
    "JsonObject",
    "Version",
    "check_fits",
    "command_to",
    "invalid",
    "parse_command",
]


def _as_value_error(value: str, check: Callable[[str], object]) -> str:
    """Return the value if the domain's check takes it; raises ValueError, as pydantic wants it."""
    try:
        check(value)
    except InputInvalid as error:
        raise ValueError(error.message) from error
    return value


def _input(check: Callable[[str], object]) -> AfterValidator:
    """Return the validator of a text that is held to a rule for input, and was held to it if it is read back."""
    return AfterValidator(lambda value, info: value if is_stored(info) else _as_value_error(value, check))


def _longest(characters_max: int) -> Callable[[str], object]:
    def check(value: str) -> None:
        if len(value) > characters_max:
            raise InputInvalid(f"expected at most {characters_max} characters, found {len(value)}")

    return check


def _normalised_object(
    value: dict[str, Any], info: ValidationInfo, *, bytes_max: int = TEXT_BYTES_MAX
) -> dict[str, Any]:
    if is_stored(info):
        return value
    try:
        found: dict[str, Any] = normalised(value, where="", bytes_max=bytes_max)
    except InputInvalid as error:
        raise ValueError(error.message) from error
    return found


def _command_type(value: Any, info: ValidationInfo) -> Any:
    """Return a built-in type as the enum's member, and the name of one's own as it is."""
    if not isinstance(value, str) or isinstance(value, CommandType):
        return value
    if value in CommandType.__members__:
        return CommandType(value)
    if value.startswith(BULK_PREFIX) or not TYPE_NAME.fullmatch(value):
        known = ", ".join([*CommandType, *registry().commands])
        bulk = "; a bulk command runs as BulkCommand, and takes no command types of one's own"
        raise ValueError(
            f"expected one of {known}, found {value[:80]!r}{bulk if value.startswith(BULK_PREFIX) else ''}"
        )
    if not is_stored(info):
        _as_value_error(value, registry().of_command)
    return value


#: A command's type: built in, or of an aggregate of one's own.
CommandTypeName = Annotated[CommandType | str, BeforeValidator(_command_type)]
CommandIdText = Annotated[str, _input(check_command_id)]
DbName = Annotated[str, _input(partial(check_name, what="db_name"))]
ClassId = Annotated[str, _input(partial(check_name, what="class_id"))]
InstanceIdText = Annotated[str, _input(check_instance_id)]
ShortText = Annotated[str, Field(min_length=1), _input(_longest(SHORT_TEXT_CHARACTERS_MAX))]
Version = Annotated[int, Field(strict=True, ge=0, le=2**53 - 1)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_normalised_object)]
Metadata = Annotated[dict[str, Any], AfterValidator(partial(_normalised_object, bytes_max=METADATA_BYTES_MAX))]


class Command(Value):
    """One request to change one instance, or one class.

    ``payload``: the whole data for CREATE_INSTANCE, a JSON Merge Patch (RFC 7396) for UPDATE_INSTANCE, the definition
    for DEFINE_CLASS, empty for DELETE_INSTANCE and RETIRE_CLASS. ``expected_version``: the sequence number the caller
    last saw, 0 for "must never have existed". A command of one's own has its model's fields as ``payload``, and its
    aggregate's name as ``class_id``.
    """

    command_id: CommandIdText
    command_type: CommandTypeName
    db_name: DbName
    class_id: ClassId
    instance_id: InstanceIdText | None = None
    payload: JsonObject = Field(default_factory=dict)
    expected_version: Version | None = None
    actor: ShortText | None = None
    correlation_id: ShortText | None = None
    causation_id: ShortText | None = None
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _fits_its_type(self, info: ValidationInfo) -> Self:
        if is_stored(info):
            return self
        check_fits(self.command_type, instance_id=self.instance_id, payload=self.payload)
        if not isinstance(self.command_type, CommandType):
            _check_class(self.command_type, self.class_id)
        check_texts(actor=self.actor, correlation_id=self.correlation_id, causation_id=self.causation_id)
        return self

    @cached_property
    def aggregate_id(self) -> AggregateId:
        """The aggregate this command is about; a CREATE without ``instance_id`` gets one from its command ID."""
        if self.command_type in CLASS_COMMANDS:
            return AggregateId.of_class(self.db_name, self.class_id)
        instance_id = self.instance_id if self.instance_id is not None else derive_instance_id(self.command_id)
        return AggregateId.of(self.db_name, self.class_id, instance_id)

    @cached_property
    def event_id(self) -> str:
        """The ID of the one event that this command may make."""
        return derive_event_id(self.command_id, 0)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical form of the command as sent; absent and null are the same."""
        return sha256_hex(canonical_bytes(self.as_json))

    @property
    def as_json(self) -> dict[str, Any]:
        """The command as it was sent, without absent fields; payload and metadata are shared, not copied."""
        fields = self.model_dump(mode="json", exclude_none=True, exclude={"payload", "metadata"})
        fields["payload"] = self.payload
        if self.metadata is not None:
            fields["metadata"] = self.metadata
        return fields


def _check_class(command_type: str, class_id: str) -> None:
    aggregate = registry().of_command(command_type)
    if class_id != aggregate.name:
        raise ValueError(f"class_id: expected {aggregate.name}, whose command {command_type} is, found {class_id}")


def check_fits(command_type: CommandType | str, *, instance_id: str | None, payload: dict[str, Any]) -> None:
    """Raise ValueError unless a request of that type may come with these."""
    if command_type in CLASS_COMMANDS:
        if instance_id is not None:
            raise ValueError(f"instance_id: expected none for {command_type}, which is about a class")
    elif instance_id is None and command_type is not CommandType.CREATE_INSTANCE:
        raise ValueError(f"instance_id: expected one for {command_type}, found none")
    if payload and command_type in (CommandType.DELETE_INSTANCE, CommandType.RETIRE_CLASS):
        raise ValueError(f"payload: expected none for {command_type}; leave it out")


def check_texts(**texts: str | None) -> None:
    """Raise ValueError, naming the field, for a text that canonical JSON cannot hold."""
    for name, text in texts.items():
        if text is not None:
            _as_value_error(text, partial(normalised, where=name))


def parse_command(value: Any, *, stored: bool = False) -> Command:
    """Validate any value as a command; ``stored``: it was accepted before, by the rules of its day.

    Raises InputInvalid; its ``details["errors"]`` lists every finding as ``{"at": JSON Pointer, "problem": text}``.
    """
    if isinstance(value, Command):
        return value
    if not isinstance(value, dict):
        raise InputInvalid(f"command: expected a JSON object, found {type(value).__name__}", errors=[])
    try:
        command = Command.model_validate(value, context=STORED if stored else None)
    except ValidationError as error:
        raise invalid("command", error) from error
    if not stored and not isinstance(command.command_type, CommandType):
        read_own(command.command_type, command.payload)
    return command


def command_to(
    aggregate: Aggregate[Any], db_name: str, instance_id: str, request: DomainCommand, *, command_id: str, **more: Any
) -> Command:
    """Return the command that makes a request of one instance of an aggregate of one's own.

    ``more``: fields of ``Command`` such as ``expected_version``, ``actor``, ``correlation_id``, ``metadata``. The
    aggregate is a registered one. Raises InputInvalid.
    """
    if type(request) not in aggregate.commands:
        commands = ", ".join(model.type_name for model in aggregate.commands)
        raise InputInvalid(f"{aggregate}: expected one of its commands ({commands}), found {request.type_name}")
    fields = {
        "command_id": command_id,
        "command_type": request.type_name,
        "db_name": db_name,
        "class_id": aggregate.name,
        "instance_id": instance_id,
        "payload": request.model_dump(mode="json"),
        **more,
    }
    try:
        return Command.model_validate(fields)
    except ValidationError as error:
        raise invalid("command", error) from error


def read_own(command_type: str, payload: dict[str, Any]) -> DomainCommand:
    """Return the payload of a command of one's own as its model; raises InputInvalid."""
    try:
        return registry().of_command(command_type).read_command(command_type, payload)
    except ValidationError as error:
        raise invalid("command", error, within=("payload",)) from error


def invalid(what: str, error: ValidationError, *, within: tuple[str, ...] = ()) -> InputInvalid:
    """Return pydantic's findings as one error of ours; ``details["errors"]`` has each with its JSON Pointer.

    ``within``: where the validated object lies.
    """
    findings = [
        {
            "at": shortened(pointer_of((*within, *item["loc"])), POINTER_CHARACTERS_MAX),
            "problem": shortened(item["msg"].removeprefix("Value error, ")),
        }
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    listed = "; ".join(f"{finding['at'] or what}: {finding['problem']}" for finding in findings[:5])
    more = f" and {len(findings) - 5} more" if len(findings) > 5 else ""
    return InputInvalid(
        f"{what} is not valid: {listed}{more}", errors=findings[:FINDINGS_MAX], errors_count=len(findings)
    )
