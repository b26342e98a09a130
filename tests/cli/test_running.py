"""Many commands at once: their order, and what is held back."""

from oncelog.client.client import Command, Submission
from oncelog.client.many_commands import submit_all
from oncelog.domain.commands import parse_command
from oncelog.domain.results import CommandResult, Outcome
from oncelog.errors import StoreUnavailable


class _Client:
    """Gives no answer to the commands named, and applies the others."""

    def __init__(self, unanswered: set[str]) -> None:
        self.unanswered = unanswered
        self.sent: list[str] = []

    async def submission(self, command: Command, **_: bool) -> Submission:
        self.sent.append(command.command_id)
        if command.command_id in self.unanswered:
            raise StoreUnavailable("Temporal", "submitting", "gone")
        result = CommandResult(
            command_id=command.command_id, command_hash=command.hash, outcome=Outcome.APPLIED, aggregate_id="a/B/c"
        )
        return Submission(result, duplicate=False)


def _update(command_id: str, instance_id: str) -> Command:
    fields = {"command_id": command_id, "command_type": "UPDATE_INSTANCE", "db_name": "shop", "class_id": "Product"}
    return parse_command({**fields, "instance_id": instance_id, "payload": {"by": command_id}})


async def test_commands_after_an_unanswered_one_are_not_sent():
    commands = [_update(*each) for each in (("1", "a"), ("2", "a"), ("3", "b"), ("4", "a"), ("5", "b"))]
    client = _Client({"2"})
    answers = await submit_all(client, commands, concurrency=4)  # type: ignore[arg-type]
    assert sorted(client.sent) == ["1", "2", "3", "5"]
    assert [answer.outcome for answer in answers] == [
        "APPLIED",
        "StoreUnavailable",
        "APPLIED",
        "CommandNotSent",
        "APPLIED",
    ]
    assert answers[3].error is not None
    assert answers[3].error.details["unanswered_command_id"] == "2"
