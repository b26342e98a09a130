"""``oncelog diff`` and ``restore``: versions of an instance compared, an earlier one or all of the servers restored."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group

from oncelog.cli.exits import Exit
from oncelog.cli.options import Instance
from oncelog.cli.reporting import report, report_each, reported
from oncelog.cli.terminal import assembled, errors, json_text
from oncelog.errors import InputInvalid

if TYPE_CHECKING:
    from oncelog import Command, Document
    from oncelog.domain.identifiers import AggregateId
    from oncelog.domain.merge_patch import Difference

Version = Annotated[int, typer.Argument(min=1, help="A version.")]


@reported
async def diff(
    target: Instance,
    before: Version,
    after: Annotated[int | None, typer.Argument(min=1, help="A later version; the newest if not given.")] = None,
) -> Exit:
    """Show the values that an instance gained, lost and changed between two versions; exit code 1 if any."""
    from oncelog import Oncelog
    from oncelog.cli.commands import parse_aggregate
    from oncelog.domain.merge_patch import differences

    async with Oncelog.connect() as oncelog:
        aggregate_id = parse_aggregate(target)
        newest = await oncelog.ports.event_log.last_sequence_number(aggregate_id)
        first, second = [
            await oncelog.reader.as_of(aggregate_id, version=version) for version in (before, after or newest)
        ]
    found = list(differences(_data(first), _data(second)))
    report_each(map(_fields, found), lambda: _view(found) if found else None)
    return Exit.FINDINGS if found else Exit.FINE


@reported
async def restore(
    target: Annotated[
        str | None, typer.Argument(metavar="[DB/CLASS/INSTANCE]", help="Which instance; the servers if not given.")
    ] = None,
    *,
    to: Annotated[int | None, typer.Option("--to", min=1, help="The version whose data is brought back.")] = None,
    command_id: Annotated[str | None, typer.Option("--id", help="The command ID; a new UUIDv7 if not given.")] = None,
    actor: Annotated[str | None, typer.Option(help="Who asks for it.")] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Of the servers: partitions at a time.")] = 4,
    events_per_s: Annotated[float | None, typer.Option("--events-per-s", min=0.1, help="At most so many.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much the log has.")] = False,
) -> Exit:
    """Restore an instance to an earlier version, by a new command; or all servers from S3, if none is named.

    An instance: refused if it is changed meanwhile. All servers: documents, graph, topics and Redis are brought back
    from S3 alone, and then a check finishes the commands under way.
    """
    if target is None:
        from oncelog.cli.replay_view import replay_request, run_restore

        if to is not None or command_id or actor:
            raise InputInvalid("restore: expected DB/CLASS/INSTANCE with --to, --id or --actor")
        request = replay_request(mode="restore", parallel=parallel, events_per_s=events_per_s, dry_run=dry_run)
        return await run_restore(request)
    if to is None:
        raise InputInvalid(f"restore {target}: expected --to VERSION")
    return await _restore_instance(target, to, command_id=command_id, actor=actor)


async def _restore_instance(target: str, to: int, *, command_id: str | None, actor: str | None) -> Exit:
    from oncelog import Oncelog, new_command_id
    from oncelog.cli import show
    from oncelog.cli.commands import parse_aggregate

    async with Oncelog.connect() as oncelog:
        aggregate_id = parse_aggregate(target)
        newest = await oncelog.ports.event_log.last_sequence_number(aggregate_id)
        then = await oncelog.reader.as_of(aggregate_id, version=to)
        now = await oncelog.reader.as_of(aggregate_id, version=newest) if newest else None
        if then is None or now is None or then.body["deleted"]:
            raise InputInvalid(f"{target}: expected a version in which it exists, found {to}")
        command = _restoring(aggregate_id, then, now, command_id=command_id or new_command_id(), actor=actor)
        if command is None:
            errors.print(f"{target} has the data of version {to} already: nothing was sent")
            return Exit.FINE
        result = await oncelog.submit(command)
    report(result.model_dump(mode="json"), lambda: show.pairs(show.result_rows(result)))
    return Exit.FINDINGS if result.rejection else Exit.FINE


def _restoring(aggregate_id: "AggregateId", then: "Document", now: "Document", **more: Any) -> "Command | None":
    """Return the command that makes the data of ``now`` that of ``then``, None where they are the same."""
    from oncelog.domain.commands import CommandType, parse_command
    from oncelog.domain.merge_patch import patch_between

    deleted = bool(now.body["deleted"])
    payload = then.body["data"] if deleted else patch_between(now.body["data"], then.body["data"])
    if not deleted and not payload:
        return None
    fields = {
        "command_type": CommandType.CREATE_INSTANCE if deleted else CommandType.UPDATE_INSTANCE,
        "db_name": aggregate_id.db_name,
        "class_id": aggregate_id.class_id,
        "instance_id": aggregate_id.instance_id,
        "payload": payload,
        "expected_version": now.sequence_number,
        **more,
    }
    return parse_command({name: value for name, value in fields.items() if value is not None})


def _data(document: "Document | None") -> dict[str, Any]:
    return {} if document is None or document.body["deleted"] else dict(document.body["data"])


def _fields(difference: "Difference") -> dict[str, Any]:
    from oncelog.domain.json_pointer import pointer_of
    from oncelog.domain.merge_patch import ABSENT

    sides = {"before": difference.before, "after": difference.after}
    return {"path": pointer_of(difference.path)} | {name: value for name, value in sides.items() if value is not ABSENT}


def _view(found: "Sequence[Difference]") -> Group:
    lines = []
    for fields in map(_fields, found):
        lines.append(assembled((fields["path"] or "(all of it)", "bold")))
        lines += [assembled((f"  - {json_text(fields['before'])}", "red"))] if "before" in fields else []
        lines += [assembled((f"  + {json_text(fields['after'])}", "green"))] if "after" in fields else []
    return Group(*lines)
