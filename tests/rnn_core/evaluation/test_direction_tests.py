"""Tests of direction against exact distributions, definitions, statsmodels and simulations."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2_contingency, fisher_exact, hypergeom, norm, pearsonr
from statsmodels.stats.contingency_tables import StratifiedTable

from rnn_core.evaluation.direction_tests import (
    anatolyev_gerko,
    pesaran_timmermann,
    strata,
    within_strata,
)

quick = settings(derandomize=True, deadline=None, max_examples=50)
counts = st.integers(0, 60)


def series_of(
    up_up: int, up_down: int, down_up: int, down_down: int
) -> tuple[np.ndarray, np.ndarray]:
    """What happened and what was called, with these counts."""
    happened = np.repeat([1, 1, 0, 0], [up_up, up_down, down_up, down_down])
    return happened, np.repeat([1, 0, 1, 0], [up_up, up_down, down_up, down_down])


class TestPesaranTimmermann:
    @quick
    @given(st.tuples(counts, counts, counts, counts))
    def test_its_square_is_the_chi_square_of_the_table_and_its_sign_that_of_the_excess_hits(
        self, cells: tuple[int, int, int, int]
    ) -> None:
        up, called = series_of(*cells)
        table = np.array(cells).reshape(2, 2)
        found = pesaran_timmermann(up, called)
        if 0 in table.sum(axis=0) or 0 in table.sum(axis=1):
            assert found is None
            return
        assert found is not None
        expected = chi2_contingency(table, correction=False).statistic
        assert found.statistic**2 == pytest.approx(expected, rel=1e-9, abs=1e-9)
        excess = np.linalg.det(table)
        assume(abs(excess) > 0.5)
        assert np.sign(found.statistic) == np.sign(excess)
        if len(up) < 50:
            fisher = fisher_exact(table, alternative="greater").pvalue
            assert found.pvalue == pytest.approx(fisher, rel=1e-7)
        else:
            assert found.pvalue == pytest.approx(norm.sf(found.statistic))

    def test_its_p_value_is_that_of_all_permutations_of_the_calls(self) -> None:
        """Given both margins, hits of independent calls are hypergeometric; ties count half."""
        rng = np.random.default_rng(0)
        for _ in range(200):
            up, called = rng.random(600) < 0.54, rng.random(600) < 0.6
            found = pesaran_timmermann(up, called)
            both = hypergeom(600, up.sum(), called.sum())
            exact = both.sf((up & called).sum()) + both.pmf((up & called).sum()) / 2
            assert found is not None
            assert found.pvalue == pytest.approx(exact, abs=0.004)

    def test_without_skill_it_finds_as_often_as_it_says(self) -> None:
        rng = np.random.default_rng(1)
        pvalues = np.array([self.random_calls(rng) for _ in range(2000)])
        for level in (0.05, 0.2, 0.5, 0.8):
            assert (pvalues <= level).mean() == pytest.approx(
                level, abs=4 * sqrt(level * (1 - level) / 2000)
            )

    def random_calls(self, rng: np.random.Generator) -> float:
        """A drifting market and a forecaster who mostly says up."""
        found = pesaran_timmermann(rng.random(500) < 0.55, rng.random(500) < 0.7)
        assert found is not None
        return found.pvalue

    def test_calls_that_are_always_right_or_always_wrong_are_the_extremes(self) -> None:
        up = np.arange(100) % 3 == 0
        right, wrong = pesaran_timmermann(up, up), pesaran_timmermann(up, ~up)
        assert right is not None
        assert wrong is not None
        assert right.statistic == pytest.approx(10)
        assert wrong.statistic == pytest.approx(-10)
        assert wrong.pvalue > 1 - 1e-12

    def test_it_is_undefined_where_nothing_can_be_told_apart(self) -> None:
        up = np.array([0, 1, 1, 0])
        assert pesaran_timmermann(up, np.ones(4)) is None
        assert pesaran_timmermann(np.zeros(4), up) is None
        assert pesaran_timmermann(np.array([]), np.array([])) is None


class TestWithinStrata:
    @quick
    @given(st.lists(st.tuples(*[st.integers(0, 30)] * 4), min_size=1, max_size=6))
    def test_its_square_is_that_of_statsmodels_stratified_table(
        self, tables: list[tuple[int, ...]]
    ) -> None:
        up, called, stratum = stratified(tables)
        result = within_strata(up, called, stratum)
        informative = [cells for cells in np.reshape(tables, (-1, 2, 2)) if varied(cells)]
        if not informative:
            assert result is None
            return
        assert result is not None
        oracle = StratifiedTable([cells.astype(float) for cells in informative])
        expected = oracle.test_null_odds(correction=False).statistic
        assert result.statistic**2 == pytest.approx(expected, rel=1e-9, abs=1e-9)

    @quick
    @given(st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=3))
    def test_the_exact_p_value_is_that_of_all_orders_within_each_stratum(
        self, tables: list[tuple[int, ...]]
    ) -> None:
        up, called, stratum = stratified(tables)
        assume(0 < len(up) < 50)
        result = within_strata(up, called, stratum)
        assume(result is not None)
        rng = np.random.default_rng(0)
        orders = np.array(
            [
                rng.permuted(np.tile(up[stratum == k], (4000, 1)), axis=1) @ called[stratum == k]
                for k in np.unique(stratum)
            ]
        ).sum(axis=0)
        assert result is not None
        assert result.pvalue == pytest.approx((orders >= up @ called).mean(), abs=0.04)

    def test_in_one_stratum_it_is_pesaran_and_timmermanns(self) -> None:
        rng = np.random.default_rng(5)
        up, called = (rng.random((2, 400)) < 0.55).astype(int)
        one = within_strata(up, called, np.zeros(400, int))
        whole = pesaran_timmermann(up, called)
        assert one is not None
        assert whole is not None
        assert one.statistic == pytest.approx(whole.statistic * sqrt(399 / 400))
        assert one.pvalue == pytest.approx(whole.pvalue, rel=0.01)

    def test_calls_that_only_follow_a_drifting_base_rate_find_as_often_as_it_says(self) -> None:
        """The test without strata finds them nearly always."""
        rng = np.random.default_rng(6)
        stratum = np.arange(600) // 60
        within = []
        without = []
        for _ in range(1000):
            share = np.linspace(0.25, 0.75, 10)[stratum]
            up, called = (rng.random((2, 600)) < share).astype(int)
            result, unaware = within_strata(up, called, stratum), pesaran_timmermann(up, called)
            assert result is not None
            assert unaware is not None
            within.append(result.pvalue <= 0.05)
            without.append(unaware.pvalue <= 0.05)
        assert binom.ppf(0.001, 1000, 0.05) <= np.sum(within) <= binom.ppf(0.999, 1000, 0.05)
        assert np.mean(without) > 0.4

    @pytest.mark.parametrize("days", [3, 8, 20, 49])
    def test_few_days_find_no_more_often_than_it_says(self, days: int) -> None:
        rng = np.random.default_rng(days)
        stratum = np.arange(days) // 10
        alone = []
        within = []
        for _ in range(2000):
            up, called = (rng.random((2, days)) < [[0.5], [0.4]]).astype(int)
            tests = pesaran_timmermann(up, called), within_strata(up, called, stratum)
            for test, finds in zip(tests, (alone, within), strict=True):
                finds.append(test is not None and test.pvalue <= 0.05)
        for finds in (alone, within):
            assert np.sum(finds) <= binom.ppf(0.999, 2000, 0.05)

    def test_it_is_undefined_where_no_stratum_tells_anything(self) -> None:
        up = np.array([0, 1, 0, 1])
        assert within_strata(up, up, np.arange(4)) is None, "strata of a day"
        assert within_strata(up, np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])) is None
        assert within_strata(np.zeros(0), np.zeros(0), np.zeros(0)) is None


def stratified(
    tables: list[tuple[int, ...]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What happened, what was called, and the stratum, with these counts in each."""
    pairs = [series_of(*cells) for cells in tables]
    up = np.concatenate([pair[0] for pair in pairs])
    called = np.concatenate([pair[1] for pair in pairs])
    return up, called, np.repeat(np.arange(len(tables)), [sum(cells) for cells in tables])


