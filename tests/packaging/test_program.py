"""A program's standard output is its own, and its log has one line per entry."""

import json
import os
import subprocess
import sys

import pytest

NATIVE = """
import os
from oncelog.process import keep_standard_output, leave
keep_standard_output()
os.write(1, b"native warning\\n")
print('{"a": 1}')
leave(0)
"""

LOG = """
import structlog
from oncelog.logs import log_to_standard_error
log_to_standard_error()
structlog.get_logger().warning("event_parked", actor="x\\nforged \\x1b[2J", number=3)
"""


RETRIES = """
import asyncio, stamina
from oncelog.logs import log_to_standard_error
log_to_standard_error()
async def read_object(key, left=[2]):
    left[0] -= 1
    if left[0] >= 0:
        raise ConnectionError("no answer")
again = stamina.AsyncRetryingCaller(attempts=3, wait_max=0)
asyncio.run(again(ConnectionError, read_object, "customers/jane"))
"""


#: Entries of ours and of libraries, with all that must not come through.
ENTRIES = r"""
import logging, warnings
import structlog
from oncelog.logs import log_to_standard_error
log_to_standard_error()
structlog.contextvars.bind_contextvars(command_id="c1", aggregate_id="shop/Product/p1", sequence_number=3)
structlog.get_logger("oncelog.ours").info("event_published", where="http://me:canary@host", keys=["\x1b[2J"])
library = logging.getLogger("library")
library.info("body: canary")
library.warning("refused %s", "redis://me:canary@host/0 \x1b[2J\n")
warnings.warn("old")
def fails(payload):
    raise ValueError("at http://me:canary@host \x1b[2J")
try:
    fails("canary")
except ValueError:
    structlog.get_logger("oncelog.ours").exception("step_failed")
"""


def _run(text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    argv, environment = [sys.executable, "-c", text], {**os.environ, **variables}
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True, env=environment)


def test_logs_of_libraries_have_our_format():
    lines = _run(ENTRIES, ONCELOG_LOG_FORMAT="json").stderr.splitlines()
    published, refused, old, failed = map(json.loads, lines)
    context = {"command_id": "c1", "aggregate_id": "shop/Product/p1", "sequence_number": 3}
    for entry in (published, refused, old, failed):
        assert context.items() <= entry.items()
        assert {"timestamp", "level", "logger", "event"} <= entry.keys()
    assert (published["event"], published["logger"], published["level"]) == ("event_published", "oncelog.ours", "info")
    assert published["where"] == "http://host"
    assert published["keys"] == ["\\u001b[2J"]
    assert refused["event"] == "refused redis://host/0 \\u001b[2J\\n"
    assert (old["logger"], old["level"]) == ("py.warnings", "warning")
    assert "ValueError: at http://host" in failed["exception"]


@pytest.mark.parametrize("form", ["console", "json"])
def test_log_has_no_secret_and_no_escape(form: str):
    text = _run(ENTRIES, ONCELOG_LOG_FORMAT=form).stderr
    assert "event_published" in text
    assert "refused" in text
    assert "canary" not in text.replace('fails("canary")', "")
    assert "\x1b" not in text


def test_log_level_leaves_out_lesser_entries():
    text = _run(ENTRIES, ONCELOG_LOG_LEVEL="error").stderr
    assert "step_failed" in text
    assert "event_published" not in text
    assert "refused" not in text


def test_unknown_log_format_names_its_variable():
    program = "from oncelog.cli import main; main(['profiles'])"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "ONCELOG_LOG_FORMAT": "xml"},
    )
    assert (ended.returncode, "ONCELOG_LOG_FORMAT" in ended.stderr) == (2, True), ended.stderr


def test_native_output_goes_to_standard_error():
    ended = _run(NATIVE)
    assert (ended.stdout, ended.stderr) == ('{"a": 1}\n', "native warning\n")


def test_a_log_entry_is_one_line():
    ended = _run(LOG)
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert "\x1b" not in ended.stderr
    assert "forged" in ended.stderr


def test_retries_are_logged_without_their_arguments():
    lines = _run(RETRIES).stderr.splitlines()
    assert ["retry_scheduled" in line and "no answer" in line for line in lines] == [True, True]
    assert "jane" not in "".join(lines)


RUNNING = """
import asyncio, os, signal, sys
from oncelog.program import run_program
async def run(settings, stopping):
    print(type(asyncio.get_running_loop()).__module__)
    os.kill(os.getpid(), signal.Signals[sys.argv[1]])
    await stopping.wait()
    await asyncio.to_thread(print, "stopped")
sys.exit(run_program("oncelog-test", "A test.", run, []))
"""


@pytest.mark.parametrize("told", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("installed", [True, False])
def test_program_ends_when_told_on_either_loop(told: str, *, installed: bool):
    without = "" if installed else "import sys; sys.modules['uvloop'] = None"
    ended = subprocess.run(
        [sys.executable, "-c", without + RUNNING, told], capture_output=True, text=True, timeout=120, check=True
    )
    assert ended.stdout.splitlines() == ["uvloop" if installed else "asyncio.unix_events", "stopped"]


@pytest.mark.parametrize("closed", [1, 2])
def test_closed_descriptors_do_not_end_a_program(closed: int):
    program = "from oncelog.cli import main; main()"
    script = f"exec {closed}>&-; exec {sys.executable} -c '{program}' --help"
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


NATIVE_THREAD = """
import _thread, os, time
from oncelog.client import connection
connection.NATIVE_THREADS_TIMEOUT_S = {limit_s}
def native():  # the threading module knows nothing of it, as of the SDK's threads
    time.sleep({works_s})
    os.write(1, b"left Python")
_thread.start_new_thread(native, ())
"""


def test_exit_awaits_native_threads():
    assert _run(NATIVE_THREAD.format(works_s=0.5, limit_s=60)).stdout == "left Python"


def test_exit_gives_up_on_a_native_thread():
    assert _run(NATIVE_THREAD.format(works_s=3600, limit_s=0.1)).stdout == ""
