"""A sample of the mutants of write path, reconciliation and read models, run by the tests in memory that reach them.

``python -m tests.mutation.sample --count 160 --seed 11`` goes on where an earlier run ended: how each mutant ended lies
in ``mutants/results.jsonl``. ``--again`` runs the survivors once more, with the tests as they are now. Everything is
loaded once, so that files may change meanwhile.
"""

import argparse
import difflib
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module
from itertools import accumulate
from math import inf
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.operators import Mutant, mutants_of
from tests.mutation.swapping import MutantUnfit, swapper
from tests.mutation.trials import Ended, Trials, Verdict, measured

ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / "mutants"  # ignored by git
TESTS = ("tests/write", "tests/read_models", "tests/projector", "tests/contract", "tests/query", "tests/machine")
UNREACHED = "reached by no test"
NOT_NOTICED = (Verdict.SURVIVED, UNREACHED)
TEST_LIMIT_S = 20.0  # and ten times what it took without a mutant
BUDGET_S = 45.0  # of tests of one mutant, as long as they take while coverage is measured
#: The areas of the sample, each with the part of it that it gets; a file belongs to the first area that names it.
AREAS: dict[str, tuple[float, Sequence[str]]] = {
    "append protocol": (
        0.5,
        [f"write/{name}.py" for name in ("commit", "stream_head", "lease_queue", "publication", "delivery")]
        + ["write/command_outcomes.py", "bulk/chunk*.py", "bulk/delivery.py"],
    ),
    "projector": (0.15, ["read_models/projector/*"]),
    "read models": (0.13, ["read_models/*"]),
    "reconciliation": (0.12, ["reconcile/*"]),
    "other writing and replay": (0.1, ["write/*", "bulk/*", "replay/*"]),
}
#: Runs in a process of its own, in which nothing is planted; tests/write/test_judge.py starts it.
LEFT_OUT = "write/judge_process.py"


@dataclass(frozen=True)
class Options:
    """The command line."""

    count: int
    seed: int
    again: bool
    test_max_s: float
    tests: Sequence[str]


def areas() -> dict[str, list[Mutant]]:
    """Return all mutants by area."""
    found: dict[str, list[Mutant]] = {area: [] for area in AREAS}
    for file in sorted((ROOT / "oncelog").rglob("*.py")):
        name = str(file.relative_to(ROOT / "oncelog"))
        area = next((area for area, (_, names) in AREAS.items() if any(fnmatch(name, each) for each in names)), None)
        if area and name != LEFT_OUT:
            found[area] += mutants_of(str(file.relative_to(ROOT)), file.read_bytes())
    return found


def sample(mutants: dict[str, list[Mutant]], options: Options) -> Iterator[Mutant]:
    """Return each area's part in an order that the seed decides; changes of the source leave most of it as it was."""

    def lot(mutant: Mutant) -> bytes:
        return hashlib.sha256(f"{options.seed} {mutant.identity}".encode()).digest()

    for area, found in mutants.items():
        yield from sorted(found, key=lot)[: round(options.count * AREAS[area][0])]


class Results:
    """How each mutant ended, one line of JSON each; the last one of a mutant counts."""

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self.ended: dict[str, dict[str, Any]] = {line["mutant"]: line for line in map(json.loads, lines)}

    def add(self, mutant: Mutant, verdict: str, ended: Ended | None, diff: str) -> None:
        """Keep and print one more."""
        where = f"{mutant.path} {mutant.function}: {mutant.operator}"
        line: dict[str, Any] = {"mutant": mutant.identity, "where": where, "verdict": verdict, "diff": diff}
        line |= {"test": ended.test, "duration_s": ended.duration_s} if ended else {}
        self.ended[mutant.identity] = line
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{verdict:9} {mutant.identity} {where}   {ended.duration_s if ended else 0:g} s", flush=True)

    def report(self, identities: Sequence[str]) -> None:
        """Print the survivors of the sample with their diffs, and its score."""
        ended = [self.ended[identity] for identity in identities if identity in self.ended]
        for line in ended:
            if line["verdict"] in NOT_NOTICED:
                print(f"\n{line['verdict']}: {line['mutant']} {line['where']}\n{line['diff']}")
        counts = Counter(line["verdict"] for line in ended)
        killed = counts[Verdict.KILLED] + counts[Verdict.TIMED_OUT]
        print(f"\n{killed} of {len(ended)} mutants were noticed: {dict(counts)}")


