"""Scores against their definitions."""

import numpy as np
import pytest

from rnn_core.evaluation.metrics import reliability, scores, wilson_interval


@pytest.fixture
def calls() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.3, 0.7, 400)
    return (rng.random(400) < probability).astype(int), probability


def test_scores_are_what_their_definitions_say(calls: tuple[np.ndarray, np.ndarray]) -> None:
    up, p = calls
    found = scores(up, p)
    assert found["accuracy"] == pytest.approx(((p > 0.5) == up).mean())
    assert found["log_loss"] == pytest.approx(-np.log(np.where(up == 1, p, 1 - p)).mean())
    assert found["brier"] == pytest.approx(((p - up) ** 2).mean())
    pairs = p[up == 1][:, None] - p[up == 0]
    assert found["auc"] == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)


def test_the_area_is_left_out_where_only_one_class_happened() -> None:
    found = scores(np.ones(5, int), np.full(5, 0.6))
    assert found.keys() == {"accuracy", "log_loss", "brier"}
    assert found["accuracy"] == 1


def test_the_wilson_interval_is_the_published_one() -> None:
    """Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_reliability_counts_every_call_once_in_equally_filled_bins(
    calls: tuple[np.ndarray, np.ndarray],
) -> None:
    up, p = calls
    table = reliability(up, p, bins=8)
    assert table["days"].tolist() == [50] * 8
    assert table["hits"].sum() == up.sum()
    order = np.argsort(p)[:50]
    assert table["forecast"][0] == pytest.approx(p[order].mean())
    assert table["frequency"][0] == pytest.approx(up[order].mean())
    assert (table["low"] < table["frequency"]).all()
    assert (table["high"] > table["frequency"]).all()


def test_reliability_of_a_constant_forecast_is_one_bin() -> None:
    table = reliability(np.array([0, 1, 1, 1]), np.full(4, 0.6))
    assert table[["days", "frequency"]].to_numpy().tolist() == [[4, 0.75]]
