"""No password of an address shows in settings, errors, or what an activity leaves in a workflow's history."""

import base64
import os
import re
import subprocess
import sys
import traceback

import pytest
from pydantic import SecretStr
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from oncelog.activities.failures import FAILURE_BYTES_MAX, FailureInterceptor
from oncelog.errors import LogDamaged, SettingsInvalid, StoreUnavailable, redacted
from oncelog.settings import ElasticsearchSettings, RedisSettings, Settings, TerminusdbSettings, variables
from oncelog.stores.elasticsearch.server import ElasticsearchServer
from oncelog.stores.redis.server import RedisServer
from oncelog.stores.terminusdb.server import TerminusServer

CANARY = "canary-6f1d"
NOWHERE = "127.0.0.1:1"


def _types(annotation: object) -> tuple[object, ...]:
    """Return the members of a union, or the one type that it is."""
    return getattr(annotation, "__args__", (annotation,))


SECRETS = sorted(name for name, field in variables(Settings) if SecretStr in _types(field.annotation))
INPUT = ExecuteActivityInput(fn=redacted, args=[], executor=None, headers={})


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"http://elastic:{CANARY}@host:9200", "http://host:9200"),
        (f"https://a:{CANARY}@h1:9200,https://b:{CANARY}@h2:9200", "https://h1:9200,https://h2:9200"),
        (f"found 'redis://:{CANARY}@[::1]:6379/0', sorry", "found 'redis://[::1]:6379/0', sorry"),
        (f"http://u:{CANARY}/with@slash@host", "http://host"),
        (f"Temporal at user:{CANARY}@127.0.0.1:1 gave", "Temporal at 127.0.0.1:1 gave"),
        (f"found 'admin:{CANARY}@127.0.0.1': no address", "found '127.0.0.1': no address"),
        ("like http://user:password@127.0.0.1:6363, found", "like http://user:password@127.0.0.1:6363, found"),
        ("mail me@example.org", "mail me@example.org"),
        ("http://host:9200/path", "http://host:9200/path"),
    ],
)
def test_credentials_are_removed_from_a_url(text: str, clean: str):
    assert redacted(text) == clean


def test_errors_hold_no_credentials():
    url = f"http://elastic:{CANARY}@host:9200"
    for error in (
        StoreUnavailable(f"Elasticsearch at {url}", "writing", url),
        SettingsInvalid(f"found {url!r}", url=url),
    ):
        assert CANARY not in f"{error} {error!r} {error.message} {error.details}"


def test_settings_show_no_credentials(monkeypatch: pytest.MonkeyPatch):
    for name in ("REDIS", "ELASTICSEARCH", "TERMINUSDB"):
        monkeypatch.setenv(f"ONCELOG_{name}_URL", f"http://user:{CANARY}@host:1")
    assert CANARY not in repr(Settings.from_environment())
    monkeypatch.setenv("ONCELOG_CRASH_AFTER", f"http://user:{CANARY}@host")
    with pytest.raises(SettingsInvalid) as caught:
        Settings.from_environment()
    assert CANARY not in str(caught.value)


def test_every_setting_that_names_a_secret_is_one():
    named = [name for name, _ in variables(Settings) if re.search(r"PASSWORD|SECRET|TOKEN$|API_KEY|SIGNING_KEY", name)]
    assert named == [name for name in named if name in SECRETS]
    assert len(SECRETS) > 8


@pytest.mark.parametrize("name", SECRETS)
def test_secret_shows_neither_accepted_nor_refused(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, CANARY)
    try:
        settings = Settings.from_environment()
        shown = f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    except SettingsInvalid as error:
        shown = "".join(traceback.format_exception(error))
    assert CANARY not in shown


@pytest.mark.parametrize("program", [["oncelog.worker"], ["oncelog.projector"], ["oncelog.cli", "doctor", "--json"]])
def test_program_that_reaches_no_server_tells_no_secret(program: list[str]):
    module, *arguments = program
    secrets = {name: f"{CANARY}-{number}" for number, name in enumerate(sorted(SECRETS_THAT_GO_TOGETHER))}
    secrets["ONCELOG_SIGNING_KEY"] = base64.b64encode(f"{CANARY:32.32}".encode()).decode()
    script = f"import sys; from {module} import main; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, **ELSEWHERE, **secrets},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    printed = ended.stdout + ended.stderr
    assert ended.returncode == 3, printed
    assert NOWHERE in printed
    assert [secret for secret in (CANARY, *secrets.values()) if secret in printed] == []


#: Servers that do not answer, asked with a credential each.
ELSEWHERE = {
    "TEMPORAL_ADDRESS": NOWHERE,
    "TEMPORAL_TLS": "false",
    "AWS_REGION": "us-east-1",
    "ONCELOG_S3_ENDPOINT_URL": f"http://{NOWHERE}",
    "ONCELOG_REDIS_URL": f"redis://{NOWHERE}/0",
    "ONCELOG_REDIS_USERNAME": "some",
    "ONCELOG_KAFKA_BOOTSTRAP_SERVERS": NOWHERE,
    "ONCELOG_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "ONCELOG_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "ONCELOG_KAFKA_SASL_USERNAME": "some",
    "ONCELOG_ELASTICSEARCH_URL": f"http://{NOWHERE}",
    "ONCELOG_TERMINUSDB_URL": f"http://{NOWHERE}",
}
SECRETS_THAT_GO_TOGETHER = {
    "TEMPORAL_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "ONCELOG_REDIS_PASSWORD",
    "ONCELOG_KAFKA_SASL_PASSWORD",
    "ONCELOG_ELASTICSEARCH_API_KEY",
    "ONCELOG_TERMINUSDB_TOKEN",
}


async def test_store_names_hold_no_credentials():
    settings = Settings(
        elasticsearch=ElasticsearchSettings(url=f"http://elastic:{CANARY}@127.0.0.1:1"),
        redis=RedisSettings(url=f"redis://user:{CANARY}@127.0.0.1:1/0"),
    )
    elasticsearch, redis = ElasticsearchServer(settings), RedisServer.connect(settings)
    terminusdb = TerminusServer(TerminusdbSettings(url=f"http://admin:{CANARY}@127.0.0.1:1"))
    try:
        assert CANARY not in elasticsearch.name + redis.store + terminusdb.name
        for ask in (redis.ping, terminusdb.ping):
            with pytest.raises(StoreUnavailable) as caught:
                await ask()
            assert CANARY not in f"{caught.value} {caught.value.details}"
    finally:
        await elasticsearch.close()
        await redis.close()
        await terminusdb.close()


class _Failing(ActivityInboundInterceptor):
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def execute_activity(self, _: ExecuteActivityInput) -> object:
        raise self._error


async def failure_of(error: Exception) -> ApplicationError:
    interceptor = FailureInterceptor().intercept_activity(_Failing(error))
    with pytest.raises(ApplicationError) as caught:
        await ActivityEnvironment().run(interceptor.execute_activity, INPUT)
    return caught.value


async def test_long_failures_are_cut_and_have_no_cause():
    error = LogDamaged("object o1: damaged; " + "x" * 100_000, found="y" * 100_000)
    error.__cause__ = ValueError("z" * 100_000)
    failure = await failure_of(error)
    assert failure.message.startswith("object o1: damaged; ")
    assert failure.__cause__ is None
    assert len(str([failure.message, failure.details])) < FAILURE_BYTES_MAX
    assert failure.type == "LogDamaged"


async def test_short_failures_keep_their_details():
    failure = await failure_of(LogDamaged("object o1: damaged", where="o1"))
    assert failure.details == ({"where": "o1"},)
