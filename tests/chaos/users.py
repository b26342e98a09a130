"""The users of a run: more of them than there are values, so that clients fight over each value."""

from typing import Any

from oncelog.domain.bulk.command import Bulk, BulkPayload, BulkType
from oncelog.domain.commands import Command, CommandType
from tests.chaos.plan import PlannedCall
from tests.classes import TEXT, WHOLE, schema

CLASS_ID = "User"
USERS = 30
EMAILS, ROWS, SEATS = 12, 2, 4
"""Twenty values: so many of one constraint, and each seat in each row of the other."""
VALUES = EMAILS + ROWS * SEATS
ITEMS = 15
"""Of a bulk command: two chunks, as the workers are set, in which some users come twice."""

#: The calls that are about users.
CALLS = ("take", "give_up", "leave", "take_many")
CONSTRAINTS = {"email": ("email",), "place": ("row", "seat")}
DEFINITION = {
    "version": "1.0.0",
    "schema": schema(email=TEXT, row=WHOLE, seat=WHOLE, n=WHOLE),
    "unique": {name: [f"/{member}" for member in members] for name, members in CONSTRAINTS.items()},
}


def definition(db_name: str, command_id: str) -> Command:
    """Return the command that defines the class, which comes before the first user."""
    return Command.model_validate(
        {
            "command_id": command_id,
            "command_type": CommandType.DEFINE_CLASS,
            "db_name": db_name,
            "class_id": CLASS_ID,
            "payload": DEFINITION,
        }
    )


def user_command(call: PlannedCall, *, db_name: str, command_id: str, actor: str) -> Command | Bulk:
    """Return the command that was drawn: take a value, or several; give one up; leave with all."""
    about = {"command_id": command_id, "db_name": db_name, "class_id": CLASS_ID, "actor": actor}
    user, number = _user(call.aggregate), call.value // VALUES
    if call.what == "take_many":
        items = [
            {"instance_id": _user(call.aggregate + 7 * (step % 12)), "payload": _taken(call.value + 3 * step)}
            for step in range(ITEMS)
        ]
        kind = BulkType.BULK_CREATE_INSTANCES if number % 2 else BulkType.BULK_UPDATE_INSTANCES
        return Bulk(command_type=kind, payload=BulkPayload(items=items), **about)
    if call.what == "leave":
        return Command(command_type=CommandType.DELETE_INSTANCE, instance_id=user, payload={}, **about)
    if call.what == "give_up":
        payload: dict[str, Any] = {"email": None} if number % 3 else {"row": None, "n": number}
        return Command(command_type=CommandType.UPDATE_INSTANCE, instance_id=user, payload=payload, **about)
    command_type = CommandType.CREATE_INSTANCE if number % 2 else CommandType.UPDATE_INSTANCE
    return Command(command_type=command_type, instance_id=user, payload=_taken(call.value), **about)


def _user(number: int) -> str:
    return f"user-{number % USERS}"


def _taken(drawn: int) -> dict[str, Any]:
    """Return a payload with one of the twenty values; each fifth has one of either constraint."""
    number = drawn % VALUES
    email, place = {"email": f"mail-{drawn % EMAILS}"}, {"row": drawn % ROWS, "seat": drawn // ROWS % SEATS}
    if drawn // VALUES % 5 == 0:
        return {**email, **place, "n": drawn}
    return {**(email if number < EMAILS else place), "n": drawn}
