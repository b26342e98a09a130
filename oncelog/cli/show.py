"""How things look on a terminal, and as JSON."""

import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.json import JSON
from rich.table import Table
from rich.text import Text

from oncelog.cli.terminal import assembled, json_text, output, print_json, text_line
from oncelog.client.many_commands import Answer
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.events import Event
from oncelog.domain.results import CommandResult
from oncelog.ports import CommandStatus, Document
from oncelog.printable import printable

__all__ = ["output", "print_json"]


def result_fields(answer: Answer) -> dict[str, Any]:
    """Return an answer as JSON: the contract's result, or the error."""
    if answer.result is None:
        error = answer.error
        found = {"code": error.code, "message": error.message} if error else {}
        return {"command_id": answer.command.command_id, "error": found}
    return answer.result.model_dump(mode="json") | {"duplicate": answer.duplicate}


def status_fields(status: CommandStatus) -> dict[str, Any]:
    """Return a status as JSON."""
    fields = asdict(status)
    fields["history"] = [{"stage": stage, "at": at} for stage, at in status.history]
    fields["result"] = status.result.model_dump(mode="json") if status.result else None
    return fields


@dataclass(frozen=True)
class Pairs:
    """Names and values side by side. A value that is one word, such as a token, is never broken: it is to be copied."""

    rows: Sequence[tuple[str, Any]]

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        width = max((cell_len(printable(name)) for name, _ in self.rows), default=0)
        for name, value in self.rows:
            title = text_line(name, "dim")
            title.pad_right(width - title.cell_len)
            text = text_line(value) if isinstance(value, str) else value
            if isinstance(text, Text) and not re.search(r"\s", text.plain):
                yield Text.assemble(title, "  ", text, no_wrap=True, overflow="ignore")
                continue
            line = Table.grid(padding=(0, 2))
            line.add_column(no_wrap=True, min_width=width)
            line.add_column(overflow="fold")
            line.add_row(title, text)
            yield line


def pairs(rows: Sequence[tuple[str, Any]]) -> Pairs:
    """Return names and values side by side, without those that have no value."""
    return Pairs([(name, value) for name, value in rows if value is not None and value != ""])


def result_rows(result: CommandResult, *, duplicate: bool = False) -> list[tuple[str, Any]]:
    """Return a result for ``pairs``."""
    rejection = result.rejection
    return [
        ("command", result.command_id),
        ("outcome", _outcome(result) + (", answered before: this is the first result" if duplicate else "")),
        ("reason", rejection.message if rejection else None),
        ("aggregate", result.aggregate_id),
        ("version", str(result.sequence_number) if result.sequence_number else None),
        ("event", result.event_id),
        ("token", result.consistency_token),
        *(_bulk_rows(result) if isinstance(result, BulkResult) and not rejection else ()),
    ]


def _bulk_rows(result: BulkResult) -> list[tuple[str, Any]]:
    counts = result.counts
    return [
        ("items", str(counts.items)),
        ("applied", str(counts.applied)),
        ("rejected", str(counts.rejected)),
        ("not attempted", f"{counts.not_attempted}, {result.closed}" if result.closed else None),
        ("results", result.results_key),
        ("", f"see them with: oncelog bulk results {result.command_id}"),
    ]


def status_view(status: CommandStatus) -> Pairs:
    """Return a status for people."""
    times = Text("\n".join(printable(f"{stage:<10} {at}") for stage, at in status.history))
    rows = [
        ("command", status.command_id),
        ("type", status.command_type),
        ("stage", str(status.stage)),
        ("workflow", status.workflow),
        ("", status.remark),
        ("reached", times),
    ]
    rest = result_rows(status.result)[1:] if status.result else [("aggregate", status.aggregate_id)]
    return pairs([*rows, *rest])


def document_view(document: Document) -> Group:
    """Return a document for people."""
    body = dict(document.body)
    data = body.pop("data")
    rows = [(name, json_text(value) if not isinstance(value, str) else value) for name, value in body.items()]
    return Group(pairs(rows), Text("data", style="dim"), JSON.from_data(data, ensure_ascii=False))


def history_view(events: Sequence[Event]) -> Group:
    """Return events for people, the oldest first."""
    shown: list[Text] = []
    for event in events:
        by = f" by {event.actor}" if event.actor else ""
        shown.append(assembled(f"{event.sequence_number:>4}  ", (event.event_type, "bold"), f"  {event.occurred_at}"))
        shown.append(text_line(f"      command {event.command_id}{by}", "dim"))
        shown.append(text_line(f"      {json_text(event.data)}"))
    return Group(*shown)


def answers_view(answers: Sequence[Answer]) -> Table:
    """Return the results of many commands: by type and outcome, how many, how many were duplicates, how fast."""
    table = Table("command type", "outcome", box=None, pad_edge=False)
    for name in ("commands", "duplicates", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right")
    groups: defaultdict[tuple[str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[answer.command.command_type, answer.outcome].append(answer)
    for (command_type, outcome), members in groups.items():
        latencies = sorted(answer.latency_ms for answer in members)
        p99 = latencies[min(len(latencies) - 1, round(len(latencies) * 0.99))]
        duplicates = sum(answer.duplicate for answer in members)
        p50 = statistics.median(latencies)
        table.add_row(command_type, outcome, str(len(members)), str(duplicates), f"{p50:.0f}", f"{p99:.0f}")
    return table


def findings_view(answers: Sequence[Answer], *, rows_max: int = 20) -> Group:
    """Return the commands that were not applied, and why."""
    findings = [answer for answer in answers if not answer.applied]
    shown: list[Text] = []
    for answer in findings[:rows_max]:
        rejection = answer.result.rejection if answer.result else None
        reason = rejection.message if rejection else answer.error.message if answer.error else ""
        shown.append(assembled((answer.outcome, "bold"), f"  {answer.command.command_id}"))
        shown.append(text_line(f"  {reason}", "dim"))
    if len(findings) > rows_max:
        shown.append(Text(f"… and {len(findings) - rows_max} more; --json has all of them"))
    return Group(*shown)


def _outcome(result: CommandResult) -> str:
    return f"{result.outcome} {result.rejection.code}" if result.rejection else str(result.outcome)
