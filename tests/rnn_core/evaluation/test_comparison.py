"""Two runs side by side: told apart when they differ, and only then."""

from math import cos, pi, sqrt

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, t

from rnn_core.errors import ConfigError
from rnn_core.evaluation.comparison import (
    LEVEL,
    NO_DIFFERENCE,
    OTHER_QUESTION,
    TOO_FEW,
    compare,
    mean_with_interval,
    volatility_terciles,
)
from rnn_core.evaluation.metrics import log_losses

MOST_TOLD_APART = 0.015  # share of pairs without a difference: 5 of 400 were measured


def calls(
    days: int = 600, *, seed: int = 0, start: str = "2020-01-01", edge: float = 0.0
) -> pd.DataFrame:
    """Forecasts that know the outcome with an advantage of `edge`; outcomes depend on no seed."""
    dates = pd.bdate_range(start, periods=days, name="date")
    returns = np.random.default_rng(1).normal(scale=0.01, size=days)
    up = (returns > 0).astype(int)
    own = np.random.default_rng(seed + 2).normal(scale=0.02, size=days)
    probability = 0.5 + own + edge * (2 * up - 1)
    return pd.DataFrame({"probability": probability, "up": up, "next_return": returns}, dates)


def turn(calls: pd.DataFrame, days: int) -> None:
    """Let the first days close the other way."""
    calls.iloc[:days, calls.columns.get_loc("up")] ^= 1
    calls.iloc[:days, calls.columns.get_loc("next_return")] *= -1


class TestMean:
    def test_it_is_what_its_definition_says(self) -> None:
        values = np.random.default_rng(3).gamma(2, size=90) - 2
        freedom = 8  # 0.4 · 90^⅔ = 8.03
        waves = [
            sqrt(2 / 90) * sum(x * cos(pi * j * (day + 0.5) / 90) for day, x in enumerate(values))
            for j in range(1, freedom + 1)
        ]
        error = sqrt(np.mean(np.square(waves)) / 90)
        mean = mean_with_interval(values)
        assert mean.value == pytest.approx(values.mean())
        assert mean.pvalue == pytest.approx(2 * t.sf(abs(values.mean()) / error, freedom))
        reach = t.isf(0.005, freedom) * error
        assert (mean.low, mean.high) == pytest.approx((mean.value - reach, mean.value + reach))

    def test_the_interval_leaves_out_0_where_p_is_below_the_level(self) -> None:
        rng = np.random.default_rng(4)
        means = [mean_with_interval(rng.normal(0.15, size=300)) for _ in range(200)]
        low, high, pvalue = np.array([(mean.low, mean.high, mean.pvalue) for mean in means]).T
        outside = (low > 0) | (high < 0)
        np.testing.assert_array_equal(outside, pvalue <= LEVEL)
        assert 0 < outside.sum() < 200

    @pytest.mark.parametrize("persistence", [0.0, 0.3])
    @pytest.mark.parametrize("days", [60, 600])
    def test_dependence_over_time_does_not_make_findings(
        self, persistence: float, days: int
    ) -> None:
        rng = np.random.default_rng(5)
        shocks = rng.standard_t(4, size=(1000, days + 50))
        series = np.zeros_like(shocks)
        for day in range(1, days + 50):
            series[:, day] = persistence * series[:, day - 1] + shocks[:, day]
        pvalues = [mean_with_interval(one[50:]).pvalue for one in series]
        assert sum(p <= LEVEL for p in pvalues) <= binom.ppf(0.999, 1000, MOST_TOLD_APART)

    @pytest.mark.parametrize("values", [np.ones(100), np.zeros(100), np.arange(49.0)])
    def test_few_or_constant_values_have_no_interval(self, values: np.ndarray) -> None:
        mean = mean_with_interval(values)
        assert mean.value == values.mean()
        assert (mean.low, mean.high, mean.pvalue) == (None, None, None)


class TestTerciles:
    returns = pd.Series(
        np.random.default_rng(6).normal(size=400) * np.repeat([0.01, 0.03, 0.002, 0.05], 100),
        pd.bdate_range("2020-01-01", periods=400),
    )

    def test_the_future_and_the_day_itself_change_no_tercile(self) -> None:
        before = volatility_terciles(self.returns)
        for day in (60, 150, 250, 399):
            changed = self.returns.copy()
            changed.iloc[day:] *= 30
            pd.testing.assert_series_equal(
                volatility_terciles(changed).iloc[: day + 1], before.iloc[: day + 1]
            )

    def test_a_wild_time_is_high_and_a_calm_one_low(self) -> None:
        tercile = volatility_terciles(self.returns)
        assert tercile.iloc[:39].isna().all()
        assert tercile.iloc[39:].notna().all()
        assert (tercile.iloc[125:200] == "high").mean() > 0.7
        assert (tercile.iloc[225:300] == "low").all()