def varied(cells: np.ndarray) -> bool:
    return bool(cells.sum(axis=0).all() and cells.sum(axis=1).all())


@quick
@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 70))
def test_strata_join_whole_folds_in_order_and_keep_long_ones(days: list[int], fewest: int) -> None:
    fold = np.repeat(np.arange(len(days)), days)
    stratum = strata(fold, fewest)
    assert (np.diff(stratum) >= 0).all()
    for number in range(len(days)):
        assert len(set(stratum[fold == number])) == 1, "a fold is not divided"
    for one, other in zip(range(len(days)), range(1, len(days)), strict=False):
        if days[one] >= fewest:
            first = stratum[fold == one][0]
            second = stratum[fold == other][0]
            assert first < second, "a long fold shares no stratum with the next"


class TestAnatolyevGerko:
    def test_it_is_what_its_definition_says(self) -> None:
        rng = np.random.default_rng(2)
        returns, called = (
            rng.standard_t(4, size=300) / 100 + 0.001,
            (rng.random(300) < 0.6).astype(int),
        )
        earned = sides = drift = spread = 0.0
        for value, call in zip(returns, called, strict=True):
            side = 1 if call else -1
            earned, sides, drift = (
                earned + side * value / 300,
                sides + side / 300,
                drift + value / 300,
            )
        for value in returns:
            spread += (value - drift) ** 2
        share = (1 + sides) / 2
        expected = (earned - sides * drift) / sqrt(4 / 300**2 * share * (1 - share) * spread)
        found = anatolyev_gerko(returns, called)
        assert found is not None
        assert found.statistic == pytest.approx(expected, rel=1e-12)
        assert found.statistic == pytest.approx(
            sqrt(300) * pearsonr(returns, called).statistic, rel=1e-9
        )
        assert found.pvalue == pytest.approx(norm.sf(expected))

    def test_its_p_value_is_that_of_many_permutations_of_the_calls(self) -> None:
        rng = np.random.default_rng(3)
        returns = rng.standard_t(5, size=400) / 100 + 0.002
        called = (returns + rng.normal(size=400) / 4 > 0).astype(int)
        found = anatolyev_gerko(returns, called)
        shuffled = rng.permuted(np.tile(called, (20_000, 1)), axis=1) @ returns
        assert found is not None
        assert 0.02 < found.pvalue < 0.3, "the example should be neither hopeless nor plain"
        assert found.pvalue == pytest.approx((shuffled >= called @ returns).mean(), abs=0.01)

    def test_without_skill_it_finds_as_often_as_it_says(self) -> None:
        rng = np.random.default_rng(4)
        pvalues = []
        for _ in range(2000):
            volatility = np.exp(autoregressive_cheap(rng, 300) / 3)
            found = anatolyev_gerko(
                0.001 + volatility * rng.normal(size=300) / 100, rng.random(300) < 0.7
            )
            assert found is not None
            pvalues.append(found.pvalue)
        for level in (0.05, 0.5):
            share = (np.array(pvalues) <= level).mean()
            assert share == pytest.approx(level, abs=4 * sqrt(level * (1 - level) / 2000))

    def test_it_is_undefined_for_constant_calls_and_prices_that_stand_still(self) -> None:
        returns = np.array([0.01, -0.02, 0.03, 0.01])
        assert anatolyev_gerko(returns, np.ones(4)) is None
        assert anatolyev_gerko(np.full(4, 0.01), np.array([0, 1, 0, 1])) is None


def autoregressive_cheap(rng: np.random.Generator, count: int) -> np.ndarray:
    """A slow series: the moving sum of 20 shocks."""
    return np.convolve(rng.normal(size=count + 19), np.ones(20) / sqrt(20), mode="valid")


def test_folds_of_a_day_are_joined_so_that_they_tell_something() -> None:
    up = np.arange(200) % 2
    fold = np.arange(200)
    assert within_strata(up, up, fold) is None
    joined = within_strata(up, up, strata(fold, 63))
    assert joined is not None
    assert joined.pvalue < 1e-9
    assert np.bincount(strata(fold, 63)).tolist() == [63, 63, 63, 11]
