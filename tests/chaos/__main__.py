"""Break things while they work: ``python -m tests.chaos --seed 1 --commands 500 --faults 20``."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import disks
from tests.chaos.plan import kind_names, plan_faults
from tests.chaos.report import as_text, together
from tests.chaos.run import TIME_MAX_S, Size, run

EXIT_FINE, EXIT_FINDINGS, EXIT_INTERRUPTED = 0, 1, 130


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="one run for each")
    parser.add_argument("--commands", type=int, default=500, help="at least so many per run")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--aggregates", type=int, default=50, help="hot ones; others are created besides")
    parser.add_argument("--faults", type=int, default=20, help="per run")
    parser.add_argument(
        "--shop",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="orders of examples/shop among the load, counted in SQL and shipped by a reaction",
    )
    parser.add_argument("--kinds", type=kind_names, help="only these, separated by commas")
    parser.add_argument("--time-max", type=float, default=TIME_MAX_S, metavar="S", help="of load and faults, per run")
    parser.add_argument("--folder", type=Path, default=Path("build/chaos"), help="for reports, histories and logs")
    parser.add_argument("--plan", action="store_true", help="say what would break, and do nothing")
    return parser.parse_args(given)


def main(given: Sequence[str]) -> int:
    """Run; returns 0 if all went well, 1 for findings, 130 after Ctrl-C."""
    asked = _arguments(given)
    if asked.plan:
        for seed in asked.seed:
            print(f"seed {seed}")
            for planned in plan_faults(seed, asked.faults, asked.kinds):
                print(f"  {planned}")
        return EXIT_FINE
    disks.in_own_namespace("tests.chaos", given)
    folder = asked.folder.absolute() / time.strftime("%Y%m%d-%H%M%S")
    reports = {}
    for seed in asked.seed:
        size = Size(
            seed=seed,
            commands=asked.commands,
            clients=asked.clients,
            aggregates=asked.aggregates,
            faults=asked.faults,
            kinds=asked.kinds,
            shop=asked.shop,
            time_max_s=asked.time_max,
        )
        try:
            reports[seed] = asyncio.run(run(size, folder / f"seed-{seed}"))
        except KeyboardInterrupt:
            print(f"interrupted; nothing of it runs on, and logs and history are in {folder}", file=sys.stderr)
            return EXIT_INTERRUPTED
    total = together(reports)
    (folder / "report.json").write_text(json.dumps(total, indent=2) + "\n")
    print(as_text(total))
    return EXIT_FINE if total["well"] else EXIT_FINDINGS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
