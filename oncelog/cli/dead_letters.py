"""``oncelog dead-letters``: dead letters, their reasons, and their remedies."""

import getpass
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer
from rich.console import Group, RenderableType

from oncelog.cli.exits import Exit
from oncelog.cli.options import Instance
from oncelog.cli.reporting import report_each, reported
from oncelog.cli.terminal import assembled, errors, text_line
from oncelog.errors import InputInvalid
from oncelog.read_models.names import ReadModelName

if TYPE_CHECKING:
    from oncelog import AggregateId
    from oncelog.composition.read_models import ReadModelServices
    from oncelog.domain.dead_letters import DeadLetter
    from oncelog.read_models.dead_letter_service import DeadLetterService

app = typer.Typer(
    name="dead-letters", help="What waits in a read model, and why; retry, skip, pause.", no_args_is_help=True
)

Targets = Annotated[list[str] | None, typer.Argument(metavar="DB/CLASS/INSTANCE ...", help="Such as shop/Product/p1.")]
By = Annotated[str | None, typer.Option(help="Who does it; recorded. You, if not given.")]
_KINDS = "documents, graph, or MODULE:OBJECT of a read model or a reaction of your own"
Model = Annotated[str, typer.Option("--read-model", metavar="NAME", help=f"In which read model: {_KINDS}.")]
Models = Annotated[
    str | None, typer.Option("--read-model", metavar="NAME", help=f"In which: {_KINDS}; in the first two if not given.")
]
Why = Annotated[str, typer.Option(help="Why; recorded.")]


@app.command("list")
@reported
async def list_(
    *,
    every: Annotated[bool, typer.Option("--all", help="Those that ended well, too.")] = False,
    read_model: Models = None,
) -> Exit:
    """Show the dead letters that wait or are unfinished; exit code 1 if there are any."""
    dead_letters, shown = await _list(_names(read_model), every=every)
    pairs = list(zip(dead_letters, shown, strict=True))
    report_each(
        (_fields(dead_letter) | {"shown_version": version} for dead_letter, version in pairs),
        lambda: Group(*(_listed(dead_letter, version) for dead_letter, version in pairs)) if pairs else None,
    )
    if not dead_letters:
        errors.print("nothing waits")
    return Exit.FINDINGS if any(each.waits or each.unfinished for each in dead_letters) else Exit.FINE


@app.command("show")
@reported
async def show_(target: Instance, *, read_model: Models = None) -> Exit:
    """Show everything that was ever said about one aggregate, the oldest first."""
    from oncelog.cli.commands import parse_aggregate

    aggregate_id = parse_aggregate(target)
    dead_letters = [each for name in _names(read_model) for each in await _history(aggregate_id, name)]
    report_each(map(_fields, dead_letters), lambda: Group(*map(_view, dead_letters)) if dead_letters else None)
    if not dead_letters:
        errors.print(f"{target} was never parked")
    return Exit.FINE if dead_letters else Exit.FINDINGS


@app.command()
@reported
async def retry(
    targets: Targets = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Everything that is parked or half mended.")] = False,
    by: By = None,
    reason: Why = "retry",
    read_model: Models = None,
) -> Exit:
    """Read and migrate the events anew from the log and show them; exit code 1 if one is parked again."""
    from oncelog.cli.commands import parse_aggregate

    if every == bool(targets):
        raise InputInvalid("retry: expected either aggregates or --all")
    wanted = [parse_aggregate(target) for target in targets or ()]
    who = _named(by)
    if wanted and read_model is None:
        return _end(await _retry_where_waiting(wanted, by=who, reason=reason))
    return _end([each for name in _names(read_model) for each in await _retry(wanted, name, by=who, reason=reason)])


def _names(read_model: str | None) -> list[str]:
    return [read_model] if read_model else [str(name) for name in ReadModelName]


class Decision(Protocol):
    """An action of the dead-dead_letter service on one aggregate."""

    async def __call__(self, aggregate_id: "AggregateId", /, *, by: str, reason: str) -> "DeadLetter": ...


def _offer(name: str, about: str, decision: "Callable[[DeadLetterService], Decision]", *, reason: Any = ...) -> None:
    """Add the command by which an operator decides about one aggregate; ``reason``: the default one."""

    async def decide(
        target: Instance, *, reason: Why = reason, by: By = None, read_model: Model = ReadModelName.DOCUMENTS
    ) -> Exit:
        from oncelog.cli.commands import parse_aggregate

        aggregate_id, who = parse_aggregate(target), _named(by)
        async with _opened(read_model) as services:
            return _end([await decision(services.dead_letter_service)(aggregate_id, by=who, reason=reason)])

    app.command(name, help=about)(reported(decide))