def tests_of(mutant: Mutant, reached: dict[str, Any], durations_s: dict[str, float], *, test_max_s: float) -> list[str]:
    """Return the tests that reach the mutant's lines, the quickest first, up to ``BUDGET_S``."""
    lines = reached.get(str(ROOT / mutant.path), {})
    first, last = mutant.lines
    tests = {test for number in range(first, last + 1) for test in lines.get(str(number), []) if test}
    quick = sorted((durations_s[test], test) for test in tests if durations_s.get(test, inf) <= test_max_s)
    spent_s = list(accumulate(took_s for took_s, _ in quick))
    return [test for (_, test), until_s in zip(quick, spent_s, strict=True) if until_s <= BUDGET_S]


def known(trials: Trials) -> tuple[dict[str, Any], dict[str, float]]:
    """Return what ``measured`` returns, from a file if these tests of this code have been measured before."""
    digest = hashlib.sha256("".join(trials.items).encode())
    for file in sorted(file for folder in ("oncelog", "tests") for file in (ROOT / folder).rglob("*.py")):
        if file.parent != Path(__file__).parent:
            digest.update(file.read_bytes())
    file = OUTPUT / f"reached-{digest.hexdigest()[:12]}.json"
    if not file.exists():
        folders = [ROOT / "oncelog" / name for name in ("write", "bulk", "reconcile", "replay", "read_models")]
        file.write_text(json.dumps(measured(trials, folders, OUTPUT / "clean.log")))
    reached, durations_s = json.loads(file.read_text())
    return reached, durations_s


def diff_of(mutant: Mutant, source: bytes) -> str:
    """Return the change as a unified diff without context."""
    before, after = source.decode().splitlines(), mutant.applied(source).decode().splitlines()
    lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))
    return "\n".join(lines[2:])


def trying(mutants: Sequence[Mutant], results: Results, options: Options) -> Callable[[Trials], None]:
    """Return the use of the collected tests: learn which reach what, then run the mutants."""
    sources = {mutant.path: (ROOT / mutant.path).read_bytes() for mutant in mutants}

    def use(trials: Trials) -> None:
        for path in sources:
            import_module(path.removesuffix(".py").replace("/", "."))
        reached, durations_s = known(trials)
        print(f"{len(trials.items)} tests pass without a mutant, in {sum(durations_s.values()):.0f} s", flush=True)
        for mutant in mutants:
            tests = tests_of(mutant, reached, durations_s, test_max_s=options.test_max_s)
            diff = diff_of(mutant, sources[mutant.path])
            if not tests:
                results.add(mutant, UNREACHED, None, diff)
                continue
            try:
                plant = swapper(ROOT / mutant.path, mutant.function, mutant.applied(sources[mutant.path]))
            except MutantUnfit as error:
                results.add(mutant, str(error), None, diff)
                continue
            limits_s = {test: TEST_LIMIT_S + 10 * durations_s[test] for test in tests}
            ended = trials.run(tests, plant=plant, limits_s=limits_s, output=OUTPUT / "last.log")
            results.add(mutant, ended.verdict, ended, diff)

    return use


def main() -> int:
    """Run the sample and print its score and every mutant that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--again", action="store_true", help="those that survived so far, and no others")
    parser.add_argument("--test-max-s", type=float, default=3.0, help="leave out tests that take longer")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="only these files or folders")
    options = Options(**vars(parser.parse_args()))
    OUTPUT.mkdir(exist_ok=True)
    results = Results(OUTPUT / "results.jsonl")
    mutants = areas()
    if options.again:
        chosen = [mutant for found in mutants.values() for mutant in found if mutant.identity in results.ended]
        due = [mutant for mutant in chosen if results.ended[mutant.identity]["verdict"] in NOT_NOTICED]
    else:
        chosen = list(sample(mutants, options))
        due = [mutant for mutant in chosen if mutant.identity not in results.ended]
    if due:
        arguments = [
            "-q",
            "-s",
            "-p",
            "no:cacheprovider",
            "-m",
            "not integration and not deep and not slow",
            *options.tests,
        ]
        code = pytest.main(arguments, plugins=[Trials(trying(due, results, options))])
        if code not in (0, 5):
            return int(code)
    results.report([mutant.identity for mutant in chosen])
    return 0


if __name__ == "__main__":
    sys.exit(main())
