"""``oncelog dead-letters``: what waits, why, and what to do about it."""

import asyncio
import getpass
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Protocol

import typer
from rich.console import Group
from rich.table import Table

from oncelog.cli import show
from oncelog.cli.commands import parse_aggregate
from oncelog.cli.exits import Exit, explained
from oncelog.cli.terminal import assembled, errors, text_line
from oncelog.composition.read_models import ReadModelName, ReadModelServices, read_model_of, services_of
from oncelog.domain.dead_letters import DeadLetter, DeadLetterKind
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import InputInvalid
from oncelog.read_models.dead_letter_service import DeadLetterService
from oncelog.settings import Settings
from oncelog.stores.opening import Stores

app = typer.Typer(
    name="dead-letters", help="What waits in a read model, and why; retry, skip, pause.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")]
Target = Annotated[str, typer.Argument(metavar="DB/CLASS/INSTANCE", help="Such as shop/Product/p1.")]
Targets = Annotated[list[str] | None, typer.Argument(metavar="DB/CLASS/INSTANCE ...", help="Such as shop/Product/p1.")]
By = Annotated[str | None, typer.Option(help="Who does it; recorded. You, if not given.")]
Model = Annotated[ReadModelName, typer.Option("--read-model", help="In which read model.")]
Why = Annotated[str, typer.Option(help="Why; recorded.")]


@asynccontextmanager
async def _opened(name: str) -> AsyncIterator[ReadModelServices]:
    async with await Stores.connect(Settings.from_environment()) as stores:
        yield services_of(read_model_of(name, stores.ports), stores.ports)


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Those that ended well, too.")] = False, as_json: AsJson = False
) -> None:
    """Show what waits, or was left half mended; exit code 1 if there is anything."""
    with explained(as_json=as_json):
        dead_letters, shown = asyncio.run(_list(every=every))
        if as_json:
            for dead_letter, version in zip(dead_letters, shown, strict=True):
                show.print_json(_fields(dead_letter) | {"shown_version": version})
        elif dead_letters:
            show.output.print(_table(dead_letters, shown))
        else:
            errors.print("nothing waits")
        raise typer.Exit(Exit.FINDINGS if any(each.waits or each.unfinished for each in dead_letters) else Exit.FINE)


@app.command("show")
def show_(target: Target, read_model: Model = ReadModelName.DOCUMENTS, as_json: AsJson = False) -> None:
    """Show everything that was ever said about one aggregate, the oldest first."""
    with explained(as_json=as_json):
        dead_letters = asyncio.run(_history(parse_aggregate(target), read_model))
        if as_json:
            for dead_letter in dead_letters:
                show.print_json(_fields(dead_letter))
        elif dead_letters:
            show.output.print(Group(*(_view(dead_letter) for dead_letter in dead_letters)))
        else:
            errors.print(f"{target} was never parked")
        raise typer.Exit(Exit.FINE if dead_letters else Exit.FINDINGS)


@app.command()
def retry(
    targets: Targets = None,
    every: Annotated[bool, typer.Option("--all", help="Everything that is parked or half mended.")] = False,
    by: By = None,
    reason: Why = "retry",
    read_model: Model = ReadModelName.DOCUMENTS,
    as_json: AsJson = False,
) -> None:
    """Read and migrate the events anew from the log and show them; exit code 1 for what is parked again."""
    with explained(as_json=as_json):
        if every == bool(targets):
            raise InputInvalid("retry: expected either aggregates or --all")
        wanted = [parse_aggregate(target) for target in targets or ()]
        _end(asyncio.run(_retry(wanted, read_model, by=_named(by), reason=reason)), as_json=as_json)


class Decision(Protocol):
    """An action of the dead-letter service on one aggregate."""

    async def __call__(self, aggregate_id: AggregateId, /, *, by: str, reason: str) -> DeadLetter: ...


