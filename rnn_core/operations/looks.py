"""Looks: which questions were asked before about the test days of a series.

A *question* is all that can change an answer: settings, seed, source, prices. Asked again with more
days, as by a daily retrain, it stays one question. Each further question about the same days is one
more look, and `rnn_core.evaluation.spending` says what it costs. Which days are the same is told by
their returns, whatever the ticker, the file or the experiment is called; and by the ticker, because
its open or its high is another series of the same days.
"""

from dataclasses import dataclass, replace
from datetime import date
from math import ceil, inf, log

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from rnn_core.data.prices import Prices, is_synthetic
from rnn_core.nn.arrays import Array

FEW = 20  # days: so many must be in common to compare ranks, and be new to be stored
ALIKE = 0.95  # rank correlation from which returns of the same days are one series'
EQUAL = 1e-4  # a basis point
GRID = 0.1  # of the median move, to which moves are rounded
BY_CHANCE = 1e-3  # how often two series may share a run of moves that decides
CLUSTERED = 0.6  # power to which moves are equal by chance where they come in clusters
LONGEST_RUN = 60  # moves; series that would need more are too coarse to tell
DISTINCT = 8  # sizes of moves, at least, in a run that tells: a share of a few cents has fewer
REFETCHED = ("yahoo", "yahoo-stored")  # sources whose history is adjusted and corrected


@dataclass(frozen=True)
class Question:
    """A question about the test days of a series.

    Attributes:
        settings: hash of all that can change the answer to given prices.
        prices: that are asked.
        outcomes: (n,) log return of the session that each call is about, by day of the call.
    """

    settings: str
    prices: Prices
    outcomes: "pd.Series[float]"

    @property
    def last_price(self) -> date:
        """The last session of the prices."""
        return pd.Timestamp(self.prices.frame.index[-1]).date()

    @property
    def first_day(self) -> date:
        """The first test day."""
        return pd.Timestamp(self.outcomes.index[0]).date()

    @property
    def last_day(self) -> date:
        """The last test day."""
        return pd.Timestamp(self.outcomes.index[-1]).date()

    def repeats(
        self, *, first_day: date, days: int, last_price: date, sha256: str, source: str
    ) -> bool:
        """Return True if this is a question by the same settings, asked again.

        It has the same first test day and no fewer days. Its prices are the same to the last bit as
        far as both go, except those of Yahoo, which adjusts and corrects its history.

        Args:
            first_day: the first test day of the earlier asking.
            days: number of its test days.
            last_price: the last session of its prices.
            sha256: of its prices.
            source: of its prices.
        """
        grown = (
            is_synthetic(self.prices.source) == is_synthetic(source)
            and self.first_day == first_day
            and len(self.outcomes) >= days
            and self.last_price >= last_price
        )
        return grown and (self.prices.source in REFETCHED or self._sha256(last_price) == sha256)

    def _sha256(self, until: date) -> str:
        known = self.prices.frame.loc[: pd.Timestamp(until)]
        return replace(self.prices, frame=known).sha256


def same_days(outcomes: "pd.Series[float]", others: "pd.Series[float]") -> bool:
    """Return True if two series of returns by day have days in common.

    On days of the same date the returns are one series' if they rank alike, whatever the prices'
    unit and rounding. On other dates they are if runs of moves of the same sizes are repeated.
    Either way one may be quoted upside down.

    >>> days = pd.date_range("2013-01-01", periods=100)
    >>> returns = pd.Series(np.random.default_rng(0).normal(0, 0.01, 100), days)
    >>> same_days(returns, returns.round(3)), same_days(returns, returns.shift(freq="9D"))
    (True, True)
    >>> same_days(returns, returns.sample(frac=1, random_state=0).set_axis(days))
    False
    """
    return _alike(outcomes, others) or _copied(outcomes, others)


def _alike(outcomes: "pd.Series[float]", others: "pd.Series[float]") -> bool:
    days = outcomes.index.intersection(others.index)
    first = outcomes[days]
    second = others[days]
    if len(days) >= FEW:
        return bool(abs(first.rank().corr(second.rank())) >= ALIKE)
    return len(days) > 0 and bool((first - second).abs().max() <= EQUAL)


def _copied(outcomes: "pd.Series[float]", others: "pd.Series[float]") -> bool:
    sizes = [np.abs(series[series != 0].to_numpy()) for series in (outcomes, others)]
    if min(map(len, sizes)) < FEW:
        return False
    grid = GRID * min(np.median(moves) for moves in sizes)
    first, second = (np.round(moves / grid).astype(np.int64) for moves in sizes)
    length = _telling_length(first, second)
    return length <= LONGEST_RUN and not _runs(first, length).isdisjoint(_runs(second, length))


def _telling_length(first: Array, second: Array) -> float:
    """Return how many successive moves two series share only if one is a copy of the other."""
    steps, counts = np.unique(first, return_counts=True)
    others, other_counts = np.unique(second, return_counts=True)
    _, places, other_places = np.intersect1d(steps, others, return_indices=True)
    pairs = len(first) * len(second)
    equal = (counts[places] @ other_counts[other_places] / pairs) ** CLUSTERED
    return ceil(log(BY_CHANCE / pairs) / log(equal)) if 0 < equal < 1 else inf


def _runs(steps: Array, length: float) -> set[bytes]:
    """Return the runs of that many successive steps, of which enough differ."""
    if len(steps) < length:
        return set()
    runs = sliding_window_view(steps, int(length))
    distinct = 1 + (np.diff(np.sort(runs, axis=1), axis=1) > 0).sum(axis=1)
    return {run.tobytes() for run in runs[distinct >= DISTINCT]}
