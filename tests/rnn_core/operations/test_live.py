"""The live record against integration and simulation, drift of walks that change, alarms."""

from dataclasses import replace
from math import log

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import ks_2samp, norm
from statsmodels.stats.proportion import proportion_confint

from rnn_core.config import Problem
from rnn_core.data.synthetic import random_walk
from rnn_core.data.windows import features
from rnn_core.errors import ArrayError
from rnn_core.operations.live import (
    Alarm,
    LiveRecord,
    alarms,
    confidence_sequence,
    drift,
    live_record,
)

LEVEL = 1e-4
PROBLEM = Problem(features=("return", "direction", "volume_change"))


def evidence(deviation: float, days: int, spread: float) -> float:
    """∫ exp(λS − λ²V/2) dN(λ; 0, spread²), V = days/4: at most 1 on average if the mean is true."""

    def weighted(rate: float) -> float:
        return float(np.exp(rate * deviation - rate**2 * days / 8) * norm.pdf(rate, scale=spread))

    width = (days / 4 + spread**-2) ** -0.5
    middle = deviation * width**2
    return float(quad(weighted, middle - 12 * width, middle + 12 * width, epsabs=0, epsrel=1e-8)[0])


def margin(log_spread: float, days: int, alpha: float) -> float:
    """How far from the observed mean a mean has 1 / alpha of evidence against it."""
    against = brentq(
        lambda s: evidence(s, days, np.exp(log_spread)) - 1 / alpha, 0, 5 * days**0.5, rtol=1e-8
    )
    return float(against) / days


class TestConfidenceSequence:
    def test_it_ends_where_the_evidence_does_under_the_prior_that_is_best_after_a_year(
        self,
    ) -> None:
        alpha = 0.01
        found = minimize_scalar(
            lambda s: margin(s, 250, alpha),
            bounds=(log(0.05), log(1)),
            method="bounded",
            options={"xatol": 1e-3},
        )
        low, high = confidence_sequence(np.arange(2000) % 2, alpha=alpha)
        assert (high - low)[249] / 2 == pytest.approx(found.fun, rel=1e-5)
        for days in (50, 2000):
            assert (high - low)[days - 1] / 2 == pytest.approx(
                margin(found.x, days, alpha), rel=5e-4
            )

    @pytest.mark.parametrize("chance", ["even", "turning", "following"])
    def test_it_holds_the_mean_chance_on_every_day_at_once_where_daily_intervals_do_not(
        self, chance: str
    ) -> None:
        rng, paths, days = np.random.default_rng(31), 2000, 1000
        chances, hits = np.full((paths, days), 0.5), np.zeros((paths, days))
        for day in range(days):
            if chance == "turning":
                chances[:, day] = (
                    0.3 if 200 <= day < 600 else 0.7
                )  # the mean leaves early intervals on both sides
            elif chance == "following" and day > 0:
                chances[:, day] = np.where(hits[:, day - 1] == 1, 0.6, 0.4)
            hits[:, day] = rng.random(paths) < chances[:, day]
        means = np.cumsum(chances, axis=1) / np.arange(1, days + 1)
        low, high = np.moveaxis([confidence_sequence(path) for path in hits], 1, 0)
        assert ((low <= means) & (means <= high)).all(axis=1).mean() >= 0.95

        daily_low, daily_high = proportion_confint(
            np.cumsum(hits, axis=1), np.arange(1, days + 1), alpha=0.05, method="wilson"
        )
        held = (daily_low <= means) & (means <= daily_high)
        assert held[:, -1].mean() == pytest.approx(0.95, abs=0.02), "on one day that was set before"
        assert held[:, 29:].all(axis=1).mean() < 0.8

    def test_it_is_within_0_to_1_and_has_known_widths(self) -> None:
        low, high = confidence_sequence(np.ones(1000, dtype=bool))
        assert low[0] == 0
        assert (high == 1).all()
        assert 1 - low[[59, 249, 999]] == pytest.approx([0.2109, 0.0960, 0.0495], abs=5e-5)
        assert [len(end) for end in confidence_sequence(np.array([]))] == [0, 0]


@pytest.fixture
def settled() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "session": pd.bdate_range("2013-01-01", periods=4).date,
            "probability": [0.6, 0.5, 0.2, 0.9],
            "up": pd.array([True, False, True, True], dtype="boolean"),
            "promised_accuracy": [0.52, 0.52, 0.54, 0.54],
            "promised_low": [0.50, 0.50, 0.51, 0.51],
            "promised_high": [0.54, 0.54, 0.57, 0.57],
            "promised_log_loss": [0.692, 0.692, 0.690, 0.690],
        }
    )


class TestLiveRecord:
    def test_it_counts_what_was_right_and_means_what_was_promised(
        self, settled: pd.DataFrame
    ) -> None:
        record = live_record(settled)
        low, high = confidence_sequence(np.array([1, 1, 0, 1]))
        assert record == LiveRecord(
            days=4,
            hits=3,
            accuracy=0.75,
            low=low[-1],
            high=high[-1],
            log_loss=pytest.approx(-log(0.6 * 0.5 * 0.2 * 0.9) / 4),
            brier=pytest.approx((0.4**2 + 0.5**2 + 0.8**2 + 0.1**2) / 4),
            promised_accuracy=pytest.approx(0.53),
            promised_low=pytest.approx(0.505),
            promised_high=pytest.approx(0.555),
            promised_log_loss=pytest.approx(0.691),
        )

    def test_there_is_none_before_the_first_forecast_is_settled_and_one_after(
        self, settled: pd.DataFrame
    ) -> None:
        assert live_record(settled[:0]) is None
        record = live_record(settled[1:2])
        assert record is not None
        assert (record.days, record.hits, record.low, record.high) == (1, 1, 0, 1)