class TestCompare:
    def test_only_common_days_count_by_date(self) -> None:
        a = calls(300)
        b = calls(300, seed=1).iloc[100:]
        comparison = compare(a, b)
        assert comparison.days == (300, 200)
        assert comparison.overall.days == 200
        expected = log_losses(
            a["up"].to_numpy()[100:], a["probability"].to_numpy()[100:]
        ) - log_losses(b["up"].to_numpy(), b["probability"].to_numpy())
        assert comparison.overall.loss == mean_with_interval(expected)

    def test_exchanging_the_runs_turns_every_difference_round(self) -> None:
        one = compare(calls(seed=0), calls(seed=1))
        other = compare(calls(seed=1), calls(seed=0))
        groups = [(one.overall, other.overall)]
        groups += zip(one.by_year.values(), other.by_year.values(), strict=True)
        groups += zip(one.by_volatility.values(), other.by_volatility.values(), strict=True)
        assert len(groups) == 1 + 3 + 3
        for difference, turned in groups:
            assert difference.loss.value == pytest.approx(-turned.loss.value)
            assert difference.accuracy.value == pytest.approx(-turned.accuracy.value)
            assert difference.losses == turned.losses[::-1]
        assert other.overall.loss.high is not None
        assert one.overall.loss.low == pytest.approx(-other.overall.loss.high)

    def test_years_and_terciles_divide_the_days(self) -> None:
        comparison = compare(calls(), calls(seed=1))
        assert list(comparison.by_year) == ["2020", "2021", "2022"]
        assert sum(year.days for year in comparison.by_year.values()) == 600
        assert list(comparison.by_volatility) == ["low", "middle", "high"]
        assert sum(tercile.days for tercile in comparison.by_volatility.values()) == 600 - 39

    def test_the_better_one_is_named_whichever_it_is(self) -> None:
        for pair, better in (((0.05, 0.0), "A"), ((0.0, 0.05), "B")):
            a, b = (calls(seed=seed, edge=edge) for seed, edge in enumerate(pair))
            assert compare(a, b).headline.startswith(f"{better} is better by 0.")

    def test_the_headline_rests_on_all_days_and_not_on_the_best_year(self) -> None:
        a = calls(2600)
        b = calls(2600, seed=1)
        better = a.index.year == 2022
        a.loc[better, "probability"] += 0.01 * (2 * a.loc[better, "up"] - 1)
        comparison = compare(a, b)
        high = comparison.by_year["2022"].loss.high
        assert high is not None
        assert high < 0
        assert comparison.headline == NO_DIFFERENCE

    def test_the_same_forecasts_do_not_differ(self) -> None:
        comparison = compare(calls(), calls())
        assert comparison.headline == NO_DIFFERENCE
        assert comparison.overall.loss.pvalue is None
        assert "differ on no day" in comparison.reason

    def test_few_common_days_are_too_few(self) -> None:
        comparison = compare(calls(49), calls(49, seed=1, edge=0.3))
        assert comparison.headline == TOO_FEW
        assert "49 common days; a test needs 50" in comparison.reason

    def test_no_common_day_is_refused_with_the_days_of_each(self) -> None:
        with pytest.raises(ConfigError) as error:
            compare(calls(30), calls(20, start="2022-01-03"))
        assert str(error.value) == (
            "runs have no test day in common: A has 30 (2020-01-01 to 2020-02-11), "
            "B 20 (2022-01-03 to 2022-01-28)"
        )

    @pytest.mark.parametrize("changed", [7, 300])
    def test_other_outcomes_are_another_question(self, changed: int) -> None:
        b = calls(seed=1, edge=0.2)
        turn(b, changed)
        comparison = compare(calls(), b)
        assert comparison.other_outcomes == changed
        assert comparison.headline == OTHER_QUESTION
        assert f"differ on {changed} of 600" in comparison.reason

    def test_a_few_other_outcomes_leave_the_question_and_are_counted(self) -> None:
        b = calls(seed=1)
        turn(b, 6)
        comparison = compare(calls(), b)
        assert comparison.other_outcomes == 6
        assert comparison.headline == NO_DIFFERENCE

    def test_returns_that_differ_by_rounding_have_the_same_outcome(self) -> None:
        a = calls()
        b = calls(seed=1)
        for run, rounded in ((a, 0.0), (b, 1e-16)):
            run.iloc[:300, run.columns.get_loc("next_return")] = rounded
            run.iloc[:300, run.columns.get_loc("up")] = int(rounded > 0)
        comparison = compare(a, b)
        assert comparison.other_outcomes == 0
        assert comparison.headline != OTHER_QUESTION

    def test_prices_that_were_revised_leave_the_question(self) -> None:
        b = calls(seed=1)
        b["next_return"] *= 1.01
        comparison = compare(calls(), b)
        assert comparison.headline == NO_DIFFERENCE
        assert comparison.return_gap == pytest.approx(0.01 * calls()["next_return"].abs().max())


def test_pairs_that_differ_by_their_seeds_alone_are_not_told_apart() -> None:
    """As two seeds of one network: forecasts that hang together, with offsets by the fold."""
    rng = np.random.default_rng(7)
    found = 0
    for _ in range(1000):
        up = rng.integers(0, 2, 1187)
        shared = rng.normal(scale=0.03, size=1187)
        by_fold = rng.normal(scale=0.005, size=(2, 19)).repeat(63, axis=1)[:, :1187]
        a, b = 0.5 + shared + by_fold + rng.normal(scale=0.005, size=(2, 1187))
        pvalue = mean_with_interval(log_losses(up, a) - log_losses(up, b)).pvalue
        found += pvalue is not None and pvalue <= LEVEL
    assert 0 < found <= binom.ppf(0.999, 1000, MOST_TOLD_APART)
