"""Audit: how often the verdict finds skill in surrogates of the user's own series.

In those without a direction to find it may do so in 5 % at most. In those with one planted, the
share is the power of these settings at this number of test days. Each is judged as a first look.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from scipy.stats import binom

from rnn_core.commands import Audit, Retrain
from rnn_core.config import Problem
from rnn_core.data.folds import folds
from rnn_core.data.prices import Prices
from rnn_core.data.windows import features, prices_needed, windows
from rnn_core.evaluation import names
from rnn_core.evaluation.evaluation import judge
from rnn_core.evaluation.metrics import CONFIDENCE, wilson_interval
from rnn_core.evaluation.significance import ALPHA
from rnn_core.evaluation.surrogates import NULL, Kind, planted, surrogate
from rnn_core.evaluation.verdict import DETECTABLE, SKILL
from rnn_core.nn.ensemble import out_of_sample
from rnn_core.nn.training import fit

BREACH = 0.10  # false-skill rate, twice the promised one, that a promise kept must exclude
CUTS = 25  # days at which features are computed again
ROUNDING = 1e-9  # of a feature's largest value, that it may change by
NO_LEAK_SEEN = (
    "feature sees the future, though none changes with later prices, or that the test which "
    "decides does not hold for these prices and settings"
)


class Piece(NamedTuple):
    """The number of a surrogate, and its kind."""

    kind: Kind
    number: int


Over: TypeAlias = Callable[[Callable[[Piece], bool], Sequence[Piece]], Iterable[bool]]
"""Does what `map` does, in order: in this process, or in several."""


@dataclass(frozen=True)
class Count:
    """In how many series of a kind the rule finds skill.

    Attributes:
        name: what was planted, or how the signs were drawn.
        skill: series with the verdict `skill`.
        series: how many were judged.
    """

    name: str
    skill: int
    series: int

    @property
    def rate(self) -> float:
        """The share of series with skill."""
        return self.skill / self.series

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of the true rate (Wilson, 1927)."""
        return wilson_interval(self.skill, self.series)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.skill} of {self.series} ({100 * low:.0f} to {high:.0%})"


@dataclass(frozen=True)
class Findings:
    """Counts of the skill that the rule finds in surrogates of one series.

    Attributes:
        test_days: of each surrogate.
        null: those without a direction, by kind.
        power: those with a planted one, by the probability that a sign repeats.
        peeking: features that see the future, by name.
    """

    test_days: int
    null: tuple[Count, ...]
    power: dict[float, Count]
    peeking: tuple[str, ...]

    @property
    def false_skill(self) -> Count:
        """All series without a direction."""
        skill = sum(count.skill for count in self.null)
        return Count("no direction", skill, sum(count.series for count in self.null))

    @property
    def counts(self) -> tuple[Count, ...]:
        """The counts of all kinds, after those without a direction their sum."""
        return (*self.null, self.false_skill, *self.power.values())

    @property
    def broken(self) -> bool:
        """True if skill is found where there is none, more often than chance allows."""
        return self.false_skill.skill > most_false(self.false_skill.series)

    @property
    def meaning(self) -> str:
        """The findings in one sentence."""
        false_skill = f"false skill {self.false_skill}"
        if not self.power:
            return f"with these settings and {self.test_days} test days: {false_skill}"
        edge = min(self.power, key=lambda edge: abs(edge - DETECTABLE))
        found = self.power[edge]
        return (
            f"with these settings and {self.test_days} test days the rule finds a direction of "
            f"{edge:.0%} in {found.rate:.0%} of series; {false_skill}"
        )

    @property
    def promise(self) -> str:
        """One sentence: if the rule keeps its promise, and which features peek."""
        found = self.false_skill
        allowed = f"{most_false(found.series)} of {found.series}"
        if not self.broken:
            kept = f"{self._kept}: up to {allowed} are chance at a rate of {ALPHA:.0%}"
            return f"{kept}; but a {self._leak}" if self.peeking else kept
        cause = self._leak if self.peeking else NO_LEAK_SEEN
        return (
            f"THE RULE IS BROKEN HERE: {found} is more than {allowed}, which are chance at a rate "
            f"of {ALPHA:.0%}; a false-skill rate of {found.rate:.0%} means that a {cause}"
        )

    @property
    def _kept(self) -> str:
        """What series without a breach show: a few of them do not exclude one."""
        highest = self.false_skill.interval[1]
        if highest <= BREACH:
            return "the rule keeps its promise"
        return (
            f"no breach was seen in {self.false_skill.series} series, which leave a false-skill "
            f"rate of up to {highest:.0%} possible"
        )

    @property
    def _leak(self) -> str:
        listed = " and ".join(self.peeking)
        return f"feature sees the future: {listed}, whose past values change with later prices"

    @property
    def metrics(self) -> dict[str, float]:
        """Rates with their intervals, by metric name."""
        by_name = {names.FALSE_SKILL: self.false_skill}
        by_name |= {names.power(edge): count for edge, count in self.power.items()}
        metrics: dict[str, float] = {names.audit("test_days"): self.test_days}
        for name, count in by_name.items():
            low, high = count.interval
            metrics |= {name: count.rate, f"{name}_low": low, f"{name}_high": high}
        return metrics

    @property
    def table(self) -> pd.DataFrame:
        """One row a kind: its `direction`, `skill`, `series`, `rate`, and `low`..`high` of that."""
        return pd.DataFrame(
            [
                (count.name, count.skill, count.series, count.rate, *count.interval)
                for count in self.counts
            ],
            columns=["direction", "skill", "series", "rate", "low", "high"],
        )


