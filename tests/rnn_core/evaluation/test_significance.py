"""Tests and intervals against exact distributions, definitions, simulations, published numbers."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm, t, ttest_1samp

from rnn_core.errors import ArrayError, ConfigError
from rnn_core.evaluation import significance
from rnn_core.evaluation.direction_tests import excess_hits, pesaran_timmermann
from rnn_core.evaluation.significance import (
    benjamini_hochberg,
    bootstrap_mean,
    days_needed,
    deflated_sharpe,
    detectable_accuracy,
    diebold_mariano,
    holm,
    probabilistic_sharpe,
    sharpe_error,
    superior,
)

quick = settings(derandomize=True, deadline=None, max_examples=50)
counts = st.integers(0, 60)
shares = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)


def autoregressive(rng: np.random.Generator, count: int, coefficient: float) -> np.ndarray:
    values, shocks = np.zeros(count), rng.normal(size=count)
    for day in range(1, count):
        values[day] = coefficient * values[day - 1] + shocks[day]
    return values


class TestDieboldMariano:
    @quick
    @given(st.integers(0, 1000), st.integers(5, 300))
    def test_one_day_ahead_it_is_students_test_of_the_difference(
        self, seed: int, count: int
    ) -> None:
        """The correction for h = 1 turns the variance over n into the one over n − 1."""
        rng = np.random.default_rng(seed)
        a, b = rng.gamma(2, size=(2, count))
        found, expected = diebold_mariano(a, b), ttest_1samp(a - b, 0)
        assert found is not None
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-9)
        assert found.pvalue == pytest.approx(expected.pvalue, rel=1e-8)

    def test_several_days_ahead_it_is_what_its_definition_says(self) -> None:
        rng = np.random.default_rng(5)
        count, horizon = 250, 3
        a, b = rng.gamma(2, size=(2, count))
        a, b = (
            np.convolve(a, np.ones(3) / 3, mode="same"),
            np.convolve(b, np.ones(3) / 3, mode="same"),
        )
        d = a - b
        centred = d - d.mean()
        variance = centred @ centred / count
        for lag in (1, 2):
            variance += 2 * (1 - lag / horizon) * (centred[lag:] @ centred[:-lag]) / count
        factor = (count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count
        expected = sqrt(factor) * d.mean() / sqrt(variance / count)
        found = diebold_mariano(a, b, horizon)
        assert found is not None
        assert found.statistic == pytest.approx(expected, rel=1e-9)
        assert found.pvalue == pytest.approx(2 * t.sf(abs(expected), count - 1), rel=1e-9)

    def test_a_negative_statistic_says_that_the_first_is_better(self) -> None:
        rng = np.random.default_rng(6)
        loss = rng.gamma(2, size=200)
        worse = loss + 0.2 + rng.normal(size=200) / 10
        found, turned = diebold_mariano(loss, worse), diebold_mariano(worse, loss)
        assert found is not None
        assert turned is not None
        assert found.statistic < -5
        assert turned.statistic == pytest.approx(-found.statistic)
        assert turned.pvalue == pytest.approx(found.pvalue)

    def test_it_is_undefined_where_the_difference_does_not_vary(self) -> None:
        loss = np.random.default_rng(7).gamma(2, size=50)
        assert diebold_mariano(loss, loss) is None
        assert diebold_mariano(loss + 0.1, loss) is None
        rounded = np.where(np.arange(50) % 3 == 0, np.nextafter(loss, 9), loss)
        assert np.ptp(rounded - loss) > 0
        assert diebold_mariano(rounded, loss) is None, "rounding is no variance"
        assert diebold_mariano(loss[:1], loss[1:2]) is None
        assert diebold_mariano(loss[:0], loss[:0]) is None


class TestBootstrapMean:
    @pytest.mark.parametrize(("coefficient", "widening"), [(0.0, 1.0), (0.6, 2.0)])
    def test_the_interval_is_as_wide_as_dependence_makes_it(
        self, coefficient: float, widening: float
    ) -> None:
        """The variance of a mean of an AR(1) is (1 + a) / (1 − a) times the independent one."""
        widths = []
        for seed in range(5):
            values = autoregressive(np.random.default_rng(seed), 2000, coefficient)
            found = bootstrap_mean(values, seed=seed)
            assert found is not None
            assert found.low < values.mean() == found.mean < found.high
            widths.append((found.high - found.low) / (2 * 1.96 * values.std() / sqrt(2000)))
        assert np.mean(widths) == pytest.approx(widening, rel=0.12)

    def test_the_p_value_is_one_sided_and_that_of_the_normal_distribution_for_independent_values(
        self,
    ) -> None:
        values = np.random.default_rng(8).normal(size=800)
        values += 1.3 / sqrt(800) - values.mean()
        above, below = bootstrap_mean(values), bootstrap_mean(-values)
        assert above is not None
        assert below is not None
        assert above.pvalue == pytest.approx(norm.sf(1.3 / values.std()), abs=0.005)
        assert below.pvalue == pytest.approx(1 - above.pvalue, abs=0.005)

    @pytest.mark.parametrize("coefficient", [0.0, 0.4, 0.8])
    def test_the_interval_and_the_p_value_are_those_of_arch(self, coefficient: float) -> None:
        from arch.bootstrap import StationaryBootstrap

        values = autoregressive(np.random.default_rng(9), 300, coefficient)
        values += 0.7 * values.std() / sqrt(300) / (1 - coefficient) - values.mean()
        found = bootstrap_mean(values, seed=4, confidence=0.9)
        assert found is not None
        assert found.block > 1 or coefficient == 0
        oracle = StationaryBootstrap(found.block, values, seed=np.random.default_rng(4))
        means = oracle.apply(lambda x: np.atleast_1d(x.mean()), 10_000)[:, 0]
        width = 2 * means.std()
        low, high = 2 * values.mean() - np.quantile(means, [0.95, 0.05])
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.02 * width)
        assert found.pvalue == pytest.approx((means >= 2 * values.mean()).mean(), abs=0.016)

    @pytest.mark.parametrize("seed", range(4))
    def test_the_p_value_of_whole_numbers_counts_ties_as_their_exact_distribution_does(
        self, seed: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The sum of n values drawn one by one has the n-fold convolution of their shares."""
        monkeypatch.setattr(significance, "block_length", lambda _: 1)
        values = np.random.default_rng(seed).integers(-2, 4, size=12 + 9 * seed)
        found = bootstrap_mean(values.astype(float))
        assert found is not None
        n, least = len(values), values.min()
        shares = np.bincount(values - least) / n
        sums = np.ones(1)
        for _ in range(n):
            sums = np.convolve(sums, shares)
        exact = sums[np.arange(len(sums)) + n * least >= 2 * values.sum()].sum()
        assert found.pvalue == pytest.approx(exact, abs=0.002)

    def test_the_interval_agrees_with_the_p_value(self) -> None:
        for gain in np.linspace(0, 0.2, 20):
            values = autoregressive(np.random.default_rng(9), 300, 0.4) + gain
            found = bootstrap_mean(values, confidence=0.9)
            assert found is not None
            assert (found.low > 0) == (found.pvalue < 0.05)

    def test_the_same_seed_gives_the_same_bits(self) -> None:
        values = np.random.default_rng(10).normal(size=100)
        assert (
            bootstrap_mean(values, seed=1)
            == bootstrap_mean(values, seed=1)
            != bootstrap_mean(values, seed=2)
        )

    def test_the_hits_beyond_chance_average_to_what_pesaran_and_timmermann_test(self) -> None:
        rng = np.random.default_rng(11)
        up = (rng.random(700) < 0.55).astype(int)
        called = np.where(rng.random(700) < 0.05, up, rng.random(700) < 0.6).astype(int)
        independent = up.mean() * called.mean() + (1 - up.mean()) * (1 - called.mean())
        assert excess_hits(up, called).mean() == pytest.approx((up == called).mean() - independent)
        test, check = (
            pesaran_timmermann(up, called),
            bootstrap_mean(excess_hits(up, called)),
        )
        assert test is not None
        assert check is not None
        assert 1e-4 < test.pvalue < 0.2, "the example should be neither hopeless nor plain"
        assert check.pvalue == pytest.approx(test.pvalue, abs=0.012)

    @pytest.mark.parametrize(
        "values", [np.zeros(0), np.zeros(50), np.full(50, 0.1), np.arange(9.0)]
    )
    def test_it_is_undefined_for_few_or_constant_values(self, values: np.ndarray) -> None:
        assert bootstrap_mean(values) is None

    @quick
    @given(st.lists(st.integers(-1, 1), min_size=10, max_size=40))
    def test_it_is_never_nan(self, values: list[int]) -> None:
        found = bootstrap_mean(np.array(values, dtype=float), draws=20)
        if found is None:
            assert len(set(values)) == 1
        else:
            assert np.isfinite([found.mean, found.low, found.high, found.pvalue]).all()
            assert found.block >= 1

    @pytest.mark.parametrize("n", [10, 50, 900, 6000])
    @pytest.mark.parametrize("coefficient", [0.0, 0.5])
    def test_other_draws_move_the_p_value_by_less_than_half_a_point(
        self, n: int, coefficient: float
    ) -> None:
        """By the most where p is a half, which is where a mean is nothing."""
        values = autoregressive(np.random.default_rng(12), n, coefficient)
        results = [bootstrap_mean(values - values.mean(), seed=seed) for seed in range(12)]
        pvalues = np.array([result.pvalue for result in results if result is not None])
        assert len(pvalues) == 12
        assert 0.4 < pvalues.mean() < 0.6
        assert np.ptp(pvalues) < 0.005


