"""A workflow of a user's, which runs one command. It runs in the sandbox, which loads this module anew."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from oncelog import Command, CommandResult
    from oncelog.workflows import submit


def command(payload: dict[str, int]) -> Command:
    return Command(
        command_id="order-1",
        command_type="CREATE_INSTANCE",
        db_name="shop",
        class_id="Order",
        instance_id="o1",
        payload=payload,
    )


@workflow.defn
class Process:
    @workflow.run
    async def run(self, number: int) -> CommandResult:
        return await submit(command({"n": number}))
