"""The commands of ``oncelog``."""

from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from oncelog.cli import (
    aggregates,
    bulk,
    classes,
    dead_letters,
    instances,
    inventory,
    maintenance,
    profiles,
    programs,
    query,
    replay,
    schedules,
    status,
    tail,
    top,
    versions,
)
from oncelog.cli.exits import explained

app = typer.Typer(
    name="oncelog",
    epilog="Exit codes: 0 fine; 1 findings (rejected, not found); 2 usage; 3 a server is out of reach; 4 partly done.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        import oncelog

        typer.echo(f"oncelog {oncelog.__version__}")
        raise typer.Exit


@app.callback()
def choose_installation(
    profile: Annotated[
        str | None, typer.Option(envvar="ONCELOG_PROFILE", help="Which installation; see `oncelog profiles`.")
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Submit commands, see their outcomes, read the resulting instances."""
    if profile is not None:
        with explained():
            profiles.use(profile)


for command in (
    instances.submit,
    status.status,
    instances.get,
    instances.history,
    tail.tail,
    versions.diff,
    versions.restore,
    query.search,
    query.graph,
    query.path,
    maintenance.doctor,
    top.top,
    maintenance.verify,
    maintenance.check,
    maintenance.rebuild,
    replay.export,
    maintenance.archive,
    profiles.profiles,
    programs.worker,
    programs.projector,
):
    app.command()(command)

app.command("list")(inventory.list_)

for group in (aggregates.app, bulk.bulk_app, classes.class_app, dead_letters.app, replay.app, schedules.app):
    app.add_typer(group)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; ends the process with one of the exit codes."""
    from oncelog.process import keep_standard_output, leave

    if arguments is None:  # as a program, not within one
        keep_standard_output()
    try:
        app(args=None if arguments is None else list(arguments))
    except SystemExit as end:
        if arguments is None:
            leave(int(end.code or 0))
        raise
    raise AssertionError("typer always exits")