class TestSuperior:
    @pytest.mark.parametrize("gain", [-0.1, 0.0, 0.06, 0.1])
    def test_its_p_value_is_the_consistent_one_of_arch(self, gain: float) -> None:
        from arch.bootstrap import SPA

        rng = np.random.default_rng(20)
        benchmark = rng.normal(size=600)
        losses = benchmark[:, None] - rng.normal([gain, -0.02, -1.0], 1, (600, 3))
        result = superior(benchmark, losses, seed=1)
        oracle = SPA(benchmark, losses, block_size=1, reps=3000, seed=2)
        oracle.compute()
        assert result is not None
        assert result.statistic == pytest.approx((benchmark[:, None] - losses).mean(axis=0).max())
        assert result.pvalue == pytest.approx(oracle.pvalues["consistent"], abs=0.04)

    def test_the_best_of_many_without_skill_is_found_no_more_often_than_it_says(self) -> None:
        rng = np.random.default_rng(21)
        finds = 0
        for _ in range(200):
            result = superior(np.zeros(120), rng.normal(size=(120, 8)), draws=36_000)
            assert result is not None
            finds += result.pvalue <= 0.05
        assert finds <= binom.ppf(0.999, 200, 0.05)

    def test_it_finds_the_one_that_is_better(self) -> None:
        losses = np.random.default_rng(22).normal([0.0, -0.3], 1, (400, 2))
        result = superior(np.zeros(400), losses)
        assert result is not None
        assert result.pvalue < 0.01

    def test_other_draws_move_its_p_value_by_less_than_half_a_point(self) -> None:
        losses = np.random.default_rng(23).normal(0, 1, (900, 6))
        results = [superior(np.zeros(900), losses, seed=seed) for seed in range(12)]
        pvalues = [result.pvalue for result in results if result is not None]
        assert len(pvalues) == 12
        assert 0.2 < np.mean(pvalues) < 0.8
        assert np.ptp(pvalues) < 0.005

    def test_it_is_undefined_for_few_losses_and_for_equal_ones(self) -> None:
        assert superior(np.zeros(9), np.ones((9, 2))) is None
        assert superior(np.zeros(50), np.zeros((50, 2))) is None


