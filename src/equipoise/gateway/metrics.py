"""What Prometheus reads at /metrics: the names of the GenAI conventions, and the router's own.

Labels hold names from the configuration and codes of errors, never a client's words. Should vendors make up codes
without end, those beyond a bound are counted together: what there is, is written down on the loop that serves requests.
Counting is plain arithmetic, since everything is counted on one thread; the client library only writes it down.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from equipoise.gateway.conventions import provider_name
from equipoise.storage.decisions import LogStatus
from equipoise.traffic import Attempt, Outcome

_MOST_SERIES, _MOST_CODES, _OTHER = 2000, 100, "other"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# The buckets that the conventions recommend, and some above them: a call may take ten minutes, a first token two.
_SECONDS = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68, 655.36
)  # fmt: skip
_FIRST_TOKEN = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0
)  # fmt: skip
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_SERVED = ("gen_ai_operation_name", "gen_ai_request_model", "gen_ai_response_model", "gen_ai_provider_name")
_CALL = ("gen_ai_operation_name", "gen_ai_request_model", "gen_ai_provider_name", "route")
_COUNTERS: dict[str, tuple[str, str, Sequence[str]]] = {
    "requests": ("equipoise_requests", "Requests by how they ended", ("route", "model", "status")),
    "attempts": ("equipoise_attempts", "Calls made to deployments", ("model", "deployment", "kind", "error")),
    "cost": ("equipoise_cost_usd", "Cost of all calls", ("route", "model")),
    "saved": ("equipoise_cost_saved_usd", "What cached answers cost when they were made", ("route",)),
    "cache": ("equipoise_cache_requests", "Requests of routes with a cache", ("route", "result")),
    "degraded": ("equipoise_degraded_decisions", "Decisions made without the router, which failed", ("route",)),
    "problems": ("equipoise_problems", "Requests answered with an error", ("status", "code")),
    "reloads": ("equipoise_config_reloads", "Times the configuration was read again", ("result",)),
    "feedback": ("equipoise_feedback", "Feedback given", ("result",)),
}
# Told before they happen: that a counter is there at last is no increase to Prometheus.
_AT_ZERO = (("reloads", "done"), ("reloads", "refused"), ("feedback", "joined"), ("feedback", "unknown_decision"))
_LOG = {
    "recorded": "Entries of the decision log acknowledged",
    "lost": "Entries of the decision log dropped, since the disk took none",
    "damaged": "Entries of the decision log that cannot be read",
    "failures": "Times the journal could not be moved into the store",
}


class _Series:
    """One histogram: how many values are in each bucket, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts, self.total = [0] * buckets, 0.0


