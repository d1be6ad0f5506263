"""Series whose truth is known: kinds without any direction to find, and kinds with one planted.

Nothing that a call could use tells the next sign of a null kind, except the share of days up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

from rnn_core.data.prices import Prices
from rnn_core.data.synthetic import DAILY_VOLATILITY, random_walk
from rnn_core.nn.arrays import Array

DAYS = 1800

Chance: TypeAlias = Callable[[int, Array], float]
"""Takes the number of a day and the log returns before it; returns the probability of up."""
Change: TypeAlias = Callable[[pd.DataFrame, np.random.Generator], Array]
"""Takes a random walk without direction and a random stream; returns other closes (L,)."""


@dataclass(frozen=True)
class Kind:
    """A way to make series.

    Attributes:
        name: what is planted or disturbed.
        change: makes the closes from those of a random walk; None keeps them.
        days: the length of a series.
        edge: of the random walk.
        stream: seeds the random walk beside the number of the series; the name if it is None.
    """

    name: str
    change: Change | None = None
    days: int = DAYS
    edge: float = 0.0
    stream: int | None = None


def prices(kind: Kind, series: int) -> Prices:
    """Return the series of that number, sessions on successive days."""
    name = list(kind.name.encode()) if kind.stream is None else [kind.stream]
    frame = random_walk(kind.days, kind.edge, np.random.SeedSequence([series, *name]))
    frame.index = np.datetime64("2000-01-03") + np.arange(kind.days)
    if kind.change is not None:
        frame["close"] = kind.change(frame, np.random.default_rng([series, 55]))
        frame = frame.drop(columns="open")  # those of the random walk
    return Prices("CONTROL", frame, "synthetic", "close", "XNYS")


def signs(chance: Chance) -> Change:
    """Return a change that draws each day's sign with its own probability; sizes stay."""

    def change(walk: pd.DataFrame, rng: np.random.Generator) -> Array:
        size = np.abs(log_returns(walk))
        drawn = rng.random(len(size))
        returns = np.zeros_like(size)
        for day in range(len(size)):
            up = drawn[day] < chance(day, returns[:day])
            returns[day] = size[day] if up else -size[day]
        return path(walk, returns)

    return change


def by_volume(walk: pd.DataFrame, rng: np.random.Generator) -> Array:
    """Return closes that rise with probability 0.60 after a volume above the one before it."""
    size = np.abs(log_returns(walk))
    grew = np.append(True, np.diff(walk["volume"].to_numpy())[:-1] > 0)
    up = rng.random(len(size)) < np.where(grew, 0.60, 0.40)
    return path(walk, np.where(up, size, -size))


def returns_of(draw: Callable[[int, np.random.Generator], Array]) -> Change:
    """Return a change that replaces the log returns by drawn ones."""
    return lambda walk, rng: path(walk, draw(len(walk) - 1, rng))


def bounce(spread: float) -> Change:
    """Return a change to closes at the bid or the ask, `spread` apart as a share of the price."""

    def change(walk: pd.DataFrame, rng: np.random.Generator) -> Array:
        side = np.where(rng.random(len(walk)) < 0.5, 1.0, -1.0)
        return np.asarray(walk["close"] * np.exp(side * spread / 2))

    return change


def ticks(walk: pd.DataFrame, _: np.random.Generator) -> Array:
    """Return closes rounded to a quarter: about one return in fourteen is 0."""
    return np.asarray(np.maximum(np.round(walk["close"] * 4) / 4, 0.25))


def stale(walk: pd.DataFrame, rng: np.random.Generator) -> Array:
    """Return closes of which a fifth repeat the last one: nobody traded."""
    traded = rng.random(len(walk)) >= 0.2
    traded[0] = True
    return np.asarray(walk["close"].where(traded).ffill())


def volatility_regimes(days: int, rng: np.random.Generator) -> Array:
    """Return normal returns whose volatility triples or falls back once in 100 days."""
    wild = np.cumsum(rng.random(days) < 0.01) % 2
    return DAILY_VOLATILITY * (0.6 + 1.2 * wild) * rng.standard_normal(days)


def t2(days: int, rng: np.random.Generator) -> Array:
    """Return returns by Student's t with two degrees of freedom: no variance, wild days."""
    return DAILY_VOLATILITY / 2 * rng.standard_t(2, days)


