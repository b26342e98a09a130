"""The trace of a command as OpenTelemetry has it: from the client over the activities and Kafka to the read model.

Off unless OpenTelemetry's own variables name an endpoint: then nothing of it is imported, and each call here returns at
once. ``otlp`` has the code that exports. A trace names commands, aggregates and sequence numbers, never a payload.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

import structlog

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from oncelog.tracing.otlp import OtlpSpans

#: Of all signals, and of traces alone, which goes before.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

Headers = Sequence[tuple[str, bytes]]

log = structlog.get_logger(__name__)


class Message(Protocol):
    """A message of Kafka, to be sent or received."""

    @property
    def key(self) -> bytes | None:
        """The aggregate ID."""
        ...

    @property
    def headers(self) -> Headers:
        """Names and values."""
        ...


_spans: "OtlpSpans | None" = None
_NO_BLOCK = nullcontext()
_NO_HEADERS: AbstractContextManager[Headers] = nullcontext(())


def is_configured(environment: Mapping[str, str]) -> bool:
    """Return whether OpenTelemetry's variables ask for traces by OTLP, and say where to."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporters = environment.get("OTEL_TRACES_EXPORTER", "otlp").split(",")
    return "otlp" in map(str.strip, exporters) and any(environment.get(name) for name in ENDPOINTS)


def start(service: str) -> None:
    """Export spans from here on if that is configured; the first call in a process counts.

    ``service``: its name unless ``OTEL_SERVICE_NAME`` gives another. Raises SettingsInvalid. Without the packages of
    ``oncelog[otel]`` a warning says so: a platform may set the variables for all programs alike.
    """
    global _spans
    if _spans is not None or not is_configured(os.environ):
        return
    try:
        from oncelog.tracing.otlp import exporting

        _spans = exporting(service, os.environ)
    except ImportError as error:
        log.warning("traces_not_exported", reason=str(error), remedy="install oncelog[otel], or unset OTEL_EXPORTER_*")


def stop() -> None:
    """Export the remaining spans within seconds, even if the collector does not answer."""
    global _spans
    if _spans is not None:
        _spans.close()
        _spans = None


def tracer() -> "Tracer | None":
    """Return the tracer for Temporal's interceptor; None while nothing is exported."""
    return _spans.tracer if _spans is not None else None


def span(name: str, **attributes: object) -> AbstractContextManager[None]:
    """Trace a block, as a child of the span under way.

    ``attributes`` become ``oncelog.…``, as numbers or text; None is left out.
    """
    return _spans.span(name, attributes) if _spans is not None else _NO_BLOCK


def annotate(**attributes: object) -> None:
    """Add attributes to the span that is under way."""
    if _spans is not None:
        _spans.annotate(attributes)


def sending(topic: str, message: Message) -> AbstractContextManager[Headers]:
    """Trace the sending of a message; yields the headers that carry the trace to subscribers."""
    return _spans.sending(topic, message) if _spans is not None else _NO_HEADERS


def projecting(read_model: str, messages: Sequence[Message]) -> AbstractContextManager[None]:
    """Trace a batch: a trace of its own, and in the trace of each message's command a span that links to it."""
    return _spans.projecting(read_model, messages) if _spans is not None else _NO_BLOCK
