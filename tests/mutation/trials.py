"""Tests run again and again in one collected session, each time in a forked process with another fault planted.

Interpreter, imports and collection cost seconds, most mutants a fraction of one; and nothing is written into the tree.
"""

import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

MEMORY_BYTES_MAX = 6 << 30  # a mutant that never ends must not take the machine with it

START_LIMIT_S = 60.0  # until the first test begins, and from the end of the last one


class Verdict(StrEnum):
    """How a trial ended."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"


@dataclass(frozen=True)
class Ended:
    """The end of a trial. ``test``: the first one that failed, or that the time limit interrupted."""

    verdict: Verdict
    test: str = ""
    duration_s: float = 0.0


class Trials:
    """A plugin of pytest: calls ``use`` once all tests are collected, in place of running them."""

    def __init__(self, use: Callable[["Trials"], None]) -> None:
        self._use = use
        self.items: dict[str, pytest.Item] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("a test module cannot be imported")
        self.items = {item.nodeid: item for item in session.items}
        self._use(self)
        return True

    def run(
        self, tests: Sequence[str], *, plant: Callable[[], None], limits_s: Mapping[str, float], output: Path
    ) -> Ended:
        """Run the tests in this order until the first fails, in a process of their own in which a fault is planted.

        ``limits_s``: how long each test may take, seconds.
        """
        reading, writing = os.pipe()
        started_s = time.monotonic()
        child = os.fork()
        if not child:
            os.close(reading)
            _in_child(writing, output, lambda pipe: self._run_here(tests, plant, pipe))
        os.close(writing)
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            told, in_time = _read_until_closed(pipe, limits_s)
        _end_group(child)
        os.waitpid(child, 0)
        lines = told.decode().splitlines()
        last = lines[-1].split(" ", 1) if lines else ["failed", "before the first test"]
        test = last[1] if len(last) > 1 else ""
        verdict = Verdict.SURVIVED if last[0] == "done" else Verdict.KILLED if in_time else Verdict.TIMED_OUT
        return Ended(verdict, test, round(time.monotonic() - started_s, 1))

    def _run_here(self, tests: Sequence[str], plant: Callable[[], None], pipe: int) -> None:
        plant()
        outcome = _Outcome()
        items = [self.items[test] for test in tests]
        if items:
            items[0].session.config.pluginmanager.register(outcome)
        for item, following in zip(items, [*items[1:], None], strict=True):
            os.write(pipe, f"running {item.nodeid}\n".encode())
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if outcome.failed:
                os.write(pipe, f"failed {item.nodeid}\n".encode())
                return
        os.write(pipe, b"done\n")


@dataclass(eq=False)
class _Outcome:
    """A plugin of pytest: remembers which tests have failed, and how long each took."""

    failed: set[str] = field(default_factory=set)
    durations_s: dict[str, float] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
            print(f"\n{report.nodeid}, {report.when}:\n{report.longreprtext}", flush=True)
        self.durations_s[report.nodeid] = self.durations_s.get(report.nodeid, 0.0) + report.duration


def measured(trials: Trials, folders: Sequence[Path], output: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Run all tests once; returns which of them reach which line of the folders' files, and how long each takes.

    Tests that fail without a mutant are named and left out of both. The lines: ``{path: {line: [test]}}``; durations in
    seconds. Raises RuntimeError if the run does not come to its end.
    """
    answer = output.with_suffix(".json")
    answer.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        _in_child(1, output, lambda _: answer.write_text(json.dumps(_measure_here(trials, folders))))
    os.waitpid(child, 0)
    _end_group(child)
    if not answer.exists():
        raise RuntimeError(f"the run without a mutant came to no end, see {output}")
    reached, durations_s, failed = json.loads(answer.read_text())
    if failed:
        print(f"left out, since they fail without a mutant: {', '.join(failed)}", flush=True)
    return reached, durations_s


def _measure_here(trials: Trials, folders: Sequence[Path]) -> tuple[dict[str, Any], dict[str, float], list[str]]:
    from coverage import Coverage  # only `make mutate` needs it

    coverage = Coverage(data_file=None, config_file=False, include=[f"{folder}/*" for folder in folders])
    outcome = _Outcome()
    items = list(trials.items.values())
    items[0].session.config.pluginmanager.register(outcome)
    coverage.start()
    for item, following in zip(items, [*items[1:], None], strict=True):
        coverage.switch_context(item.nodeid)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    coverage.stop()
    data = coverage.get_data()
    reached = {path: data.contexts_by_lineno(path) for path in data.measured_files()}
    durations_s = {test: took for test, took in outcome.durations_s.items() if test not in outcome.failed}
    return reached, durations_s, sorted(outcome.failed)


def _in_child(pipe: int, output: Path, run: Callable[[int], object]) -> None:
    """Run in a process group of its own that can be ended as a whole, with its output in a file; never returns."""
    code = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
        kept = os.dup(pipe)
        with output.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        run(kept)
        code = 0
    except BaseException:  # noqa: BLE001 - a person reads of it in the file
        traceback.print_exc(file=sys.stdout)
    finally:
        sys.stdout.flush()
        os._exit(code)


def _read_until_closed(pipe: Any, limits_s: Mapping[str, float]) -> tuple[bytes, bool]:
    """Return all that is told, and whether that came to its end before one of the tests passed its limit."""
    told, limit_s = b"", START_LIMIT_S
    while select.select([pipe], [], [], limit_s)[0]:
        data = pipe.read(1 << 16)
        if not data:
            return told, True
        told += data
        limit_s = limits_s.get(told.decode().splitlines()[-1].removeprefix("running "), START_LIMIT_S)
    return told, False


def _end_group(child: int) -> None:
    """End all that a process of ours has started, and itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