class TestDaysNeeded:
    def test_they_are_the_published_ones(self) -> None:
        """616 days for 55 %, 3,862 for 52 %."""
        assert days_needed(0.55) == 616
        assert days_needed(0.52) == 3862

    @pytest.mark.parametrize(
        ("accuracy", "null"), [(0.52, 0.5), (0.55, 0.5), (0.6, 0.5), (0.58, 0.54)]
    )
    def test_the_exact_binomial_test_has_about_the_power_asked_for(
        self, accuracy: float, null: float
    ) -> None:
        days = days_needed(accuracy, null=null)
        assert days is not None
        fewest_hits = binom.isf(0.05, days, null) + 1
        assert binom.sf(fewest_hits - 1, days, accuracy) == pytest.approx(0.8, abs=0.03)

    @quick
    @given(st.floats(0.501, 1.0), st.floats(0.6, 0.99))
    def test_more_power_and_smaller_gaps_take_more_days(
        self, accuracy: float, power: float
    ) -> None:
        days, stricter = (
            days_needed(accuracy, power=power),
            days_needed(accuracy, power=power, alpha=0.01),
        )
        assert days is not None
        assert stricter is not None
        assert 0 < days < stricter
        assert days <= (days_needed(0.5 + (accuracy - 0.5) / 2, power=power) or 0)

    @pytest.mark.parametrize("accuracy", [0.5, 0.4, float("nan"), 1.01])
    def test_no_number_of_days_shows_what_is_not_above_chance(self, accuracy: float) -> None:
        assert days_needed(accuracy) is None

    @quick
    @given(st.integers(3, 100_000))
    def test_the_accuracy_that_a_number_of_days_shows_needs_that_many(self, days: int) -> None:
        accuracy = detectable_accuracy(days)
        assert accuracy is not None
        assert 0.5 < accuracy <= 1
        assert days_needed(accuracy) == days

    def test_some_days_show_nothing(self) -> None:
        assert detectable_accuracy(0) is None
        assert detectable_accuracy(2) is None


