"""The shop on real servers, as ``make example-shop`` runs it; the page shows the form of its output."""

import asyncio
import sys
from pathlib import Path

import pytest

from examples.shop.aggregates import AGGREGATES
from oncelog.domain.aggregates import registered
from tests.docs.blocks import ROOT, Line, blocks, console_lines
from tests.docs.programs import hold_against
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

VARIABLE = ",".join(f"{aggregate.state.__module__}:{aggregate.name.lower()}" for aggregate in AGGREGATES)
PAGE = ROOT / "docs" / "own-domain.md"
RUN_TIMEOUT_S = 600


def shown_run() -> Line:
    """Return the line of the page that runs the example, with the output shown for it."""
    shown = [line for block in blocks(PAGE) if block.language == "console" for line in console_lines(block)]
    (run,) = [line for line in shown if line.text == "make example-shop"]
    assert run.output
    return run


async def test_shop_ends_its_orders_as_the_page_shows(installation: Installation, tmp_path: Path):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.shop"),
        env={
            **installation.variables,
            "TEMPORAL_NAMESPACE": installation.temporal.namespace,
            "ONCELOG_AGGREGATES": VARIABLE,
            "SHOP_DATABASE_URL": f"sqlite:///{tmp_path / 'shop.sqlite'}",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(RUN_TIMEOUT_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, output.decode()
    hold_against(shown_run(), output.decode())
    with registered(*AGGREGATES):
        await installation.check()
