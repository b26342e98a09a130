"""The checker's score: ``python -m tests.verification.score`` plants every damage and hunts every broken version.

Ends with exit code 1 unless each was caught under its own code and nothing was found where nothing is wrong.
"""

import asyncio
import logging
import sys

import structlog
from rich.console import Console
from rich.table import Table

from oncelog.checks.verify import nothing_in_flight, verify
from oncelog.domain.aggregates import registered
from oncelog.verification.findings import Severity
from tests.own_domain import ACCOUNT
from tests.verification import (
    archive_damage,
    broken,
    broken_unique,
    bulk_damage,
    container_damage,
    damage,
    graph_damage,
    own_damage,
    reference_damage,
    seen,
    topic_damage,
    unique_damage,
)
from tests.verification.broken import Hunt, hunt

BROKEN_SCHEDULES_MAX = 1_000
HARMLESS_SCHEDULES = 200


async def planted() -> list[tuple[str, str, bool]]:
    """Return each kind of damage, its code, and whether it was caught under it; healthy ones count as caught if not."""
    rows = []
    healthy = await verify((await damage.healthy()).sources, in_flight=nothing_in_flight)
    rows.append(("nothing", "nothing", not healthy.findings))
    for kind in damage.PLANTED:
        world = await damage.healthy()
        await damage.planted(kind, world)
        found = await verify(world.sources, in_flight=nothing_in_flight)
        rows.append((kind.name, str(kind.code), kind.is_named_by(found.findings)))
    plantings = {
        "bulk commands": bulk_damage,
        "a class and its graph": graph_damage,
        "indices": container_damage,
        "topics": topic_damage,
        "an archive": archive_damage,
        "unique values": unique_damage,
        "references that must exist": reference_damage,
        "aggregates of one's own": own_damage,
    }
    for what, planting in plantings.items():
        sound = await verify((await planting.healthy()).sources, in_flight=nothing_in_flight)
        rows.append((f"nothing, with {what}", "nothing", not sound.findings))
        for kind in planting.PLANTED:
            world = await planting.healthy()
            await damage.planted(kind, world)
            found = await verify(world.sources, in_flight=nothing_in_flight)
            rows.append((kind.name, str(kind.code), kind.is_named_by(found.findings)))
    world, recorder = await seen.healthy()
    told = await verify(world.sources, in_flight=nothing_in_flight, history=recorder.history)
    rows.append(("nothing, with a history", "nothing", not told.findings))
    for untruth in seen.UNTRUE:
        world, recorder = await seen.healthy()
        untruth.plant(world, recorder)
        found = await verify(world.sources, in_flight=nothing_in_flight, history=recorder.history)
        rows.append((untruth.name, str(untruth.code), untruth.code in {finding.code for finding in found.findings}))
    return rows


def hunted() -> list[Hunt]:
    """Hunt every version."""
    return [
        hunt(version, schedules_max=BROKEN_SCHEDULES_MAX if version.codes else HARMLESS_SCHEDULES)
        for version in (*broken.VERSIONS, *broken_unique.VERSIONS)
    ]


def main() -> None:
    """Print the score."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # of tasks that a schedule lets die on purpose
    with registered(ACCOUNT):
        rows = asyncio.run(planted())
    hunts = hunted()
    console = Console(width=150)
    table = Table("planted damage", "code", "caught", box=None)
    for name, code, caught in rows:
        table.add_row(name, code, "yes" if caught else "NO")
    console.print(table)
    versions = Table("version of the system", "schedules", "found", "as it must be", box=None)
    for one in hunts:
        codes = ", ".join(one.report.counts.get(Severity.VIOLATION, {})) if one.caught else "nothing"
        right = one.caught == bool(one.version.codes)
        versions.add_row(one.version.name, str(one.schedules), codes, "yes" if right else "NO")
    console.print(versions)
    broken = [one for one in hunts if one.version.codes]
    harmless = [one for one in hunts if not one.version.codes]
    caught_rows = sum(caught for _, code, caught in rows if code != "nothing")
    console.print(
        f"planted damage caught: {caught_rows} of {sum(code != 'nothing' for _, code, _ in rows)}; "
        f"broken versions caught: {sum(one.caught for one in broken)} of {len(broken)}; "
        f"false alarms: {sum(one.caught for one in harmless) + sum(not c for _, code, c in rows if code == 'nothing')}"
    )
    sys.exit(not (all(c for _, _, c in rows) and all(one.caught == bool(one.version.codes) for one in hunts)))


if __name__ == "__main__":
    main()
