"""OpenTelemetry traces under the GenAI conventions: a span per request, and one per call that was made for it.

Spans are made when a request is over, from what its outcome records, so tracing costs nothing while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from equipoise.config import TracesConfig
from equipoise.errors import MissingExtra
from equipoise.gateway.conventions import provider_name
from equipoise.traffic import Attempt, Outcome

_NS = 1_000_000_000


class Traces(Protocol):
    """Where spans go."""

    def request(self, outcome: Outcome, headers: Mapping[str, str], *, operation: str, route: str) -> None:
        """Tell of a request that is over. ``headers`` may name the trace that it belongs to."""
        ...

    def close(self) -> None:
        """Send what is waiting."""
        ...


class NoTraces:
    """Tracing is off."""

    def request(self, outcome: Outcome, headers: Mapping[str, str], *, operation: str, route: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def open_traces(settings: TracesConfig | None) -> Traces:
    """Traces that go to the configured collector, by OTLP over HTTP.

    Raises:
        MissingExtra: the extra ``otel`` is not installed.
    """
    if settings is None:
        return NoTraces()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise MissingExtra("otel", "tracing") from None
    return OtelTraces(settings.service_name, BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.endpoint)))


class OtelTraces:
    """Spans through the OpenTelemetry SDK.

    Args:
        service: its name.
        processor: a span processor of the SDK.
    """

    def __init__(self, service: str, processor: Any) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415
            from opentelemetry.propagate import extract  # noqa: PLC0415
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        except ImportError:
            raise MissingExtra("otel", "tracing") from None
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("equipoise")
        self._trace, self._extract = trace, extract

    def request(self, outcome: Outcome, headers: Mapping[str, str], *, operation: str, route: str) -> None:
        """A span for the request, below the trace that its headers name, and below it one per call."""
        carrier = {name.lower(): headers[name] for name in ("traceparent", "tracestate") if name in headers}
        begun = outcome.finished - outcome.latency_s
        span = self._tracer.start_span(
            f"{operation} {route}",
            context=self._extract(carrier),
            kind=self._trace.SpanKind.SERVER,
            start_time=int(begun * _NS),
            attributes=_plain(
                {
                    "gen_ai.operation.name": operation,
                    "gen_ai.request.model": route,
                    "gen_ai.response.model": outcome.model,
                    "gen_ai.response.finish_reasons": None if outcome.finish is None else (outcome.finish,),
                    "error.type": outcome.error,
                    "equipoise.decision.id": outcome.decision_id,
                    "equipoise.cost.usd": outcome.cost_usd,
                    "equipoise.overhead.seconds": outcome.overhead_s,
                    "equipoise.cache": outcome.cache,
                }
            ),
        )
        if outcome.status in ("failed", "interrupted"):
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR))
        inside = self._trace.set_span_in_context(span)
        for attempt in outcome.attempts:
            self._call(attempt, operation, inside)
        span.end(int(outcome.finished * _NS))

    def _call(self, attempt: Attempt, operation: str, inside: Any) -> None:
        usage = attempt.usage
        span = self._tracer.start_span(
            f"{operation} {attempt.model}",
            context=inside,
            kind=self._trace.SpanKind.CLIENT,
            start_time=int(attempt.started * _NS),
            attributes=_plain(
                {
                    "gen_ai.operation.name": operation,
                    "gen_ai.request.model": attempt.model,
                    "gen_ai.provider.name": provider_name(attempt.model, attempt.deployment),
                    "gen_ai.usage.input_tokens": usage.input_tokens,
                    "gen_ai.usage.output_tokens": usage.output_tokens,
                    "http.response.status_code": attempt.status,
                    "error.type": attempt.error,
                    "equipoise.deployment": attempt.deployment,
                    "equipoise.attempt.kind": attempt.kind,
                    "equipoise.attempt.won": attempt.won,
                    "equipoise.cost.usd": attempt.cost_usd,
                }
            ),
        )
        if attempt.error is not None:
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR))
        span.end(int((attempt.started + attempt.latency_s) * _NS))

    def close(self) -> None:
        """Send what is waiting."""
        self._provider.shutdown()


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}
