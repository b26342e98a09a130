"""Traces of this process, exported to a receiver in it."""

from collections.abc import Iterator

import pytest

from oncelog import tracing
from tests.tracing.receiver import Receiver, otlp_receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture
def traced(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Export the spans of this process; ``tracing.stop()`` in a test ends that and sends what is left."""
    for name, value in receiver.variables.items():
        monkeypatch.setenv(name, value)
    tracing.start("oncelog-test")
    yield receiver
    tracing.stop()
