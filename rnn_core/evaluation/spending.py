"""The level at which a look at test days is judged: all looks together find too much in 5 %.

A *look* asks one question of the test days of a series: has this configuration found something? The
k-th question about the same days is judged at αₖ = 6 α / (π² k²), which sum to α = 5 %: a later
question costs more and takes nothing from an earlier one. This is alpha spending.

A daily retrain asks its question again with one more day. The first asking takes `FIRST_ASKING` of
αₖ. All later ones share the rest by a bound that holds at every time at once: with t times as many
days, z ≥ √(c + log t), where 1 − Φ(√c) + √c φ(√c) is their share. Robbins and Siegmund, Boundary
Crossing Probabilities for the Wiener Process and Sample Sums, Annals of Mathematical Statistics 41
(1970) 1410–1429; for sums of other than normal values, from many days on: Waudby-Smith, Arbour,
Sinha, Kennedy and Ramdas, Time-uniform Central Limit Theory, Annals of Statistics 52 (2024).
"""

from dataclasses import dataclass
from functools import cache
from math import log, pi, sqrt

from scipy.optimize import brentq
from scipy.stats import norm

from rnn_core.errors import ConfigError
from rnn_core.evaluation.significance import ALPHA

FIRST_ASKING = 0.75  # share of a question's level that its first asking takes


@dataclass(frozen=True)
class Look:
    """Which question about its test days a run asks, and how strictly it is judged.

    Attributes:
        number: how many questions were asked about these days, this one included.
        level: the largest p-value that finds something.
    """

    number: int
    level: float

    def adjusted(self, pvalue: float) -> float:
        """Return the p-value that is at most 5 % if the given one is at most the level."""
        return min(1.0, pvalue * ALPHA / self.level)

    def __str__(self) -> str:
        judged = f"judged at {100 * self.level:.2g} %"
        return judged if self.number == 1 else f"look {self.number} on these days, {judged}"


def nth_look(number: int, *, growth: float = 1.0, found: bool = False) -> Look:
    """Return the look that asks the question of this number.

    Args:
        number: how many questions were asked about these days, this one included.
        growth: how many times as many test days there are as at the first asking, 1 or more.
        found: True if an earlier asking found skill: then the level stays that of the first.

    Raises:
        ConfigError: a number or growth below 1.

    >>> str(nth_look(1)), str(nth_look(7))
    ('judged at 2.3 %', 'look 7 on these days, judged at 0.047 %')
    >>> str(nth_look(1, growth=2)), str(nth_look(1, growth=2, found=True))
    ('judged at 0.042 %', 'judged at 2.3 %')
    """
    if number < 1 or growth < 1:
        raise ConfigError(
            "the number and the growth of a look must be at least 1 "
            f"(got number {number}, growth {growth:g})"
        )
    budget = 6 * ALPHA / (pi * number) ** 2
    if growth == 1 or found:
        return Look(number, FIRST_ASKING * budget)
    start = _start_of_bound((1 - FIRST_ASKING) * budget)
    return Look(number, float(norm.sf(sqrt(start**2 + log(growth)))))


@cache
def _start_of_bound(share: float) -> float:
    """Return √c of the bound that is crossed with probability `share`, one-sided."""

    def too_often(z: float) -> float:
        return float(norm.sf(z) + z * norm.pdf(z)) - share

    return float(brentq(too_often, 1.0, 40.0))


FIRST_LOOK = nth_look(1)
