"""The command line starts at once: heavy imports wait until a command needs them."""

import subprocess
import sys

import pytest

#: Distributions that take longer to import than all of the command line. Typer itself loads pydantic for options.
HEAVY = {
    "temporalio",
    "boto3",
    "botocore",
    "elasticsearch",
    "aiokafka",
    "aiohttp",
    "redis",
    "pyarrow",
    "httpx",
}

HELP = """
import sys
from oncelog.cli.app import app
try:
    app({arguments!r})
except SystemExit:
    pass
print(*sorted({{name.partition(".")[0] for name in sys.modules}}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["submit", "--help"],
        ["replay", "start", "--help"],
        ["dead-letters", "list", "--help"],
    ],
    ids=" ".join,
)
def test_help_loads_no_client_of_a_server(arguments: list[str]):
    found = subprocess.run(
        [sys.executable, "-c", HELP.format(arguments=arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert HEAVY & set(found.stderr.split()) == set()
    assert found.stdout