def garch_m(days: int, rng: np.random.Generator) -> Array:
    """Return returns that pay for their volatility, 0.1 for each unit (Engle and others, 1987)."""
    z = rng.standard_normal(days)
    returns = np.empty(days)
    variance = DAILY_VOLATILITY**2
    for day in range(days):
        volatility = np.sqrt(variance)
        shock = volatility * z[day]
        returns[day] = 0.1 * volatility + shock
        variance = 0.02 * DAILY_VOLATILITY**2 + 0.08 * shock**2 + 0.90 * variance
    return returns


def weekend(days: int, rng: np.random.Generator) -> Array:
    """Return returns that are three times as large on each fifth day."""
    monday = np.arange(days) % 5 == 0
    return DAILY_VOLATILITY * np.where(monday, 3.0, 1.0) * rng.standard_normal(days)


def slow_mean(days: int, rng: np.random.Generator) -> Array:
    """Return returns around a mean that follows an AR(1) of 0.98, 0.3 of their volatility wide."""
    mean = np.zeros(days)
    shocks = 0.3 * np.sqrt(1 - 0.98**2) * rng.standard_normal(days)
    for day in range(1, days):
        mean[day] = 0.98 * mean[day - 1] + shocks[day]
    return DAILY_VOLATILITY * (mean + rng.standard_normal(days))


def shift(before: float, after: float, turn: int = 1200) -> Chance:
    """Return the chance of up that changes once, on day `turn`."""
    return lambda day, _: before if day < turn else after


def likely(rise: Callable[[Array], bool], fewest: int = 1, chance: float = 0.60) -> Chance:
    """Return the chance of up of a rule on the returns so far, of which it needs `fewest`."""

    def of_day(day: int, returns: Array) -> float:
        if day < fewest:
            return 0.5
        return chance if rise(returns) else 1 - chance

    return of_day


def averages_cross(returns: Array) -> bool:
    """Return True if the mean of the last 3 closes is above that of the last 10."""
    close = np.cumsum(returns[-10:])
    return bool(close[-3:].mean() > close.mean())


def persists_if_wild(returns: Array) -> bool:
    """Return True if today's sign is to persist after large moves and to turn after small ones."""
    large = np.abs(returns[-10:]).mean() > 0.7 * DAILY_VOLATILITY
    return bool((returns[-1] > 0) == large)


def log_returns(walk: pd.DataFrame) -> Array:
    return np.diff(np.log(walk["close"].to_numpy()))


def path(walk: pd.DataFrame, returns: Array) -> Array:
    """Return the closes (L,) of log returns (L − 1,), from the first close of the walk."""
    return np.asarray(walk["close"].iloc[0] * np.exp(np.append(0, np.cumsum(returns))))


NULL = (
    Kind("null", stream=500),
    Kind("drift", signs(lambda *_: 0.55), stream=550),
    Kind("65 to 45 at 1200", signs(shift(0.65, 0.45))),
    Kind("65 to 45 at 900", signs(shift(0.65, 0.45, 900))),
    Kind("58 to 48 at 1200", signs(shift(0.58, 0.48))),
    Kind("45 to 65 at 1200", signs(shift(0.45, 0.65))),
    Kind("ticks", ticks),
    Kind("stale", stale),
    Kind("regimes", returns_of(volatility_regimes)),
    Kind("t2", returns_of(t2)),
    Kind("GARCH-M", returns_of(garch_m)),
    Kind("weekend", returns_of(weekend)),
    Kind("650 days", days=650),
    Kind("6000 days", days=6000),
)
BOUNCE = tuple(Kind(f"bounce {spread:.1%}", bounce(spread)) for spread in (0.005, 0.01, 0.02))
PLANTED = (
    Kind("planted", edge=0.10, stream=500),
    Kind("weak", edge=0.05, stream=500),
    Kind("weak, 1250 days", days=1250, edge=0.05, stream=500),
    Kind("weak, 3300 days", days=3300, edge=0.05, stream=500),
    Kind("planted, stale", stale, edge=0.10, stream=500),
    Kind("lag 2", signs(likely(lambda returns: returns[-2] > 0, 2))),
    Kind("lag 5", signs(likely(lambda returns: returns[-5] > 0, 5))),
    Kind("averages cross", signs(likely(averages_cross, 10))),
    Kind("sign by regime", signs(likely(persists_if_wild, 10))),
    Kind("volume", by_volume),
    Kind("XOR", signs(likely(lambda returns: returns[-1] * returns[-2] > 0, 2))),
    Kind("slow mean", returns_of(slow_mean)),
)

COMPARED = Kind("planted, 3300 days", days=3300, edge=0.10, stream=500)

KINDS = {kind.name: kind for kind in (*NULL, *BOUNCE, *PLANTED, COMPARED)}
