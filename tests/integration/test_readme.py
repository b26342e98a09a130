"""README's examples are scripts that run as they stand, on the servers of this test."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

README = Path(__file__).parents[2] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
#: Words of the first example that the test replaces.
ADDRESS, TASK_QUEUE = '"127.0.0.1:7233"', 'task_queue="oncelog"'
RUN_TIMEOUT_S = 300


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_example_of_the_readme_runs(installation: Installation, number: int):
    temporal, settings = installation.temporal, installation.settings
    here = f'"{temporal.service_client.config.target_host}", namespace="{temporal.namespace}"'
    script = EXAMPLES[number].replace(ADDRESS, here).replace(TASK_QUEUE, f'task_queue="{settings.task_queue}"')
    async with installation.worker():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            env={**installation.variables, "TEMPORAL_NAMESPACE": temporal.namespace},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(RUN_TIMEOUT_S):
            output, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    assert output.decode().startswith(("APPLIED shop/Product/", "1 1"))


def test_readme_has_its_examples():
    assert len(EXAMPLES) == 2
    assert ADDRESS in EXAMPLES[0]
    assert TASK_QUEUE in EXAMPLES[0]
