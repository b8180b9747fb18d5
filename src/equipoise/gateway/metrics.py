"""What Prometheus reads at /metrics: the names of the GenAI conventions, and the router's own.

Labels hold names from the configuration only, never a client's words: their number stays small. The labelled
parts of a metric are looked up once and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from equipoise.storage.decisions import LogStatus
from equipoise.types import Attempt, Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# The buckets that the conventions recommend.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_OPERATION, _REQUEST, _RESPONSE = "gen_ai_operation_name", "gen_ai_request_model", "gen_ai_response_model"


class Metrics:
    """Everything that is counted.

    Args:
        log_status: how the decision log is doing, asked at every scrape.
    """

    def __init__(self, log_status: Callable[[], LogStatus]) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(_LogCollector(log_status))
        call = (_OPERATION, _REQUEST, _RESPONSE, "gen_ai_provider_name")
        self._calls = Histogram(
            "gen_ai_client_operation_duration_seconds", "Calls made to providers", (*call, "error_type"),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._tokens = Histogram(
            "gen_ai_client_token_usage", "Tokens of calls made to providers", (*call, "gen_ai_token_type"),
            buckets=_TOKENS, registry=registry,
        )  # fmt: skip
        served = (_OPERATION, _REQUEST, _RESPONSE)
        self._served = Histogram(
            "gen_ai_server_request_duration_seconds", "Requests served", (*served, "error_type"),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._first = Histogram(
            "gen_ai_server_time_to_first_token_seconds", "Until the first content of an answer", served,
            buckets=_FIRST_TOKEN, registry=registry,
        )  # fmt: skip
        self._each = Histogram(
            "gen_ai_server_time_per_output_token_seconds", "Per token after the first of an answer", served,
            buckets=_PER_TOKEN, registry=registry,
        )  # fmt: skip
        self._overhead = Histogram(
            "equipoise_overhead_seconds", "Time of a request that was not spent waiting for providers", ("route",),
            buckets=_OVERHEAD, registry=registry,
        )  # fmt: skip
        self._counters = {
            "requests": Counter("equipoise_requests", "Requests by how they ended",
                                ("route", "model", "status"), registry=registry),
            "attempts": Counter("equipoise_attempts", "Calls made to deployments",
                                ("model", "deployment", "kind", "error"), registry=registry),
            "cost": Counter("equipoise_cost_usd", "Cost of all calls", ("route", "model"), registry=registry),
            "saved": Counter("equipoise_cost_saved_usd", "What cached answers cost when they were made",
                             ("route",), registry=registry),
            "cache": Counter("equipoise_cache_requests", "Requests of routes with a cache", ("route", "result"),
                             registry=registry),
            "degraded": Counter("equipoise_degraded_decisions", "Decisions made without the router, which failed",
                                ("route",), registry=registry),
            "problems": Counter("equipoise_problems", "Requests answered with an error", ("status", "code"),
                                registry=registry),
            "reloads": Counter("equipoise_config_reloads", "Times the configuration was read again", ("result",),
                               registry=registry),
            "feedback": Counter("equipoise_feedback", "Feedback given", ("result",), registry=registry),
        }  # fmt: skip
        self.in_flight = Gauge("equipoise_requests_in_flight", "Requests being served", registry=registry)
        self._children: dict[tuple[Any, ...], Any] = {}

    def count(self, what: str, *labels: str, by: float = 1.0) -> None:
        """Add to a counter."""
        self._child(self._counters[what], *labels).inc(by)

    def _child(self, metric: Any, *labels: str) -> Any:
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def served(self, outcome: Outcome, *, operation: str, route: str) -> None:
        """Take what became of a request."""
        model, error = outcome.model or "", outcome.error or ""
        self._child(self._served, operation, route, model, error).observe(outcome.latency_s)
        self._child(self._overhead, route).observe(outcome.overhead_s)
        self.count("requests", route, model, outcome.status)
        if outcome.first_token_s is not None:
            self._child(self._first, operation, route, model).observe(outcome.first_token_s)
        if outcome.cache is not None:
            self.count("cache", route, outcome.cache)
            self.count("saved", route, by=outcome.saved_usd)
        for attempt in outcome.attempts:
            self._called(attempt, operation, route)
            if attempt.won:
                self._paced(attempt, outcome, operation, route)

    def _called(self, a: Attempt, operation: str, route: str) -> None:
        provider, error = a.deployment.partition("/")[2], a.error or ""
        self._child(self._calls, operation, route, a.model, provider, error).observe(a.latency_s)
        self.count("attempts", a.model, a.deployment, a.kind, error)
        self.count("cost", route, a.model, by=a.cost_usd)
        for kind, tokens in (("input", a.usage.input_tokens), ("output", a.usage.output_tokens)):
            if tokens:
                self._child(self._tokens, operation, route, a.model, provider, kind).observe(tokens)

    def _paced(self, a: Attempt, outcome: Outcome, operation: str, route: str) -> None:
        if outcome.first_token_s is None or a.first_token_s is None or a.usage.output_tokens < 2:
            return
        each = (a.latency_s - a.first_token_s) / (a.usage.output_tokens - 1)
        self._child(self._each, operation, route, a.model).observe(max(each, 0.0))

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)


class _LogCollector:
    """The decision log's own counts, read when they are asked for."""

    def __init__(self, status: Callable[[], LogStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment."""
        status = self._status()
        for name, about, value in (
            ("recorded", "Entries of the decision log acknowledged", status.recorded),
            ("lost", "Entries of the decision log dropped, since the disk took none", status.lost),
            ("damaged", "Entries of the decision log that cannot be read", status.damaged),
            ("failures", "Times the journal could not be moved into the store", status.failures),
        ):
            yield CounterMetricFamily(f"equipoise_log_{name}", about, value=value)
        about = "Entries in memory that the disk has not taken"
        yield GaugeMetricFamily("equipoise_log_waiting", about, value=status.waiting)
