"""The inputs of a session, by name: one function and one row of `FEATURES` each.

A feature is a function of prices up to its own session: it never looks ahead. To add one, write its
function and its row; the configuration, the windows, the drift test and the served model read the
rest from the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rnn_core.errors import DataError
from rnn_core.nn.arrays import Array

if TYPE_CHECKING:  # a served model computes features and imports no pandas for it
    import pandas as pd

Values: TypeAlias = Callable[["pd.DataFrame", int], Array]
"""Takes prices (L, F) by session and `problem.volatility_window`; returns the feature (L,).

It is NaN before it is defined.
"""


@dataclass(frozen=True)
class Feature:
    """An input of a session.

    Attributes:
        values: computes it.
        needs_volume: True if it is a function of the volume too.
        clusters: True if it is large for weeks, then small for weeks. Any two stretches of it
            differ, so the drift test leaves it out.
        fills_the_window: True if it is first defined after `problem.volatility_window` sessions;
            the others are after one.
    """

    values: Values
    needs_volume: bool = False
    clusters: bool = False
    fills_the_window: bool = False

    def undefined(self, volatility_window: int) -> int:
        """Return how many sessions at the start of a series have no value."""
        return volatility_window if self.fills_the_window else 1


def log_returns(frame: "pd.DataFrame") -> Array:
    """Return the daily log returns (L,) of the closes, dimensionless; the first is NaN.

    >>> import pandas as pd
    >>> log_returns(pd.DataFrame({"close": [100.0, 101.0]})).round(4).tolist()
    [nan, 0.01]
    """
    return _changes(np.log(frame["close"].to_numpy()))


def _changes(series: Array) -> Array:
    return np.append(np.nan, np.diff(series))


def _absolute_return(frame: "pd.DataFrame", _: int) -> Array:
    return np.abs(log_returns(frame))


def _direction(frame: "pd.DataFrame", _: int) -> Array:
    return np.sign(log_returns(frame))


def _volatility(frame: "pd.DataFrame", window: int) -> Array:
    """Return the standard deviation of the last `window` returns.

    Each window is summed afresh, unlike pandas' running sums, so that a value has the same bits
    wherever the series starts: a served model sees only the last few prices.
    """
    returns = log_returns(frame)
    volatility = np.full(len(returns), np.nan)
    if len(returns) > window:
        volatility[window:] = sliding_window_view(returns[1:], window).std(axis=-1)
    return volatility


def _volume_change(frame: "pd.DataFrame", _: int) -> Array:
    return _changes(np.log1p(_volume(frame)))


def _volume(frame: "pd.DataFrame") -> Array:
    if "volume" not in frame:
        raise DataError("the feature volume_change needs a volume column; there is none")
    volume = frame["volume"].to_numpy()
    wrong = ~(np.isfinite(volume) & (volume >= 0))
    if wrong.any():
        days = ", ".join(str(day.date()) for day in frame.index[wrong][:3])
        raise DataError(
            "the feature volume_change needs every volume; "
            f"{wrong.sum()} missing or negative: {days} …"
        )
    return volume


FEATURES: dict[str, Feature] = {
    "return": Feature(lambda frame, _: log_returns(frame)),
    "abs_return": Feature(_absolute_return, clusters=True),
    "direction": Feature(_direction),
    "volume_change": Feature(_volume_change, needs_volume=True),
    "volatility": Feature(_volatility, clusters=True, fills_the_window=True),
}
"""Every feature by its name in `problem.features`."""
