"""Fixtures of all tests on real servers: one stack per session, and names of its own for each test."""

import os
import uuid
from collections.abc import Iterator, Mapping

import pytest
from elasticsearch import Elasticsearch
from hypothesis import settings as hypothesis_settings

from examples.programs import METRICS_VARIABLES
from oncelog.settings import Settings
from stack import Stack
from stack.settings import JAVA_OPTIONS_VARIABLE
from tests.settings import settings_from

hypothesis_settings.register_profile("oncelog", deadline=None)  # timings are never asserted
hypothesis_settings.load_profile("oncelog")

#: Servers of minutes do not earn back what the JVM's second compiler costs. Benchmarks measure with it.
os.environ.setdefault(JAVA_OPTIONS_VARIABLE, "-XX:TieredStopAtLevel=1")

#: Set to "existing", it makes the tests use the servers whose addresses stand in the environment already.
TEST_STACK_VARIABLE = "ONCELOG_TEST_STACK"

OWN_STACK = pytest.StashKey[Stack]()
"""The stack of this session, once a test has asked for it."""


def uses_existing_servers() -> bool:
    return os.environ.get(TEST_STACK_VARIABLE) == "existing"


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """All servers, with throw-away data; a test may kill and start them. Started by the first test that asks."""
    if uses_existing_servers():
        pytest.skip(f"it ends servers, so it wants some of its own; unset {TEST_STACK_VARIABLE}")
    with Stack.temporary() as stack:
        request.config.stash[OWN_STACK] = stack
        yield stack
        del request.config.stash[OWN_STACK]


@pytest.fixture(scope="module", autouse=True)
def no_red_index(request: pytest.FixtureRequest) -> Iterator[None]:
    """A module that leaves a red index fails: Elasticsearch would never be well again for those that restart it."""
    yield
    if (stack := request.config.stash.get(OWN_STACK, None)) is not None:
        with Elasticsearch(stack.server("elasticsearch").address, request_timeout=120) as client:
            patient = client.options(ignore_status=408)  # of a cluster that stays red
            health = patient.cluster.health(level="indices", wait_for_status="yellow", timeout="60s")
        assert [name for name, index in health["indices"].items() if index["status"] == "red"] == []


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Iterator[Mapping[str, str]]:
    """The variables that lead to the servers. AWS' and Temporal's own also stand in ``os.environ`` for their chains."""
    with pytest.MonkeyPatch.context() as patch:
        for name in METRICS_VARIABLES:  # tests start many programs, too
            patch.delenv(name, raising=False)
        if uses_existing_servers():
            yield os.environ
            return
        variables = request.getfixturevalue("stack").environment()
        for name, value in variables.items():
            if name.startswith(("AWS_", "TEMPORAL_")):
                patch.setenv(name, value)
        yield variables


@pytest.fixture
def settings(environment: Mapping[str, str]) -> Iterator[Settings]:
    """Settings that lead to the servers, in a namespace of this test's own."""
    settings = settings_from(environment, namespace=f"t-{uuid.uuid4().hex[:12]}")
    yield settings
    if uses_existing_servers() and "ONCELOG_ELASTICSEARCH_URL" in environment:
        _drop_indices(settings)


def _drop_indices(settings: Settings) -> None:
    """Leave no index on servers that stay up: a node of Elasticsearch holds a thousand shards and no more."""
    with Elasticsearch(settings.elasticsearch.url, request_timeout=120) as client:
        left = list(client.indices.get(index=f"{settings.namespace}.*"))
        if left:
            client.indices.delete(index=left, ignore_unavailable=True)