def pvalues(
    seed: int, recent: int = 60, *, volatility: float = 1, volume: float = 1
) -> dict[str, float]:
    """Drift of `recent` sessions of a walk, with another volatility or volume, from 600 before."""
    frame = random_walk(recent + 601, 0.0, np.random.SeedSequence([32, seed]))
    factor = np.where(np.arange(len(frame)) > 600, volatility, 1)
    frame["close"] = np.exp(np.cumsum(factor * np.log(frame["close"]).diff().fillna(0)))
    frame.loc[601:, "volume"] *= volume
    sessions = features(PROBLEM, frame).to_numpy()[1:]
    return drift(sessions[:600], sessions[600:], PROBLEM.features)


class TestDrift:
    def test_it_is_kolmogorov_and_smirnovs_test_of_each_feature_adjusted_for_their_number(
        self,
    ) -> None:
        rng = np.random.default_rng(33)
        reference, recent = rng.normal(size=(600, 3)), rng.normal(scale=[9, 1, 1], size=(60, 3))
        found = drift(reference, recent, ["a", "b", "c"])
        assert found["a"] == pytest.approx(3 * ks_2samp(reference[:, 0], recent[:, 0]).pvalue)
        assert found["a"] < LEVEL < 0.05 < min(found["b"], found["c"])
        assert drift(np.empty((600, 0)), np.empty((60, 0)), []) == {}

    def test_clusters_of_volatility_alone_are_drift_at_the_usual_level_only(
        self,
    ) -> None:
        lowest = np.array([min(pvalues(seed).values()) for seed in range(25)])
        assert (lowest < 0.05).any()
        assert (lowest < LEVEL).sum() <= 1

    def test_volatility_that_trebles_is_found_in_most_walks_after_half_a_year(self) -> None:
        assert (
            sum(pvalues(seed, 120, volatility=3)["return"] < LEVEL for seed in range(25)) > 25 / 2
        )

    def test_a_volume_that_is_no_longer_given_is_found(self) -> None:
        assert all(pvalues(seed, volume=0)["volume_change"] < LEVEL for seed in range(3))

    def test_a_value_that_is_not_finite_or_has_no_name_is_refused(self) -> None:
        whole, gap = np.ones((9, 2)), np.full((9, 2), np.nan)
        with pytest.raises(ArrayError, match=r"recent of shape \(9, 2\) has 18 NaN"):
            drift(whole, gap, ["a", "b"])
        with pytest.raises(ArrayError, match=r"reference has shape \(9, 2\)"):
            drift(whole, whole, ["a"])


PROMISED = LiveRecord(
    days=250,
    hits=130,
    accuracy=0.52,
    low=0.424,
    high=0.616,
    log_loss=0.692,
    brier=0.2495,
    promised_accuracy=0.53,
    promised_low=0.51,
    promised_high=0.55,
    promised_log_loss=0.691,
)


def raised(
    record: LiveRecord | None = PROMISED, drift: dict[str, float] | None = None, missing: int = 0
) -> list[Alarm]:
    return alarms(record, drift or {}, missing, level=LEVEL, tolerated=2)


class TestAlarms:
    def test_there_is_no_alarm_while_nothing_is_wrong(self) -> None:
        assert raised() == []
        assert raised(None, {"return": LEVEL}, 2) == []

    def test_performance_alarms_where_the_two_ranges_do_not_overlap(self) -> None:
        worse = replace(PROMISED, hits=100, accuracy=0.4, low=0.304, high=0.496)
        assert raised(worse) == [
            Alarm(
                "performance",
                "100 of 250 calls were right, 40.0% (30.4% to 49.6%), "
                "worse than the promised 53.0% (51.0% to 55.0%)",
            )
        ]
        assert raised(replace(worse, high=0.51)) == []

    def test_too_good_alarms_too(self) -> None:
        better = replace(PROMISED, hits=180, accuracy=0.72, low=0.624, high=0.816)
        assert raised(better) == [
            Alarm(
                "performance",
                "180 of 250 calls were right, 72.0% (62.4% to 81.6%), "
                "suspiciously better than the promised 53.0% (51.0% to 55.0%)",
            )
        ]
        assert raised(replace(better, low=0.55)) == []

    def test_a_model_that_promised_nothing_cannot_break_its_promise(self) -> None:
        nan = float("nan")
        assert raised(replace(PROMISED, promised_low=nan, promised_high=nan)) == []

    def test_drift_names_the_features_that_changed(self) -> None:
        assert raised(drift={"return": 3.2e-7, "direction": 0.4, "volume_change": 0.00002}) == [
            Alarm(
                "drift",
                "recent inputs are distributed differently from earlier ones: "
                "return (p 3.2e-07), volume_change (p 2.0e-05)",
            )
        ]

    def test_stale_counts_the_sessions_without_a_price(self) -> None:
        assert raised(missing=3) == [
            Alarm("stale", "closed sessions without a price: 3 (2 are tolerated)")
        ]
        assert [alarm.kind for alarm in raised(replace(PROMISED, high=0.5), {"return": 0}, 9)] == [
            "performance",
            "drift",
            "stale",
        ]
