"""The output of a command: a table for people, or JSON or YAML for programs, and the exit code it ends with."""

import asyncio
import functools
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from oncelog.cli.exits import explained
from oncelog.cli.terminal import output, print_json, print_json_text, print_yaml
from oncelog.errors import InputInvalid


class OutputFormat(StrEnum):
    """The format of an answer on standard output."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[
    OutputFormat, typer.Option("--output", "-o", help="A table for people; for programs a line or document per object.")
]
Json = Annotated[bool, typer.Option("--json", help="Short for --output json.")]

#: Of the command that runs.
_chosen: ContextVar[OutputFormat] = ContextVar("output format", default=OutputFormat.TABLE)
_OPTIONS = (
    inspect.Parameter("output_format", inspect.Parameter.KEYWORD_ONLY, default=OutputFormat.TABLE, annotation=Output),
    inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json),
)


def reported(command: Callable[..., Any]) -> Callable[..., None]:
    """Return the command with ``--output`` and ``--json``, and with a clear line for each error of ours.

    The command may be a coroutine function. It returns its exit code; None is 0.
    """
    signature = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def run(*arguments: Any, output_format: OutputFormat, as_json: bool, **options: Any) -> None:
        from oncelog import tracing
        from oncelog.logs import log_to_standard_error

        with explained(as_json=as_json or output_format is not OutputFormat.TABLE):
            log_to_standard_error()
            tracing.start("oncelog")
            if as_json and output_format is OutputFormat.YAML:
                raise InputInvalid("expected either --json or --output yaml, found both")
            _chosen.set(OutputFormat.JSON if as_json else output_format)
            try:
                answer = command(*arguments, **options)
                code = asyncio.run(answer) if inspect.iscoroutine(answer) else answer
            finally:
                tracing.stop()
        raise typer.Exit(code or 0)

    parameters = [*signature.parameters.values(), *_OPTIONS]
    run.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def for_people() -> bool:
    """Return whether the answer is read by people: tables, hints, and no more than a screen of it."""
    return _chosen.get() is OutputFormat.TABLE


def report(fields: Mapping[str, Any] | None, view: Callable[[], RenderableType | None]) -> None:
    """Print one answer. ``fields``: as JSON, None for nothing found; ``view``: makes it for people, None for none."""
    report_each([fields], view)


def report_each(rows: Iterable[Mapping[str, Any] | None], view: Callable[[], RenderableType | None]) -> None:
    """Print one answer of several objects, each a line of JSON or a document of YAML."""
    if for_people():
        shown = view()
        if shown is not None:
            output.print(shown)
        return
    for fields in rows:
        if _chosen.get() is OutputFormat.YAML:
            print_yaml(fields)
        else:
            print_json(fields)


def report_line(text: str) -> None:
    """Print one object of a long answer, given as a line of JSON; people get it as JSON, too."""
    if _chosen.get() is OutputFormat.YAML:
        print_yaml(json.loads(text))
    else:
        print_json_text(text)
