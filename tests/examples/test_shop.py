"""The shop on real servers, as ``make example-shop`` runs it."""

import asyncio
import sys

import pytest

from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

AGGREGATES = ",".join(f"examples.shop.aggregates:{name}" for name in ("customer", "payment", "shipment", "stock"))
RUN_TIMEOUT_S = 300


async def test_orders_at_once_never_exceed_the_credit(installation: Installation):
    await (await installation.worker_process(ONCELOG_AGGREGATES=AGGREGATES)).ready()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.shop", "--no-worker"),
        env={
            **installation.variables,
            "TEMPORAL_NAMESPACE": installation.temporal.namespace,
            "ONCELOG_AGGREGATES": AGGREGATES,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(RUN_TIMEOUT_S):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert "{'APPLIED': 3, 'CreditExceeded': 7}" in output.decode()
    assert "{'shipped': 2, 'cancelled: OutOfStock': 1}" in output.decode()
