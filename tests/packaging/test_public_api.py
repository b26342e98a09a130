"""The public API: every name is there, and types load no client of any server."""

import subprocess
import sys

import pytest

import oncelog

CLIENTS = {"aiohttp", "aiokafka", "boto3", "elasticsearch", "httpx", "redis", "temporalio"}
CLIENT = {"Answer", "Bulks", "Checks", "Oncelog", "Submission", "new_command_id", "submit_all", "subscribe"}
TYPES = [name for name in oncelog.__all__ if name not in CLIENT]


def test_every_public_name_is_there():
    assert sorted(oncelog.__all__) == sorted({*oncelog._MODULE_OF, "__version__"})  # noqa: SLF001 - the table of lazy imports
    assert all(getattr(oncelog, name) for name in oncelog.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Factory'"):
        _ = oncelog.Factory


def test_types_load_no_client_of_a_server():
    script = f"import sys; from oncelog import {', '.join(TYPES)}; print(*sorted({CLIENTS} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_client_is_loaded_on_first_use():
    script = "import sys, oncelog; oncelog.Oncelog; print('temporalio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
