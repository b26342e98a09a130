"""The example of an application's own tests, run as its README says."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.blocks import readme_line

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
RUN_TIMEOUT_S = 300


async def test_tests_of_ones_own_pass(environment: Mapping[str, str]):
    _, *arguments = readme_line("own_tests", "pytest")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(RUN_TIMEOUT_S):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"2 passed" in output
