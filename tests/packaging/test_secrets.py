"""No password of an address shows in settings, errors, or what an activity leaves in a workflow's history."""

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from oncelog.activities.failures import FAILURE_BYTES_MAX, FailureInterceptor
from oncelog.errors import LogDamaged, SettingsInvalid, StoreUnavailable, redacted
from oncelog.settings import ElasticsearchSettings, RedisSettings, Settings, TerminusdbSettings
from oncelog.stores.elasticsearch.server import ElasticsearchServer
from oncelog.stores.redis.server import RedisServer
from oncelog.stores.terminusdb.server import TerminusServer

CANARY = "canary-6f1d"
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
