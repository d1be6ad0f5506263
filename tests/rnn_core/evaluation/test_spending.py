"""The levels of looks: their sum, and how often sums of random signs go beyond them."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom, norm

from rnn_core.errors import ConfigError
from rnn_core.evaluation.spending import FIRST_ASKING, Look, nth_look


def test_all_looks_together_spend_five_per_cent() -> None:
    levels = np.array([nth_look(number).level for number in range(1, 20_001)]) / FIRST_ASKING
    assert 0.0499 < levels.sum() < 0.05
    assert (np.diff(levels) < 0).all()


def test_a_later_asking_is_judged_more_strictly_the_longer_it_goes_on() -> None:
    levels = [nth_look(1, growth=growth).level for growth in (1, 1.0001, 1.5, 3, 10)]
    assert levels == sorted(levels, reverse=True)
    assert nth_look(3, growth=1.5).level < nth_look(1, growth=1.5).level


def test_what_was_found_once_is_judged_as_at_first() -> None:
    assert nth_look(2, growth=4, found=True) == nth_look(2)


def test_the_adjusted_p_value_is_five_per_cent_at_the_level() -> None:
    for look in (nth_look(1), nth_look(7), nth_look(2, growth=1.2)):
        assert look.adjusted(look.level) == pytest.approx(0.05)
        assert look.adjusted(0.9) == 1


def crossings(askings: int, first_days: int, paths: int, judged: Callable[[float], Look]) -> int:
    """Return how many sums of random signs are ever beyond the level, asked on every later day."""
    rng = np.random.default_rng(askings)
    growths = 1 + np.arange(askings) / first_days
    levels = [judged(growth).level for growth in growths]
    bound = norm.isf(levels) * np.sqrt(growths * first_days)
    total = 2.0 * rng.binomial(first_days, 0.5, paths) - first_days
    crossed = total >= bound[0]
    for limit in bound[1:]:
        total = total + rng.choice((-1.0, 1.0), paths)
        crossed |= total >= limit
    return int(crossed.sum())


@pytest.mark.parametrize(("askings", "first_days"), [(252, 1000), (900, 100)])
def test_a_question_asked_every_day_finds_too_much_in_its_share(
    askings: int, first_days: int
) -> None:
    """The share of the first look is 3.04 %."""
    share = nth_look(1).level / FIRST_ASKING
    found = crossings(askings, first_days, 20_000, lambda growth: nth_look(1, growth=growth))
    assert found <= binom.ppf(0.999, 20_000, share)
    assert found >= binom.ppf(0.001, 20_000, 0.6 * share), "it would be needlessly strict"


def test_judging_each_day_as_the_first_breaks_the_bound() -> None:
    found = crossings(900, 100, 2_000, lambda _: nth_look(1))
    assert found > binom.ppf(0.999, 2_000, 0.05)


def families(judged: Callable[[int], Look], correlation: float) -> int:
    """Return in how many of 2,000 families of 50 questions without an answer one is found."""
    rng = np.random.default_rng(50)
    common, own = rng.normal(size=(2000, 1)), rng.normal(size=(2000, 50))
    z = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    levels = np.array([judged(number).level for number in range(1, 51)])
    return int((norm.sf(z) <= levels).any(axis=1).sum())


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8])
def test_fifty_questions_about_the_same_days_find_too_much_in_five_per_cent(
    correlation: float,
) -> None:
    assert families(nth_look, correlation) <= binom.ppf(0.999, 2000, 0.05)
    assert families(lambda _: nth_look(1), correlation) > binom.ppf(0.999, 2000, 0.05)


@pytest.mark.parametrize(("number", "growth"), [(0, 1.0), (1, 0.99)])
def test_what_cannot_be_is_refused(number: int, growth: float) -> None:
    with pytest.raises(ConfigError, match="must be at least 1"):
        nth_look(number, growth=growth)
