"""From prices to windows: the inputs of each session, and the label that the next session brings."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rnn_core.data.features import FEATURES, log_returns
from rnn_core.errors import DataError
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import Sequences

if (
    TYPE_CHECKING
):  # a served model has inputs, but no sources; and arrays are trained on without pandas
    import pandas as pd

    from rnn_core.config import Problem
    from rnn_core.data.prices import Prices


@dataclass(frozen=True, kw_only=True)
class Windows(Sequences):
    """N windows of T sessions, oldest first. The last one is live: its label is not known yet.

    Attributes:
        x: (N, T, I) features, dimensionless.
        y: (N, 1, 1) 1.0 when the next session closes up, else 0.0; NaN for the live window.
        dates: (N,) the session at whose close the window ends and the call is made.
        returns: (N,) log return of that session.
        next_returns: (N,) log return of the next session, NaN for the live window.
        features: I names.
        overnight: (N,) the part of the next return up to the next open, NaN for the live window; None without opens.
    """

    dates: "pd.DatetimeIndex"
    returns: Array
    next_returns: Array
    features: tuple[str, ...]
    overnight: Array | None = None

    @property
    def live(self) -> int:
        """Row number of the window whose label is not known yet."""
        return len(self) - 1


def windows(problem: "Problem", prices: "Prices") -> Windows:
    """Windows of `problem.seq_len` sessions and next-day direction labels.

    No feature looks ahead: the inputs of a window are functions of prices up to its own last session.

    Raises:
        DataError: too few prices for one labelled window, or a feature needs a volume that is missing.
    """
    x = inputs(problem, prices.frame)
    if len(x) < 2:
        found, needed = len(prices.frame), prices_needed(problem) + 1
        raise DataError(
            f"{prices.ticker}: {found} prices found; one labelled window needs {needed}"
        )
    returns = log_returns(prices.frame)[-len(x) :]
    next_returns = np.append(returns[1:], np.nan)
    known = np.isfinite(next_returns)
    return Windows(
        x=x,
        y=np.where(known, next_returns > 0, np.nan)[:, None, None],
        mask=known[:, None],
        dates=cast("pd.DatetimeIndex", prices.frame.index[-len(x) :]),
        returns=returns,
        next_returns=next_returns,
        features=problem.features,
        overnight=_overnight(prices.frame)[-len(x) :] if "open" in prices.frame else None,
    )


def _overnight(frame: "pd.DataFrame") -> Array:
    """(L,) log return from each close to the next open, the last NaN."""
    opens, closes = frame["open"].to_numpy(), frame["close"].to_numpy()
    return np.append(np.log(opens[1:] / closes[:-1]), np.nan)


def inputs(problem: "Problem", frame: "pd.DataFrame") -> Array:
    """(N, T, I) features of every window that ends in `frame`, oldest first; N is 0 if there are too few prices.

    `frame` (L, F) holds prices by session, as in `Prices`.

    Raises:
        DataError: a feature needs a volume that is missing.
    """
    defined = features(problem, frame).to_numpy()[_undefined(problem) :]
    if len(defined) < problem.seq_len:
        return np.empty((0, problem.seq_len, len(problem.features)))
    return np.ascontiguousarray(
        np.moveaxis(sliding_window_view(defined, problem.seq_len, axis=0), -1, 1)
    )


def prices_needed(problem: "Problem") -> int:
    """Prices that the inputs of one window are made of."""
    return _undefined(problem) + problem.seq_len


def _undefined(problem: "Problem") -> int:
    """Return how many sessions at the start of a series have not every feature yet."""
    return max(FEATURES[name].undefined(problem.volatility_window) for name in problem.features)


def features(problem: "Problem", frame: "pd.DataFrame") -> "pd.DataFrame":
    """(L, I) one column a feature, NaN before it is defined.

    Raises:
        DataError: the volume feature is asked for and there is no volume, or a gap in it.
    """
    window = problem.volatility_window
    return frame[[]].assign(
        **{name: FEATURES[name].values(frame, window) for name in problem.features}
    )
