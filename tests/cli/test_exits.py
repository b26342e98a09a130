"""How a program of ours ends."""

import subprocess
import sys

import pytest

from oncelog.cli.exits import explained
from oncelog.errors import InputInvalid, StoreUnavailable

INTERRUPTED = """
import asyncio, os, signal
from oncelog.cli.exits import explained

signal.signal(signal.SIGINT, signal.default_int_handler) # a shell that runs us in the background has it ignored

async def wait():
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(600)

with explained():
    asyncio.run(wait())
"""


def test_ctrl_c_says_that_what_was_submitted_goes_on():
    found = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120, check=False
    )
    assert found.returncode == 130, found.stderr
    assert found.stderr == "interrupted; what was submitted goes on, submit it again to see its result\n"
    assert found.stdout == ""


def test_an_error_is_one_line_and_an_exit_code(capsys: pytest.CaptureFixture[str]):
    for error, code in ((InputInvalid("a [b] c"), 2), (StoreUnavailable("S3", "reading", "gone"), 3)):
        with pytest.raises(SystemExit) as ended, explained():
            raise error
        assert ended.value.code == code
        assert capsys.readouterr().err == f"error {error.code}: {error.message}\n"
