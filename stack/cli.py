"""The command line: `python -m stack up|down|status|env|run|logs`.

Exit codes: 0 fine; 1 findings; 2 usage; 3 a server cannot be reached or started.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from stack import process, show
from stack.errors import StackError, UsageError
from stack.foreground import keep_until_told
from stack.ports import port_variable
from stack.servers import DEFAULT
from stack.settings import PORTS, Settings, parse_port, read_settings
from stack.sidecar import run_beside
from stack.stack import Stack
from stack.terminal import terminal_reporter

EXIT_FINE, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 0, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FINE
    return code


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="python -m stack",
        description="Real servers on a machine without containers: Temporal with its Web UI, Redis, Kafka, "
        "Elasticsearch and S3.",
        epilog="Exit codes: 0 fine, 2 usage, 3 a server cannot be reached or started.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--name", help="which stack (ONCELOG_STACK_NAME; 'default')")
    where.add_argument("--data", type=Path, metavar="DIR", help="its data folder (ONCELOG_STACK_DATA_DIR)")
    add_up(commands.add_parser("up", parents=[where], help="start the servers and wait until they are well"))
    down = commands.add_parser("down", parents=[where], help="end the servers")
    down.add_argument("--wipe", action="store_true", help="delete their data, too")
    down.set_defaults(run=run_down)
    for name, run, text in (
        ("status", run_status, "show how the servers are"),
        ("env", run_env, "print the variables that lead programs to the servers, for a shell to eval"),
    ):
        command = commands.add_parser(name, parents=[where], help=text)
        command.add_argument("--json", action="store_true", help="for programs")
        command.set_defaults(run=run)
    beside = commands.add_parser("run", parents=[where], help="run a program beside the servers until `down`")
    beside.add_argument("program", help="what to call it; one of that name that runs already is replaced")
    beside.add_argument("--until", metavar="TEXT", help="wait until this stands in its log")
    beside.add_argument("argv", nargs="+", metavar="-- COMMAND", help="the program and its arguments")
    beside.set_defaults(run=run_program)
    logs = commands.add_parser("logs", parents=[where], help="show what the servers wrote")
    logs.add_argument("server", nargs="?", help="which one; all of them if not said")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as more is written")
    logs.add_argument("-n", "--lines", type=int, default=50, help="how many lines of each (50)")
    logs.set_defaults(run=run_logs)
    return top


def add_up(up: argparse.ArgumentParser) -> None:
    """The options of `up`."""
    up.add_argument("--only", metavar="NAMES", help="these servers alone, separated by commas")
    up.add_argument("--with", dest="besides", metavar="NAMES", help="these besides: prometheus, toxiproxy, postgresql")
    up.add_argument("--foreground", action="store_true", help="keep the servers only while this command lives")
    up.add_argument("--free-ports", action="store_true", help="take free ports instead of the defaults")
    up.add_argument("--secured", action="store_true", help="let servers want TLS and credentials; for a new stack")
    up.add_argument("--own", action="store_true", help="start servers even where the environment has an address")
    group = up.add_argument_group("ports")
    for name, port in PORTS.items():
        option, variable = f"--{name.replace('_', '-')}-port", port_variable(name)
        group.add_argument(option, dest=f"port_{name}", metavar="PORT", help=f"{variable} ({port})")
    up.set_defaults(run=run_up)


def settings_of(options: argparse.Namespace) -> Settings:
    """The stack that the options and the environment speak of."""
    given = {name: getattr(options, f"port_{name}", None) for name in PORTS}
    wanted = {
        name: parse_port(text, f"--{name.replace('_', '-')}-port") for name, text in given.items() if text is not None
    }
    return read_settings(
        os.environ,
        name=options.name,
        data=options.data,
        ports=wanted,
        free_ports=getattr(options, "free_ports", False),
        own=getattr(options, "own", False),
        secured=getattr(options, "secured", False),
    )


def stack_of(options: argparse.Namespace) -> Stack:
    """The stack that the options and the environment speak of."""
    return Stack(settings_of(options), terminal_reporter())


def run_up(options: argparse.Namespace) -> int:
    """Start what does not run; with --foreground stay until told to end."""
    only = chosen(options.only, options.besides)
    for number in (signal.SIGTERM, signal.SIGINT):  # SIGINT too: a shell lets background jobs ignore it
        signal.signal(number, raise_interrupt)
    if options.foreground:
        return keep_until_told(settings_of(options), only, terminal_reporter())
    stack = stack_of(options)
    starts = stack.up(only)
    print_next_steps(stack, all_running=all(start.what != "started" for start in starts))
    return EXIT_FINE


def chosen(only: str | None, besides: str | None) -> list[str] | None:
    """The names of the servers to start, from the two options; None for the default ones alone."""
    if besides is None:
        return None if only is None else names(only)
    return [*([definition.name for definition in DEFAULT] if only is None else names(only)), *names(besides)]


def names(text: str) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def raise_interrupt(*_: object) -> NoReturn:
    """End by any of the signals: started servers are stopped on the way out."""
    raise KeyboardInterrupt


def print_next_steps(stack: Stack, *, all_running: bool) -> None:
    """Say where everything is."""
    command = stack.settings.command
    print(f"The stack {stack.settings.name!r} {'was running already' if all_running else 'is up'}.")
    variables = stack.environment()
    for title, name in (("Web UI", "ONCELOG_TEMPORAL_UI_URL"), ("Prometheus", "ONCELOG_PROMETHEUS_URL")):
        if name in variables:
            print(f"  {title:10}  {variables[name]}")
    print(f'  variables   eval "$({command("env")})"')
    print(f"  how it is   {command('status')}")
    print(f"  end it      {command('down')}")


def run_down(options: argparse.Namespace) -> int:
    """End everything of this stack; nothing to do is no failure."""
    stack = stack_of(options)
    ended = stack.down(wipe=options.wipe)
    wiped = f" Its data in {stack.data} is deleted." if options.wipe else ""
    what = f"Ended: {', '.join(ended)}." if ended else f"No server of {stack.settings.name!r} was running."
    print(what + wiped)
    return EXIT_FINE


def run_status(options: argparse.Namespace) -> int:
    """Show every server; 3 when one is not well."""
    reports = show.reports(stack_of(options))
    if options.json:
        print(json.dumps(reports, indent=2))
    else:
        show.print_table(reports)
    return EXIT_FINE if all(report["healthy"] for report in reports) else EXIT_UNREACHABLE


def run_env(options: argparse.Namespace) -> int:
    """Print the variables."""
    variables = stack_of(options).environment()
    if options.json:
        print(json.dumps(variables, indent=2))
    else:
        print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()))
    return EXIT_FINE


def run_program(options: argparse.Namespace) -> int:
    """Start a program beside the servers, with the stack's variables in its environment."""
    log = run_beside(stack_of(options), options.program, options.argv, until=options.until)
    print(f"{options.program} runs beside the servers; its log is {log}")
    return EXIT_FINE


def run_logs(options: argparse.Namespace) -> int:
    """Print the last lines of one or all logs, and go on if asked."""
    stack = stack_of(options)
    chosen = [stack.server(options.server)] if options.server else stack.servers
    if own := [server for server in chosen if not server.is_external]:
        for server in own:
            print(f"==> {server.name}: {server.log_path} <==\n{process.log_tail(server.log_path, options.lines)}\n")
        if options.follow:
            show.follow({server.name: server.log_path for server in own})
        return EXIT_FINE
    raise UsageError(f"{', '.join(server.name for server in chosen)}: run by others, so there is no log here")