def most_false(series: int) -> int:
    """Return the number of finds in null series that a true rate of 5 % exceeds once in forty.

    >>> most_false(100)
    10
    """
    return int(binom.ppf((1 + CONFIDENCE) / 2, series, ALPHA))


def pieces(config: Audit) -> list[Piece]:
    """Return all surrogates to judge; those without a direction take turns between their kinds."""
    numbers = range(config.series)
    null = [Piece(NULL[number % len(NULL)], number) for number in numbers]
    return null + [Piece(planted(edge), number) for edge in config.edges for number in numbers]


def count_skill(config: Audit, prices: Prices, over: Over = map) -> Findings:
    """Return how often skill is found in surrogates of the prices, with the settings of `config`.

    The result does not depend on how `over` shares the work out.

    Raises:
        DataError: too few prices for one fold.
        TrainingError: no network could be trained on a surrogate.
    """
    test_days = count_test_days(config, prices)
    seeing_the_future = peeking(config.problem, prices)
    asked = pieces(config)
    verdicts = list(over(partial(finds_skill, config, prices), asked))
    found = pd.Series(verdicts).groupby([piece.kind.name for piece in asked]).agg(["sum", "size"])
    counts = {
        str(name): Count(str(name), int(row["sum"]), int(row["size"]))
        for name, row in found.iterrows()
    }
    return Findings(
        test_days=test_days,
        null=tuple(counts[kind.name] for kind in NULL),
        power={edge: counts[planted(edge).name] for edge in config.edges},
        peeking=seeing_the_future,
    )


def count_test_days(config: Retrain, prices: Prices) -> int:
    """Return how many days the walk-forward forecasts out of sample.

    Raises:
        DataError: too few prices for one fold.
    """
    walk = folds(config.evaluation, windows(config.problem, prices))
    return int((walk.test >= 0).sum())


def finds_skill(config: Retrain, prices: Prices, piece: Piece) -> bool:
    """Return True if the verdict on one surrogate of the prices is `skill`."""
    series = surrogate(prices, piece.kind, piece.number, config.training.seed)
    built = windows(config.problem, series)
    walk = folds(config.evaluation, built)
    fitted = fit(config.model, config.training, built, walk)
    logits = out_of_sample(fitted, built, walk)
    shrinkage = config.training.shrinkage
    judged = judge(built, walk, logits, config.evaluation, shrinkage=shrinkage)
    return judged.verdict.tag == SKILL


def peeking(problem: Problem, prices: Prices) -> tuple[str, ...]:
    """Return the features of the problem whose past values change if later prices do.

    A feature that looks at tomorrow is one of them, and one that is normalised over the whole
    series. All are computed again on `CUTS` days spread over the series, with the later prices cut
    off, raised and lowered.
    """
    frame = prices.frame
    whole = features(problem, frame)
    tolerance = ROUNDING * whole.abs().max()
    changed = pd.Series(False, index=whole.columns)
    for day in np.linspace(prices_needed(problem), len(frame) - 2, CUTS).astype(int):
        past = slice(0, day + 1)
        for other in (frame[past], _moved(frame, day, 2.0), _moved(frame, day, 0.5)):
            before = whole[past]
            now = features(problem, other)[past]
            same = ((before - now).abs() <= tolerance) | (before.isna() & now.isna())
            changed |= ~same.all()
    return tuple(changed.index[changed])


def _moved(frame: pd.DataFrame, day: int, times: float) -> pd.DataFrame:
    """Return the prices, those after `day` multiplied by `times` at first and 1/`times` last."""
    later = np.linspace(times, 1 / times, len(frame) - day - 1)
    factor = np.append(np.ones(day + 1), later)
    return frame.mul(factor, axis=0)