def _offer(name: str, about: str, decision: Callable[[DeadLetterService], Decision], *, reason: Any = ...) -> None:
    """Add the command by which an operator decides about one aggregate; ``reason``: what is recorded if none is
    given.
    """

    @app.command(name, help=about)
    def decide(
        target: Target,
        reason: Why = reason,
        by: By = None,
        read_model: Model = ReadModelName.DOCUMENTS,
        as_json: AsJson = False,
    ) -> None:
        with explained(as_json=as_json):
            place, who = parse_aggregate(target), _named(by)
            dead_letter = asyncio.run(_decide(decision, place, read_model, by=who, reason=reason))
            _end([dead_letter], as_json=as_json)


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


async def _list(*, every: bool) -> tuple[list[DeadLetter], list[int]]:
    """Return the dead letters of all read models, each with the projected version of its aggregate."""
    dead_letters: list[DeadLetter] = []
    shown: list[int] = []
    for name in ReadModelName:
        async with _opened(name) as services:
            found = [each for each in await services.last_dead_letters() if every or each.waits or each.unfinished]
            dead_letters += found
            shown += await services.read_model.projected_versions([each.aggregate for each in found])
    return dead_letters, shown


async def _history(aggregate_id: AggregateId, name: str) -> Sequence[DeadLetter]:
    async with _opened(name) as services:
        return await services.dead_letters.dead_letter_history(services.read_model.name, aggregate_id)


async def _retry(wanted: Sequence[AggregateId], name: str, *, by: str, reason: str) -> list[DeadLetter]:
    async with _opened(name) as services:
        if not wanted:
            last = await services.last_dead_letters()
            wanted = [each.aggregate for each in last if each.unfinished or each.kind is DeadLetterKind.PARKED]
        return [await services.dead_letter_service.retry(each, by=by, reason=reason) for each in wanted]


async def _decide(
    decision: Callable[[DeadLetterService], Decision], aggregate_id: AggregateId, name: str, *, by: str, reason: str
) -> DeadLetter:
    async with _opened(name) as services:
        return await decision(services.dead_letter_service)(aggregate_id, by=by, reason=reason)


def _end(dead_letters: Sequence[DeadLetter], *, as_json: bool) -> None:
    if as_json:
        for dead_letter in dead_letters:
            show.print_json(_fields(dead_letter))
    else:
        show.output.print(Group(*(_view(dead_letter) for dead_letter in dead_letters)))
    raise typer.Exit(Exit.FINDINGS if any(each.kind is DeadLetterKind.PARKED for each in dead_letters) else Exit.FINE)


def _named(by: str | None) -> str:
    try:
        return by or getpass.getuser()
    except (KeyError, OSError) as error:  # a container's user may have no name
        raise InputInvalid(f"expected --by NAME, since this user has none: {error}") from error


def _fields(dead_letter: DeadLetter) -> dict[str, Any]:
    return dead_letter.model_dump(mode="json")


def _table(dead_letters: Sequence[DeadLetter], shown: Sequence[int]) -> Table:
    table = Table("aggregate", "read model", "", "version", "shown", "since", "why", box=None, pad_edge=False)
    for dead_letter, version in zip(dead_letters, shown, strict=True):
        why = text_line(
            f"{dead_letter.code}: {dead_letter.reason}"
            if dead_letter.code
            else f"{dead_letter.by}: {dead_letter.reason}"
        )
        since = dead_letter.at[:19] + "Z"
        about = (dead_letter.read_model, dead_letter.kind, str(dead_letter.sequence_number), str(version), since)
        table.add_row(text_line(dead_letter.aggregate_id), *about, why)
    return table


def _view(dead_letter: DeadLetter) -> Group:
    about = f" version {dead_letter.sequence_number}" if dead_letter.sequence_number else ""
    code = f"{dead_letter.code}: " if dead_letter.code else ""
    return Group(
        assembled(
            (dead_letter.kind, "bold"), f"  {dead_letter.aggregate_id}{about}  {dead_letter.at} by {dead_letter.by}"
        ),
        text_line(f"  {code}{dead_letter.reason}", "dim"),
    )
