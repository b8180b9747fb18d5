"""Several objectives at once: which points count, and how much of the space they cover."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.evaluation import evaluate, metrics
from tests.evaluation_fakes import OPTIONS, SubjectAnalyzer, made_table


def test_two_points_cover_the_union_of_their_rectangles() -> None:
    assert metrics.hypervolume(np.array([[0.5, 0.5], [0.25, 1.0]])) == pytest.approx(0.375)
    assert metrics.hypervolume(np.array([[0.5, 0.5, 0.5], [0.2, 0.2, 1.0], [1.0, 0.1, 0.1]])) == pytest.approx(0.15)


def test_a_beaten_point_adds_nothing_and_points_outside_are_clipped() -> None:
    assert metrics.hypervolume(np.array([[0.5, 0.5], [0.4, 0.5], [0.5, 0.5]])) == pytest.approx(0.25)
    assert metrics.hypervolume(np.array([[2.0, 0.5]])) == pytest.approx(0.5)
    assert metrics.hypervolume(np.empty((0, 2))) == 0.0


def test_the_volume_is_the_share_of_random_points_that_are_matched() -> None:
    rng = np.random.default_rng(0)
    points, thrown = rng.random((25, 3)) ** 2, rng.random((40_000, 3))
    share = np.mean((points[None] >= thrown[:, None]).all(axis=2).any(axis=1))
    assert metrics.hypervolume(points) == pytest.approx(share, abs=0.01)


def test_the_frontier_is_what_nothing_beats_in_everything() -> None:
    points = np.array([[0.9, 0.1], [0.5, 0.5], [0.5, 0.4], [0.1, 0.9], [0.9, 0.1]])
    assert metrics.pareto(points).tolist() == [True, True, False, True, False]


def test_goodness_runs_from_the_dearest_to_the_cheapest_on_a_log_scale() -> None:
    assert metrics.goodness(np.array([1.0, 10.0, 100.0, 1000.0]), 1.0, 100.0) == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert metrics.goodness(np.array([3.0]), 2.0, 2.0).tolist() == [1.0]


@pytest.fixture(scope="module")
def results():  # noqa: ANN201
    quick = {**OPTIONS, "analyzer": SubjectAnalyzer(), "replicates": 20}
    return evaluate(made_table(prompts=1500, structure=0.3), routers=["subject", "noise:0.1"], seeds=5, **quick)


def test_a_router_that_knows_the_structure_covers_more_than_single_models(results) -> None:
    found = results.router("subject").objectives
    assert found.measured == ("quality", "cost_usd")
    assert found.gain_ci.low > 0 and found.hypervolume > results.router("noise:0.1").objectives.hypervolume


def test_points_to_pick_from_cost_less_as_the_weight_rises(results) -> None:
    picks = results.router("subject").objectives.picks
    assert len(picks) >= 5 and picks[0].cost_weight == 0
    costs = [p.cost_usd for p in picks]
    assert costs == sorted(costs, reverse=True) and costs[0] > 2 * costs[-1]
    assert any(p.on_frontier for p in picks) and all(np.isnan(p.latency_s) for p in picks)
    assert results.router("baseline:random").objectives.picks


def test_topics_alone_are_a_baseline(results) -> None:
    topic, single = results.router("baseline:topic"), results.baselines["best_single"]
    # The analyzer of this test knows one topic only, so nothing is left but the best model of all.
    assert topic.quality == pytest.approx(single["quality"])
