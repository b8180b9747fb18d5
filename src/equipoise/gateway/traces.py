"""OpenTelemetry traces under the GenAI conventions: a span per request, and one per call that was made for it.

Spans are made when a request is over, from what its outcome records, so tracing costs nothing while it runs.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from equipoise.config import TracesConfig
from equipoise.errors import MissingExtra
from equipoise.gateway.conventions import provider_name
from equipoise.traffic import Attempt, Outcome
from equipoise.version import __version__

_NS = 1_000_000_000
_CLOSING_S = 2.0
# What must be passed on; the SDK's older versions take time in proportion to the square of it.
_MOST_STATE = 512


class Traces(Protocol):
    """Where spans go."""

    @property
    def lost(self) -> int:
        """How many spans the collector has not taken."""
        ...

    @property
    def failing(self) -> bool:
        """Whether the collector did not take the latest."""
        ...

    def request(self, outcome: Outcome, headers: Mapping[str, str], *, operation: str, route: str) -> str | None:
        """Tell of a request that is over, and return the id of its trace, which ``headers`` may name."""
        ...

    def close(self) -> None:
        """Send what is waiting, as far as it is taken at once."""
        ...


class NoTraces:
    """Tracing is off."""

    lost, failing = 0, False

    def request(self, outcome: Outcome, headers: Mapping[str, str], *, operation: str, route: str) -> str | None:
        """Nothing."""
        return None

    def close(self) -> None:
        """Nothing."""


class _Sending:
    """An exporter of the SDK, and how it fares."""

    def __init__(self, exporter: Any, success: Any) -> None:
        self._exporter, self._success = exporter, success
        self.lost, self.failing = 0, False

    def export(self, spans: Sequence[Any]) -> Any:
        """Send spans, and note whether they were taken."""
        result = None
        try:
            result = self._exporter.export(spans)
        finally:
            self.failing = result is not self._success
            self.lost += len(spans) if self.failing else 0
        return result

    def shutdown(self) -> None:
        """Send no more."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits here."""
        return bool(self._exporter.force_flush(timeout_millis))


def open_traces(settings: TracesConfig | None) -> Traces:
    """Traces that go to the configured collector, by OTLP over HTTP.

    Raises:
        MissingExtra: the extra ``otel`` is not installed.
    """
    if settings is None:
        return NoTraces()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    except ImportError:
        raise MissingExtra("otel", "tracing") from None
    return OtelTraces(settings.service_name, OTLPSpanExporter(endpoint=settings.endpoint))


class OtelTraces:
    """Spans through the OpenTelemetry SDK.

    Args:
        service: its name.
        exporter: a span exporter of the SDK.
    """

    def __init__(self, service: str, exporter: Any) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415
            from opentelemetry.propagate import extract  # noqa: PLC0415
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult  # noqa: PLC0415
        except ImportError:
            raise MissingExtra("otel", "tracing") from None
        self._sending = _Sending(exporter, SpanExportResult.SUCCESS)
        named = Resource.create({"service.name": service, "service.version": __version__})
        self._provider = TracerProvider(resource=named, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(cast(Any, self._sending)))
        self._tracer = self._provider.get_tracer("equipoise", __version__)
        self._trace, self._extract = trace, extract

    @property
    def lost(self) -> int:
        """How many spans the collector has not taken."""
        return self._sending.lost

    @property
    def failing(self) -> bool:
        """Whether the collector did not take the latest."""
        return self._sending.failing

    def request(self, outcome: Outcome, headers: Mapping[str, str], *, operation: str, route: str) -> str | None:
        """A span for the request, below the trace that its headers name, and below it one per call."""
        carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        if len(carrier.get("tracestate", "")) > _MOST_STATE:
            del carrier["tracestate"]
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
                    "gen_ai.provider.name": _provider(outcome.model, outcome.deployment),
                    **_streamed(outcome.first_token_s),
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
            self._call(attempt, operation, inside, streamed=outcome.first_token_s is not None)
        span.end(int(outcome.finished * _NS))
        known = span.get_span_context()
        return self._trace.format_trace_id(known.trace_id) if known.is_valid else None  # else tracing is switched off

    def _call(self, attempt: Attempt, operation: str, inside: Any, *, streamed: bool) -> None:
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
                    "gen_ai.provider.name": _provider(attempt.model, attempt.deployment),
                    **_streamed(attempt.first_token_s if streamed else None),
                    "gen_ai.usage.input_tokens": usage.input_tokens,
                    "gen_ai.usage.output_tokens": usage.output_tokens,
                    "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens or None,
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
        """Send what is waiting, as far as it is taken at once: a collector that is down or stuck delays no stop."""
        closing = threading.Thread(target=self._provider.shutdown, name="equipoise-traces", daemon=True)
        closing.start()
        closing.join(_CLOSING_S)


def _provider(model: str | None, deployment: str | None) -> str | None:
    return None if model is None or deployment is None else provider_name(model, deployment)


def _streamed(first_token_s: float | None) -> dict[str, Any]:
    """What is told of a stream, once it has begun."""
    if first_token_s is None:
        return {}
    return {"gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": first_token_s}


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}