class _Spread:
    """A histogram by labels."""

    def __init__(self, name: str, about: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._name, self._about, self._labels, self._bounds = name, about, labels, bounds
        self._series: dict[tuple[str, ...], _Series] = {}

    def observe(self, labels: tuple[str, ...], value: float) -> None:
        """One more value."""
        series = self._series.get(labels)
        if series is None:
            if len(self._series) >= _MOST_SERIES:
                labels = (_OTHER,) * len(labels)
            series = self._series.setdefault(labels, _Series(len(self._bounds) + 1))
        series.counts[bisect_left(self._bounds, value)] += 1
        series.total += value

    def family(self) -> Metric:
        """As Prometheus wants it: every bucket holds the ones below it."""
        family = HistogramMetricFamily(self._name, self._about, labels=self._labels)
        ends = [*(repr(float(bound)) for bound in self._bounds), "+Inf"]
        for labels, series in self._series.items():
            buckets = list(zip(ends, accumulate(series.counts), strict=True))
            family.add_metric(labels, buckets=buckets, sum_value=series.total)
        return family


class Metrics(Collector):
    """Everything that is counted.

    Args:
        log_status: how the decision log is doing, asked at every scrape, as the others are.
        in_flight: how many requests are being served.
        routes: their names.
        spans_lost: how many spans the collector has not taken.
    """

    def __init__(
        self,
        log_status: Callable[[], LogStatus],
        in_flight: Callable[[], int],
        routes: Callable[[], Iterable[str]],
        spans_lost: Callable[[], int],
    ) -> None:
        self._log_status, self._in_flight, self._routes, self._spans_lost = log_status, in_flight, routes, spans_lost
        self._counts: dict[str, dict[tuple[str, ...], float]] = {name: defaultdict(float) for name in _COUNTERS}
        self._codes: set[str] = set()
        for what, label in _AT_ZERO:
            self.count(what, label, by=0.0)
        self._calls = _Spread(
            "gen_ai_client_operation_duration_seconds", "Calls made to providers", (*_CALL, "error_type"), _SECONDS
        )
        self._tokens = _Spread(
            "gen_ai_client_token_usage", "Tokens of calls made to providers", (*_CALL, "gen_ai_token_type"), _TOKENS
        )
        self._served = _Spread(
            "gen_ai_server_request_duration_seconds", "Requests served", (*_SERVED, "error_type"), _SECONDS
        )
        self._first = _Spread(
            "gen_ai_server_time_to_first_token_seconds", "Until the first content", _SERVED, _FIRST_TOKEN
        )
        self._each = _Spread(
            "gen_ai_server_time_per_output_token_seconds", "Per token after the first", _SERVED, _PER_TOKEN
        )
        self._overhead = _Spread(
            "equipoise_overhead_seconds", "Time of a request not spent waiting for providers", ("route",), _OVERHEAD
        )
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def _code(self, error: str | None) -> str:
        """The code of an error as a label; nothing for none."""
        if not error or error in self._codes:
            return error or ""
        if len(self._codes) >= _MOST_CODES:
            return _OTHER
        self._codes.add(error)
        return error

    def problem(self, status: int, code: str) -> None:
        """Count a request that was answered with an error."""
        self.count("problems", str(status), self._code(code))

    def count(self, what: str, *labels: str, by: float = 1.0) -> None:
        """Add to a counter."""
        counts = self._counts[what]
        if labels not in counts and len(counts) >= _MOST_SERIES:
            labels = (_OTHER,) * len(labels)
        counts[labels] += by

    def served(self, outcome: Outcome, *, operation: str, route: str) -> None:
        """Take what became of a request."""
        model = outcome.model or ""
        provider = "" if outcome.deployment is None else provider_name(model, outcome.deployment)
        served = (operation, route, model, provider)
        self._served.observe((*served, self._code(outcome.error)), outcome.latency_s)
        self._overhead.observe((route,), outcome.overhead_s)
        self.count("requests", route, model, outcome.status)
        if outcome.first_token_s is not None:
            self._first.observe(served, outcome.first_token_s)
        if outcome.cache is not None:
            self.count("cache", route, outcome.cache)
            self.count("saved", route, by=outcome.saved_usd)
        for attempt in outcome.attempts:
            self._called(attempt, operation, route)
            if attempt.won and outcome.first_token_s is not None:
                self._paced(attempt, served)

    def _called(self, a: Attempt, operation: str, route: str) -> None:
        call, error = (operation, a.model, provider_name(a.model, a.deployment), route), self._code(a.error)
        self._calls.observe((*call, error), a.latency_s)
        self.count("attempts", a.model, a.deployment, a.kind, error)
        self.count("cost", route, a.model, by=a.cost_usd)
        for kind, tokens in (("input", a.usage.input_tokens), ("output", a.usage.output_tokens)):
            if tokens:
                self._tokens.observe((*call, kind), tokens)

    def _paced(self, a: Attempt, served: tuple[str, ...]) -> None:
        if a.first_token_s is not None and a.usage.output_tokens > 1:
            each = (a.latency_s - a.first_token_s) / (a.usage.output_tokens - 1)
            self._each.observe(served, max(each, 0.0))

    def collect(self) -> Iterator[Metric]:
        """Everything, at this moment."""
        for spread in (self._calls, self._tokens, self._served, self._first, self._each, self._overhead):
            yield spread.family()
        for route in self._routes():
            self.count("degraded", route, by=0.0)
        for what, (name, about, labels) in _COUNTERS.items():
            family = CounterMetricFamily(name, about, labels=labels)
            for values, total in self._counts[what].items():
                family.add_metric(values, total)
            yield family
        status = self._log_status()
        for what, about in _LOG.items():
            yield CounterMetricFamily(f"equipoise_log_{what}", about, value=getattr(status, what))
        about = "Spans that the collector has not taken"
        yield CounterMetricFamily("equipoise_spans_lost", about, value=self._spans_lost())
        about = "Entries in memory that the disk has not taken"
        yield GaugeMetricFamily("equipoise_log_waiting", about, value=status.waiting)
        yield GaugeMetricFamily("equipoise_requests_in_flight", "Requests being served", value=self._in_flight())

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)
