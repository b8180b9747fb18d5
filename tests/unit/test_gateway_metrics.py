"""What Prometheus reads."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from equipoise.gateway.metrics import Metrics
from equipoise.storage.decisions import LogStatus
from equipoise.traffic import Outcome


def _metrics() -> Metrics:
    return Metrics(lambda: LogStatus(None, 0, 0, 0, 0, 0), lambda: 0, tuple, lambda: 0)


def test_codes_without_end_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.gateway.metrics._MOST_CODES", 3)
    metrics = _metrics()
    for number in range(10):
        outcome = Outcome(decision_id="d", status="failed", finished=0.0, error=f"code-{number}")
        metrics.served(outcome, operation="chat", route="auto")
        metrics.problem(400, f"code-{number}")
    text = metrics.text().decode()
    assert 'equipoise_problems_total{code="other",status="400"} 7.0' in text
    assert "code-2" in text and "code-3" not in text and 'error_type="other"' in text


def test_series_without_end_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.gateway.metrics._MOST_SERIES", 3)
    metrics = _metrics()
    for number in range(10):
        outcome = Outcome(decision_id="d", status="ok", finished=0.0)
        metrics.served(outcome, operation="chat", route=f"route-{number}")
    text = metrics.text().decode()
    assert 'equipoise_requests_total{model="other",route="other",status="other"} 7.0' in text
    assert 'equipoise_overhead_seconds_count{route="other"} 7.0' in text


def test_requests_of_many_minutes_and_late_first_tokens_are_told_apart() -> None:
    metrics = _metrics()
    for latency_s in (0.05, 300.0, 590.0):
        outcome = Outcome(decision_id="d", status="ok", finished=0.0, latency_s=latency_s, first_token_s=latency_s / 10)
        metrics.served(outcome, operation="chat", route="auto")
    families = {family.name: family for family in text_string_to_metric_families(metrics.text().decode())}
    for name in ("gen_ai_server_request_duration_seconds", "gen_ai_server_time_to_first_token_seconds"):
        counts = [s.value for s in families[name].samples if s.name.endswith("_bucket")]
        assert {1.0, 2.0, 3.0} <= set(counts) and counts[-2] == 3.0  # the last but that without an end