class TestMultiplicity:
    @settings(quick, max_examples=12)  # statsmodels collects garbage at each call
    @given(shares)
    def test_a_family_is_adjusted_as_holm_says(self, pvalues: np.ndarray) -> None:
        expected, running = np.empty(len(pvalues)), 0.0
        for rank, ticker in enumerate(np.argsort(pvalues, kind="stable")):
            running = max(running, min(1.0, (len(pvalues) - rank) * pvalues[ticker]))
            expected[ticker] = running
        np.testing.assert_allclose(holm(pvalues), expected, rtol=1e-12)

    @quick
    @given(shares)
    def test_a_universe_is_adjusted_as_benjamini_and_hochberg_say(
        self, pvalues: np.ndarray
    ) -> None:
        expected, running = np.empty(len(pvalues)), 1.0
        for rank, ticker in reversed(list(enumerate(np.argsort(pvalues, kind="stable"), start=1))):
            running = min(running, len(pvalues) / rank * pvalues[ticker])
            expected[ticker] = running
        np.testing.assert_allclose(benjamini_hochberg(pvalues), expected, rtol=1e-12)

    @pytest.mark.parametrize("adjusted", [holm, benjamini_hochberg])
    def test_a_universe_may_be_empty_but_not_undefined(self, adjusted: object) -> None:
        assert callable(adjusted)
        assert len(adjusted(np.array([]))) == 0
        for wrong in (np.nan, -0.1, 1.1):
            with pytest.raises(ArrayError, match="from 0 to 1"):
                adjusted(np.array([0.1, wrong]))


