"""Addresses with secrets that are malformed, or where no server answers: no program prints the secret."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

from oncelog.errors import SettingsInvalid
from oncelog.settings import Settings

CANARY = "canary-3c9f"
BASE64 = base64.b64encode(f"elastic:{CANARY}".encode()).decode()  # as HTTP's basic authentication has it
NOBODY = "127.0.0.1:1"  # refuses every connection
SERVERS = {
    "ONCELOG_S3_ENDPOINT_URL": f"http://{NOBODY}",
    "ONCELOG_REDIS_URL": f"redis://{NOBODY}/0",
    "ONCELOG_KAFKA_BOOTSTRAP_SERVERS": NOBODY,
    "ONCELOG_ELASTICSEARCH_URL": f"http://{NOBODY}",
    "TEMPORAL_ADDRESS": NOBODY,
    "AWS_ACCESS_KEY_ID": "someone",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}-aws",
    "AWS_DEFAULT_REGION": "us-east-1",
}

#: Variable and value of each case; {} is the secret.
ADDRESSES = [
    ("ONCELOG_ELASTICSEARCH_URL", "https://elastic:{}@127.0.0.1:1"),
    ("ONCELOG_ELASTICSEARCH_URL", "elastic:{}@127.0.0.1:1"),
    ("ONCELOG_ELASTICSEARCH_URL", "https://elastic:{}@127.0.0.1:port"),
    ("ONCELOG_ELASTICSEARCH_URL", "https://elastic:{}@[::1"),
    ("ONCELOG_ELASTICSEARCH_URL", "ftp://elastic:{}@127.0.0.1:1"),
    ("ONCELOG_ELASTICSEARCH_URL", "http://elastic:two words {}@127.0.0.1:1"),
    ("ONCELOG_ELASTICSEARCH_URL", "http://elastic:with#{}@127.0.0.1:1"),
    ("ONCELOG_ELASTICSEARCH_URL", "http://elastic:with/{}@127.0.0.1:1"),
    ("ONCELOG_ELASTICSEARCH_URL", "http://elastic:with?{}@127.0.0.1:1"),
    ("ONCELOG_ELASTICSEARCH_URL", "http://elastic:%zz{}@127.0.0.1:1"),
    ("ONCELOG_ELASTICSEARCH_URL", "http://127.0.0.1:1,http://elastic:{}@127.0.0.1:port"),
    ("ONCELOG_ELASTICSEARCH_URL", "http://127.0.0.1:1?api_key={}"),
    ("ONCELOG_REDIS_URL", "redis://user:{}@127.0.0.1:1/0"),
    ("ONCELOG_REDIS_URL", "http://user:{}@127.0.0.1:1/0"),
    ("ONCELOG_REDIS_URL", "user:{}@127.0.0.1:1"),
    ("ONCELOG_REDIS_URL", "redis://:{}@127.0.0.1:port/0"),
    ("ONCELOG_REDIS_URL", "redis://user:{}/x@127.0.0.1:1/0"),
    ("ONCELOG_REDIS_URL", "redis://{}/x@127.0.0.1:1/0"),
    ("ONCELOG_REDIS_URL", "redis://127.0.0.1:1/0?password={}"),
    ("ONCELOG_REDIS_URL", "redis://127.0.0.1:1/0?db={}"),
    ("ONCELOG_S3_ENDPOINT_URL", "http://user:{}@127.0.0.1:1"),
    ("ONCELOG_S3_ENDPOINT_URL", "user:{}@127.0.0.1:1"),
    ("ONCELOG_S3_ENDPOINT_URL", "http://user:{}@127.0.0.1:port"),
    ("ONCELOG_KAFKA_BOOTSTRAP_SERVERS", "user:{}@127.0.0.1:1"),
    ("ONCELOG_KAFKA_BOOTSTRAP_SERVERS", "SASL_PLAINTEXT://user:{}@127.0.0.1:1"),
    ("ONCELOG_TERMINUSDB_URL", "http://admin:{}@127.0.0.1:1"),
    ("ONCELOG_TERMINUSDB_URL", "admin:{}@127.0.0.1:1"),
    ("ONCELOG_TERMINUSDB_URL", "http://admin:{}@127.0.0.1:port"),
    ("TEMPORAL_ADDRESS", "http://user:{}@127.0.0.1:1"),
    ("TEMPORAL_ADDRESS", "user:{}@127.0.0.1:1"),
    ("TEMPORAL_API_KEY", "{}\nof two lines"),
    ("ONCELOG_METRICS_ADDRESS", "user:{}@127.0.0.1:0"),
    ("ONCELOG_PROJECTOR_METRICS_ADDRESS", "user:{}@127.0.0.1:0"),
    ("ONCELOG_TEMPORAL_UI_URL", "http://user:{}@127.0.0.1:1"),
    ("ONCELOG_NAMESPACE", "http://user:{}@127.0.0.1:1"),
    ("ONCELOG_LEASE_MS", "redis://user:{}@127.0.0.1:1"),
    ("ONCELOG_REDS_URL", "redis://user:{}@127.0.0.1:1"),
]

#: Settings that are checked as they are read.
CHECKED = [f"ONCELOG_{server}" for server in ("ELASTICSEARCH_URL", "REDIS_URL", "S3_ENDPOINT_URL", "TERMINUSDB_URL")]
CHECKED += ["ONCELOG_KAFKA_BOOTSTRAP_SERVERS", "ONCELOG_NAMESPACE", "ONCELOG_LEASE_MS", "ONCELOG_REDS_URL"]

WORKER = "from oncelog.worker import main\nend = main([])"
PROJECTOR = "from oncelog.projector import main\nend = main([])"
COMMAND_LINE = """
from oncelog.cli import main
try:
    main({arguments!r})
