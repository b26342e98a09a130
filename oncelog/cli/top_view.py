"""An installation at a glance as an operator sees it, and as programs read it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from oncelog.checks.report import CheckVerdict, InvariantsReport
from oncelog.cli.exits import Exit
from oncelog.cli.show import pairs
from oncelog.cli.terminal import assembled, text_line
from oncelog.client.backlog import Backlog, StuckCommand
from oncelog.client.glance import Glance, ServerState, Silent
from oncelog.domain.dead_letters import DeadLetter
from oncelog.stores.kafka.lag import ProjectorLag

GOOD, BAD, UNKNOWN = "green", "bold red", "yellow"
#: Of dead letters and stuck commands; JSON has all that were read.
LISTED_MAX = 5
REASON_CHARACTERS_MAX = 200


def exit_of(glance: Glance) -> Exit:
    """Return the exit code of a glance: findings, or a source that is out of reach."""
    check = glance.check
    violated = isinstance(check, InvariantsReport) and check.verdict is CheckVerdict.VIOLATED
    listed = [found for found in (glance.stuck, glance.dead_letters) if not isinstance(found, Silent) and found]
    if glance.silent:
        return Exit.UNREACHABLE
    ill = any(isinstance(answer, ServerState) and not answer.well for answer in glance.servers.values())
    return Exit.FINDINGS if listed or violated or ill or not glance.workers else Exit.FINE


def glance_fields(glance: Glance) -> dict[str, Any]:
    """Return a picture as JSON; a part that is in ``silent``, by its name, is null."""
    backlog = _told(glance.backlog)
    check = _told(glance.check)
    lags, stuck, dead_letters = _told(glance.lags), _told(glance.stuck), _told(glance.dead_letters)
    return {
        "at": glance.at.isoformat(),
        "workers": _told(glance.workers),
        "servers": {name: _server_fields(answer) for name, answer in glance.servers.items()},
        "backlog": backlog and _backlog_fields(backlog),
        "lags": lags and [_lag_fields(lag) for lag in lags],
        "check": check and check.entry.model_dump(mode="json"),
        "stuck": None
        if stuck is None
        else [asdict(command) | {"started_at": command.started_at.isoformat()} for command in stuck],
        "dead_letters": None if dead_letters is None else [letter.model_dump(mode="json") for letter in dead_letters],
        "silent": glance.silent,
    }


def glance_view(glance: Glance) -> Group:
    """Return a picture for people: four questions, each with its answers."""
    return Group(
        _title(f"Is it healthy?   {glance.at:%Y-%m-%dT%H:%M:%SZ}"),
        pairs(_healthy(glance)),
        _title("Does it keep up?"),
        pairs(_keeps_up(glance)),
        _title("Is it correct?"),
        pairs([("last check", _check_line(glance.check, glance.at))]),
        _title("Is anything stuck?"),
        *_stuck_lines(glance),
        *_dead_letter_lines(glance.dead_letters),
    )


def _healthy(glance: Glance) -> list[tuple[str, Text]]:
    if isinstance(glance.workers, Silent):
        workers = _silent(glance.workers)
    elif glance.workers:
        workers = Text("one or more ask for commands", style=GOOD)
    else:
        workers = Text("none asks for commands: they wait; start oncelog worker", style=BAD)
    return [("workers", workers), *((name, _server(answer)) for name, answer in glance.servers.items())]


def _server(answer: ServerState | Silent) -> Text:
    if isinstance(answer, Silent):
        return _silent(answer)
    return text_line(answer.text, GOOD if answer.well else BAD)


def _keeps_up(glance: Glance) -> list[tuple[str, Text]]:
    backlog, rows = glance.backlog, []
    if isinstance(backlog, Silent):
        rows += [("commands", _silent(backlog)), ("archive", _silent(backlog))]
    else:
        rows += [("commands", _commands_line(backlog)), ("archive", _archive_line(backlog, glance.at))]
    if isinstance(glance.lags, Silent):
        return [*rows, ("projectors", _silent(glance.lags))]
    return [*rows, *((lag.read_model, _lag_line(lag)) for lag in glance.lags)]


def _commands_line(backlog: Backlog) -> Text:
    ages = sorted({age_s for _, age_s in backlog.pending if age_s})
    counts = ((_span(age_s), backlog.count(older_than_s=age_s)) for age_s in ages)
    old = [f"{count:,} for {age} and more" for age, count in counts if count]
    return text_line(f"{backlog.count():,} under way" + "".join(f"; {each}" for each in old))


def _archive_line(backlog: Backlog, now: datetime) -> Text:
    if backlog.archived_through is not None:
        return text_line(f"has what was written {_ago(backlog.archived_through, now)}")
    if backlog.archive_scheduled is not None:
        return text_line("no run of everything has ended yet")
    return text_line("not scheduled, and no run of everything is known", "dim")


def _lag_line(lag: ProjectorLag) -> Text:
    if not lag.awaited:
        return text_line("no projector has run; workers project by themselves", "dim")
    if not lag.behind:
        return Text("has all messages", style=GOOD)
    most = max(lag.messages, key=lambda partition: lag.messages[partition])
    oldest = f"the oldest sent {_span(int(lag.oldest_age_s))} ago; {lag.messages[most]:,} in partition {most}"
    hint = "" if lag.committed else "; no projector has run"
    return text_line(f"{lag.behind:,} messages behind, {oldest}{hint}")


def _check_line(check: InvariantsReport | Silent | None, now: datetime) -> Text:
    if isinstance(check, Silent):
        return _silent(check)
    if check is None:
        return text_line("none of everything has ended; run oncelog check", UNKNOWN)
    style = {CheckVerdict.SOUND: GOOD, CheckVerdict.VIOLATED: BAD}.get(check.verdict, UNKNOWN)
    violations = sum(section.violations for section in check.sections)
    hint = f", {violations:,} violations: oncelog check --last names them" if violations else ""
    return assembled((check.verdict, style), f" {_ago(check.ended_at, now)}, {check.mode.lower()}{hint}")


def _stuck_lines(glance: Glance) -> list[RenderableType]:
    stuck = glance.stuck
    if isinstance(stuck, Silent):
        return [pairs([("commands", _silent(stuck))])]
    if not stuck:
        return [pairs([("commands", Text("none", style=GOOD))])]
    lines: list[RenderableType] = [pairs([("commands", Text(f"{len(stuck)} held up", style=BAD))])]
    for command in stuck[:LISTED_MAX]:
        lines += _stuck_line(command, glance.at)
    return [*lines, *_rest(stuck)]


def _stuck_line(command: StuckCommand, now: datetime) -> list[Text]:
    about = f", {command.aggregate_id}" if command.aggregate_id else ""
    tries = f"; tried {command.attempts:,} times" if command.attempts else ""
    return [
        assembled("  ", (command.command_id, "bold")),
        text_line(f"    {command.workflow_type}{about}, started {_ago(command.started_at, now)}{tries}"),
        text_line(f"    {_shortened(command.reason)}", "dim"),
    ]


def _dead_letter_lines(dead_letters: Sequence[DeadLetter] | Silent) -> list[RenderableType]:
    if isinstance(dead_letters, Silent):
        return [pairs([("dead letters", _silent(dead_letters))])]
    if not dead_letters:
        return [pairs([("dead letters", Text("none", style=GOOD))])]
    title = Text(f"{len(dead_letters)} wait: oncelog dead-letters list", style=BAD)
    lines: list[RenderableType] = [pairs([("dead letters", title)])]
    for letter in dead_letters[:LISTED_MAX]:
        lines.append(assembled("  ", (letter.aggregate_id, "bold"), f" {letter.kind} in {letter.read_model}"))
        lines.append(
            text_line(f"    {_shortened(f'{letter.code}: {letter.reason}' if letter.code else letter.reason)}", "dim")
        )
    return [*lines, *_rest(dead_letters)]


def _rest(listed: Sequence[object]) -> list[Text]:
    return [text_line(f"  … and {len(listed) - LISTED_MAX} more", "dim")] if len(listed) > LISTED_MAX else []


def _title(text: str) -> Text:
    return Text(text, style="bold")


def _silent(silent: Silent) -> Text:
    return text_line(f"no answer: {_shortened(silent.cause)}", UNKNOWN)


def _shortened(text: str) -> str:
    return text if len(text) <= REASON_CHARACTERS_MAX else f"{text[: REASON_CHARACTERS_MAX - 1]}…"


def _ago(then: datetime, now: datetime) -> str:
    return f"{_span(max(0, int((now - then).total_seconds())))} ago"


def _span(seconds: int) -> str:
    """Return a time in its largest whole unit, such as ``3 h``."""
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def _told(part: Any) -> Any:
    return None if isinstance(part, Silent) else part


def _server_fields(answer: ServerState | Silent) -> dict[str, Any] | None:
    return None if isinstance(answer, Silent) else asdict(answer)


def _backlog_fields(backlog: Backlog) -> dict[str, Any]:
    pending = [
        {"workflow_type": workflow, "older_than_s": age_s, "count": count}
        for (workflow, age_s), count in backlog.pending.items()
    ]
    times = {"archived_through": backlog.archived_through, "archive_scheduled": backlog.archive_scheduled}
    return {"pending": pending} | {name: time and time.isoformat() for name, time in times.items()}


def _lag_fields(lag: ProjectorLag) -> dict[str, Any]:
    messages: Mapping[str, int] = {str(partition): count for partition, count in lag.messages.items()}
    about = {"read_model": lag.read_model, "committed": lag.committed, "awaited": lag.awaited}
    return {**about, "oldest_age_s": lag.oldest_age_s, "messages": messages}