_offer(
    "skip",
    "Give up showing the version that is parked; what came after it is shown, if that can be.",
    lambda dead_letter_service: dead_letter_service.skip,
)
_offer(
    "pause",
    "Let one aggregate's projection wait until resume; known to all programs within seconds.",
    lambda dead_letter_service: dead_letter_service.pause,
)
_offer(
    "resume",
    "End a pause, and show what came meanwhile.",
    lambda dead_letter_service: dead_letter_service.resume,
    reason="resume",
)


@asynccontextmanager
async def _opened(name: str) -> "AsyncIterator[ReadModelServices]":
    from oncelog import Oncelog, Settings
    from oncelog.client.reactions import command_starter
    from oncelog.composition.own_models import own_services
    from oncelog.composition.read_models import read_model_of, services_of
    from oncelog.read_models.parking import PROGRAM
    from oncelog.stores.opening import Stores

    settings = Settings.from_environment()
    if ":" not in name and name not in list(ReadModelName):
        raise InputInvalid(f"--read-model: expected {_KINDS}, found {name!r}")
    async with await Stores.connect(settings) as stores:
        if ":" not in name:
            yield services_of(read_model_of(name, stores.ports), stores.ports)
            return
        start = command_starter(Oncelog(stores.ports, settings))
        async with own_services(name, stores.ports, settings, start=start, by=PROGRAM) as services:
            yield services


async def _list(names: "Sequence[str]", *, every: bool) -> "tuple[list[DeadLetter], list[int]]":
    """Return the dead letters of all read models, each with the projected version of its aggregate."""
    dead_letters: list[DeadLetter] = []
    shown: list[int] = []
    for name in names:
        async with _opened(name) as services:
            found = [each for each in await services.last_dead_letters() if every or each.waits or each.unfinished]
            dead_letters += found
            shown += await services.read_model.projected_versions([each.aggregate for each in found])
    return dead_letters, shown


async def _history(aggregate_id: "AggregateId", name: str) -> "Sequence[DeadLetter]":
    async with _opened(name) as services:
        return await services.dead_letters.dead_letter_history(services.read_model.name, aggregate_id)


async def _retry(wanted: "Sequence[AggregateId]", name: str, *, by: str, reason: str) -> "list[DeadLetter]":
    from oncelog.domain.dead_letters import DeadLetterKind

    async with _opened(name) as services:
        if not wanted:
            last = await services.last_dead_letters()
            wanted = [each.aggregate for each in last if each.unfinished or each.kind is DeadLetterKind.PARKED]
        return [await services.dead_letter_service.retry(each, by=by, reason=reason) for each in wanted]


async def _retry_where_waiting(wanted: "Sequence[AggregateId]", *, by: str, reason: str) -> "list[DeadLetter]":
    """Retry each aggregate in every read model in which it waits; in the documents where it waits in none."""
    retried: list[DeadLetter] = []
    left = set(wanted)
    for name in ReadModelName:
        async with _opened(name) as services:
            last = await services.last_dead_letters()
            waiting = {each.aggregate for each in last if each.waits or each.unfinished}.intersection(wanted)
            left -= waiting
            retried += [
                await services.dead_letter_service.retry(each, by=by, reason=reason)
                for each in wanted
                if each in waiting
            ]
    if left:
        retried += await _retry(sorted(left, key=str), ReadModelName.DOCUMENTS, by=by, reason=reason)
    return retried


def _end(dead_letters: "Sequence[DeadLetter]") -> Exit:
    from oncelog.domain.dead_letters import DeadLetterKind

    report_each(map(_fields, dead_letters), lambda: Group(*map(_view, dead_letters)))
    return Exit.FINDINGS if any(each.kind is DeadLetterKind.PARKED for each in dead_letters) else Exit.FINE


def _named(by: str | None) -> str:
    try:
        return by or getpass.getuser()
    except (KeyError, OSError) as error:  # a container's user may have no name
        raise InputInvalid(f"expected --by NAME, since this user has none: {error}") from error


def _fields(dead_letter: "DeadLetter") -> dict[str, Any]:
    return dead_letter.model_dump(mode="json")


def _listed(found: "DeadLetter", shown: int) -> RenderableType:
    """Return three lines, of which no value to copy is ever cut or broken."""
    versions = f"version {found.sequence_number}, shown {shown}" if found.sequence_number else f"shown {shown}"
    why = f"{found.code}: {found.reason}" if found.code else f"{found.by}: {found.reason}"
    return Group(
        assembled((found.aggregate_id, "bold")),
        text_line(f"  {found.kind} in {found.read_model} since {found.at[:19]}Z, {versions}"),
        text_line(f"  {why}", "dim"),
    )


def _view(found: "DeadLetter") -> Group:
    about = f" version {found.sequence_number}" if found.sequence_number else ""
    code = f"{found.code}: " if found.code else ""
    return Group(
        assembled((found.kind, "bold"), f"  {found.aggregate_id}{about}  {found.at} by {found.by}"),
        text_line(f"  {code}{found.reason}", "dim"),
    )