class TestSharpe:
    def test_the_deflated_ratio_is_that_of_the_papers_example(self) -> None:
        """Bailey and López de Prado (2014): 2.5 a year, 5 × 250 days, 100 trials, variance ½."""
        daily, variance = 2.5 / sqrt(250), 0.5 / 250
        assert deflated_sharpe(daily, 1250, 100, -3, 10, variance) == pytest.approx(
            0.9004, abs=5e-5
        )
        assert deflated_sharpe(daily, 1250, 46, -3, 10, variance) == pytest.approx(0.9505, abs=5e-5)
        assert deflated_sharpe(daily, 1250, 88, 0, 3, variance) == pytest.approx(0.9505, abs=5e-5)

    @pytest.mark.parametrize("trials", [2, 10, 200])
    def test_the_benchmark_is_what_the_best_of_that_many_shows_by_chance(self, trials: int) -> None:
        """The probability is ½ there; the formula is a limit, so few trials miss it a little."""
        days = 1000
        best = np.random.default_rng(13).normal(size=(20_000, trials)).max(axis=1).mean() / sqrt(
            days - 1
        )
        assert deflated_sharpe(best, days, trials) == pytest.approx(0.5, abs=0.06)

    def test_one_trial_is_not_deflated_and_more_trials_deflate_more(self) -> None:
        assert deflated_sharpe(0.05, 800, 1, -0.5, 6) == probabilistic_sharpe(0.05, 800, -0.5, 6)
        falling = [deflated_sharpe(0.05, 800, trials, -0.5, 6) or 0 for trials in (1, 2, 5, 50)]
        assert falling == sorted(falling, reverse=True)
        assert len(set(falling)) == 4

    def test_it_is_measured_against_what_can_be_had_without_skill(self) -> None:
        shape = {"skew": -0.5, "kurtosis": 6.0}
        held = deflated_sharpe(0.08, 800, 1, **shape, benchmark=0.05)
        assert held == probabilistic_sharpe(0.08, 800, **shape, benchmark=0.05)
        assert deflated_sharpe(0.08, 800, 1, **shape, benchmark=0.08) == pytest.approx(0.5)

    @pytest.mark.parametrize("shape", [0.0, 1.0], ids=["normal", "skewed"])
    def test_the_error_of_the_ratio_is_the_spread_of_its_estimates(self, shape: float) -> None:
        rng, days = np.random.default_rng(14), 1000
        shocks = (
            rng.normal(size=(5000, days)) if shape == 0 else rng.exponential(size=(5000, days)) - 1
        )
        returns = shocks + 0.5
        estimates = returns.mean(axis=1) / returns.std(axis=1)
        skew, kurtosis = (0.0, 3.0) if shape == 0 else (2.0, 9.0)
        assert sharpe_error(0.5, days, skew, kurtosis) == pytest.approx(estimates.std(), rel=0.04)
        calibrated = [probabilistic_sharpe(ratio, days, skew, kurtosis, 0.5) for ratio in estimates]
        assert np.mean(np.array(calibrated) > 0.95) == pytest.approx(0.05, abs=0.02)

    def test_it_is_undefined_without_days_or_without_error(self) -> None:
        assert probabilistic_sharpe(0.1, 1) is None
        assert probabilistic_sharpe(1.0, 100, skew=2.0, kurtosis=5.0) is None
        assert probabilistic_sharpe(2 / 1.9, 100, skew=1.9, kurtosis=1 + 1.9**2) is None, (
            "rounded to below 0"
        )
        assert deflated_sharpe(0.1, 1, 3) is None
        with pytest.raises(ConfigError, match=r"trials must be at least 1 \(got 0\)"):
            deflated_sharpe(0.1, 100, 0)
        with pytest.raises(ConfigError, match=r"variance must be 0 or more \(got -1\)"):
            deflated_sharpe(0.1, 100, 2, variance=-1)