except SystemExit as exit:
    end = exit.code
"""
PROGRAMS = {"worker": WORKER, "projector": PROJECTOR} | {
    " ".join(arguments[:2]): COMMAND_LINE.format(arguments=arguments)
    for arguments in (
        ("get", "shop/Product/p1"),
        ("submit", "create", "shop/Product/p1", "-p", "{}", "--json"),
        ("search", "shop/Product", "--json"),
        ("verify",),
        ("dead-letters", "list"),
    )
}

#: Runs a program once for each set of variables, all in one process, which takes a fraction of the time of one each.
EACH = """
import json, os, sys, traceback
program = compile(sys.argv[1], "program", "exec")
before = dict(os.environ)
for variables in json.loads(sys.argv[2]):
    os.environ.update(variables)
    end = "none"
    try:
        exec(program, names := {})
        end = names["end"]
    except BaseException as error:
        traceback.print_exc()
        end = "defect"
    os.environ.clear()
    os.environ.update(before)
    sys.stdout.flush()
    print(f"\\nended with {end}\\n--- end of case ---", file=sys.stderr, flush=True)
"""
END_OF_CASE = "\n--- end of case ---\n"


def run_each(program: str, cases: Sequence[Mapping[str, str]]) -> list[str]:
    """Return all that the program prints in each case; the last line says how it ended."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONCELOG_", "AWS_", "TEMPORAL_"))}
    ended = subprocess.run(
        [sys.executable, "-c", EACH, program, json.dumps(cases)],
        env=kept | SERVERS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return ended.stdout.split(END_OF_CASE)[:-1]


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_refused_address_shows_no_secret(program: str):
    printed = run_each(PROGRAMS[program], [{name: value.replace("{}", CANARY)} for name, value in ADDRESSES])
    assert len(printed) == len(ADDRESSES)
    for address, text in zip(ADDRESSES, printed, strict=True):
        assert CANARY not in text, address
        assert BASE64 not in text, address
        assert "Traceback" not in text, (address, text)
        assert text.splitlines()[-1] in ("ended with 2", "ended with 3"), (address, text)


@pytest.mark.parametrize(("name", "value"), [each for each in ADDRESSES if each[0] in CHECKED])
def test_refused_setting_shows_no_secret(name: str, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, value.replace("{}", CANARY))
    try:
        shown = repr(Settings.from_environment())
    except SettingsInvalid as error:
        shown = f"{error} {error.details} {error.__cause__}"
        assert name in shown
    assert CANARY not in shown
