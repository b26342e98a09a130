"""A sample of mutmut's mutants of the command path, the projections and the projector, run by the tests in memory.

``python -m tests.mutation.sample --count 120 --seed 11``: all mutants are made (some thousands), the tests are run once
to learn which of them reach which function, and the sample runs, one process at a time. mutmut leaves out functions
with decorators, and so every context manager; ``tests/machine/mutations.py`` plants faults by hand there.
"""

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "mutants"
#: Few mutants, so that making all of them ends soon.
FIRST = "oncelog.read_models.documents_model.*"
#: mutmut's exit code of a mutant to its meaning; any other code is a failed test's.
VERDICTS = {0: "survived", 5: "reached by no test", 33: "reached by no test", None: "not run"}
VERDICTS |= dict.fromkeys((36, 24, -24, 152, 255), "timed out")


def run(names: list[str]) -> None:
    """Run these mutants, at low priority; how each ended lies in mutmut's folder."""
    argv = ["nice", str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", "1", *names]
    subprocess.run(argv, cwd=ROOT, check=True)


def exit_codes() -> dict[str, int | None]:
    """Return the exit code of every mutant, None for those that were not run."""
    found: dict[str, int | None] = {}
    for path in sorted(FOLDER.rglob("*.meta")):
        found |= json.loads(path.read_text())["exit_code_by_key"]
    return found


def main() -> int:
    """Run the sample and print its score and every mutant that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--seed", type=int, default=11)
    chosen = parser.parse_args()
    run([FIRST])
    names = sorted(exit_codes())
    sample = random.Random(f"mutants {chosen.seed}").sample(names, min(chosen.count, len(names)))
    run(sample)
    ended = exit_codes()
    verdicts = {name: VERDICTS.get(ended[name], "noticed") for name in sample}
    for name, verdict in sorted(verdicts.items()):
        if verdict in ("survived", "reached by no test", "not run"):
            print(f"{verdict}: {name}   (mutmut show {name})")
    print(f"seed {chosen.seed}, {len(sample)} of {len(names)} mutants: {dict(Counter(verdicts.values()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
