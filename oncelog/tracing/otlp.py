"""Spans by OpenTelemetry's SDK, exported by OTLP. Imported only where an endpoint is configured."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from oncelog.domain.stored_names import SEQUENCE_NUMBER_HEADER, TRACEPARENT_HEADER
from oncelog.errors import SettingsInvalid
from oncelog.tracing import ENDPOINTS, Headers, Message

SERVICE_NAME = "service.name"
#: By OpenTelemetry's name of the protocol, the entry point of its exporter; the first is the default.
EXPORTERS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
#: How long the end of a program may be held up by a collector that does not answer.
CLOSE_TIMEOUT_S = 3.0
SEQUENCE_NUMBER_DIGITS_MAX = 19

Attributes = Mapping[str, object]

_PROPAGATOR = TraceContextTextMapPropagator()


def exporting(service: str, environment: Mapping[str, str]) -> "OtlpSpans":
    """Return spans of the application's own provider if it has set one, else of one that exports by OTLP.

    Raises SettingsInvalid, and ImportError where the exporter of the protocol is not installed.
    """
    own = trace.get_tracer_provider()
    if not isinstance(own, trace.ProxyTracerProvider):
        return OtlpSpans(own.get_tracer("oncelog"), close=lambda: None)
    exporter = _exporter(environment)
    resource = Resource.create({SERVICE_NAME: service}).merge(OTELResourceDetector().detect())
    # Without events: an exception's would hold its text and those of its causes, which may cite users' data.
    provider = TracerProvider(resource=resource, span_limits=SpanLimits(max_events=0))
    provider.add_span_processor(BatchSpanProcessor(exporter()))
    return OtlpSpans(provider.get_tracer("oncelog"), close=provider.shutdown)


def _exporter(environment: Mapping[str, str]) -> Callable[[], SpanExporter]:
    endpoint_name = next(name for name in ENDPOINTS if environment.get(name))
    protocol_name = next((name for name in PROTOCOLS if environment.get(name)), PROTOCOLS[-1])
    protocol = environment.get(protocol_name) or next(iter(EXPORTERS))
    if protocol not in EXPORTERS:
        raise SettingsInvalid(f"{protocol_name}: expected {' or '.join(EXPORTERS)}, found {protocol!r}")
    if protocol != "grpc" and not environment[endpoint_name].startswith(("http://", "https://")):
        raise SettingsInvalid(f"{endpoint_name}: expected http:// or https:// and host:port, found another address")
    (found,) = entry_points(group="opentelemetry_traces_exporter", name=EXPORTERS[protocol]) or (None,)
    if found is None:
        raise ImportError(f"{protocol_name} {protocol}: its exporter is not installed")
    exporter: Callable[[], SpanExporter] = found.load()
    return exporter


class OtlpSpans:
    """Spans of one tracer. ``close`` exports the remaining ones."""

    def __init__(self, tracer: Tracer, *, close: Callable[[], object]) -> None:
        self.tracer = tracer
        self._close = close

    def close(self) -> None:
        """Export the remaining spans, or give up after ``CLOSE_TIMEOUT_S``."""
        closing = threading.Thread(target=self._close, name="spans-exported", daemon=True)
        closing.start()
        closing.join(CLOSE_TIMEOUT_S)

    @contextmanager
    def span(self, name: str, attributes: Attributes) -> Iterator[None]:
        """Trace a block."""
        with self._started(name, _named(attributes), SpanKind.INTERNAL):
            yield

    def annotate(self, attributes: Attributes) -> None:
        """Add attributes to the span that is under way."""
        trace.get_current_span().set_attributes(_named(attributes))

    @contextmanager
    def sending(self, topic: str, message: Message) -> Iterator[Headers]:
        """Trace the sending of a message; yields the headers to be sent with it."""
        attributes = {**_of(message), "messaging.system": "kafka", "messaging.destination.name": topic}
        with self._started("publish_event", attributes, SpanKind.PRODUCER):
            carrier: dict[str, str] = {}
            _PROPAGATOR.inject(carrier)
            traceparent = carrier.get(TRACEPARENT_HEADER)
            yield [(TRACEPARENT_HEADER, traceparent.encode())] if traceparent else []

    @contextmanager
    def projecting(self, read_model: str, messages: Sequence[Message]) -> Iterator[None]:
        """Trace a batch in a trace of its own, and each of its messages in that of its command."""
        named = {"oncelog.read_model": read_model, "messaging.system": "kafka"}
        counted: dict[str, str | int] = {**named, "messaging.batch.message_count": len(messages)}
        with self._started("project_batch", counted, SpanKind.CONSUMER, context=Context()) as batch:
            links = [Link(batch.get_span_context())]
            events = [
                self.tracer.start_span(
                    "project_event",
                    context=context,
                    kind=SpanKind.CONSUMER,
                    links=links,
                    attributes={**_of(message), **named},
                )
                for message, context in ((message, _context_of(message)) for message in messages)
                if context is not None
            ]
            try:
                yield
            except BaseException as error:
                for event in events:
                    event.set_status(StatusCode.ERROR, type(error).__name__)
                raise
            finally:
                for event in events:
                    event.end()

    @contextmanager
    def _started(
        self, name: str, attributes: Mapping[str, str | int], kind: SpanKind, *, context: Context | None = None
    ) -> Iterator[Span]:
        """Start a span and make it the current one; of an error it gets the type only: the text may be of any kind."""
        with self.tracer.start_as_current_span(
            name,
            context=context,
            kind=kind,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_status(StatusCode.ERROR, type(error).__name__)
                raise


def _named(attributes: Attributes) -> dict[str, str | int]:
    given = {f"oncelog.{name}": value for name, value in attributes.items() if value is not None}
    return {name: value if isinstance(value, int) else str(value) for name, value in given.items()}


def _of(message: Message) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {"oncelog.aggregate_id": (message.key or b"").decode(errors="replace")}
    number = dict(message.headers).get(SEQUENCE_NUMBER_HEADER, b"")
    if number.isdigit() and len(number) <= SEQUENCE_NUMBER_DIGITS_MAX:
        attributes["oncelog.sequence_number"] = int(number)
    return attributes


def _context_of(message: Message) -> Context | None:
    """Return the trace that a message carries, None where it carries none that can be read."""
    traceparent = dict(message.headers).get(TRACEPARENT_HEADER)
    if traceparent is None:
        return None
    context = _PROPAGATOR.extract({TRACEPARENT_HEADER: traceparent.decode(errors="replace")}, context=Context())
    return context if trace.get_current_span(context).get_span_context().is_valid else None
