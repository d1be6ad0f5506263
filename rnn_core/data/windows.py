"""From prices to windows: the inputs of each session, and the next session as label."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from rnn_core.data.features import FEATURES, log_returns
from rnn_core.data.gaps import MOST_MISSING, refuse_torn
from rnn_core.errors import DataError
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import Sequences

if TYPE_CHECKING:  # a served model computes inputs without pandas, settings or sources
    import pandas as pd

    from rnn_core.config import Problem
    from rnn_core.data.prices import Prices


@dataclass(frozen=True, kw_only=True)
class Windows(Sequences):
    """N windows of T sessions, oldest first. The last one is live: its label is not known yet.

    Attributes:
        x: (N, T, I) features, dimensionless.
        y: (N, 1, 1) 1.0 if the next session closes up, else 0.0; NaN for the live window and for
            those next to a missing session, which `mask` leaves out.
        dates: (N,) the session at whose close the window ends and the call is made.
        returns: (N,) log return of that session, dimensionless.
        next_returns: (N,) log return of the next session; NaN for the live window.
        features: I names.
        sessions_a_year: how many sessions a year of the market has.
        overnight: (N,) log return from the close to the next open; NaN for the live window. None
            if the prices have no opens.
    """

    dates: "pd.DatetimeIndex"
    returns: Array
    next_returns: Array
    features: tuple[str, ...]
    sessions_a_year: int
    overnight: Array | None = None

    @property
    def live(self) -> int:
        """Row number of the window whose label is not known yet."""
        return len(self) - 1


def windows(problem: "Problem", prices: "Prices") -> Windows:
    """Return windows of `problem.seq_len` sessions with next-day direction labels.

    No feature looks ahead: the inputs of a window are functions of prices up to its last session.

    Raises:
        DataError: too few prices for one labelled window, or a feature lacks the volume it needs.
    """
    frame = prices.frame
    x = inputs(problem, frame)
    count = len(x)
    if count < 2:
        raise DataError(
            f"{prices.ticker}: got {len(frame)} prices; "
            f"one labelled window needs {prices_needed(problem) + 1}"
        )
    returns = log_returns(frame)[-count:]
    next_returns = np.append(returns[1:], np.nan)
    known = np.isfinite(next_returns) & _labelled(problem, prices.steps)[-count:]
    rose = np.where(known, next_returns > 0, np.nan)
    return Windows(
        x=x,
        y=rose[:, None, None],
        mask=known[:, None],
        dates=cast("pd.DatetimeIndex", frame.index[-count:]),
        returns=returns,
        next_returns=next_returns,
        features=problem.features,
        sessions_a_year=prices.sessions_a_year,
        overnight=_overnight(frame)[-count:] if "open" in frame else None,
    )


def _labelled(problem: "Problem", steps: Array) -> Array:
    """Return which rows (L,) may end a labelled window, from each row's `steps` (L,) in sessions.

    A label is the move of one session, and so is the return of the session before it: neither may
    reach over a missing session. Nor may a window lack more than `MOST_MISSING` of them.
    """
    one_session = steps == 1
    before_and_after = one_session & np.append(one_session[1:], True)
    reach = prices_needed(problem) - 1  # steps inside the prices that a window is made of
    lacking = np.concatenate([np.zeros(reach, int), steps - 1])
    within = sliding_window_view(lacking, reach + 1)[:, 1:]
    usable: Array = before_and_after & (within.sum(axis=1) <= MOST_MISSING)
    return usable


def refuse_torn_window(problem: "Problem", prices: "Prices") -> None:
    """Refuse prices whose last window lacks too many sessions to be forecast from.

    Raises:
        DataError: it lacks more than `MOST_MISSING`.
    """
    needed = prices_needed(problem)
    subject = f"the last {needed} prices of {prices.ticker}"
    refuse_torn(prices.steps[-needed:], subject, prices.exchange)


def _overnight(frame: "pd.DataFrame") -> Array:
    """Return the log return (L,) from each close to the next open, the last NaN."""
    opens = frame["open"].to_numpy()
    closes = frame["close"].to_numpy()
    return np.append(np.log(opens[1:] / closes[:-1]), np.nan)


def inputs(problem: "Problem", frame: "pd.DataFrame") -> Array:
    """Return the features (N, T, I) of every window that ends in `frame`, oldest first.

    `frame` (L, F) holds prices by session, as in `Prices`. N is 0 if there are too few.

    Raises:
        DataError: a feature lacks the volume it needs.
    """
    defined = features(problem, frame).to_numpy()[_undefined(problem) :]
    if len(defined) < problem.seq_len:
        return np.empty((0, problem.seq_len, len(problem.features)))
    by_window = sliding_window_view(defined, problem.seq_len, axis=0)  # (N, I, T)
    return np.ascontiguousarray(np.moveaxis(by_window, -1, 1))


def prices_needed(problem: "Problem") -> int:
    """Return how many prices the inputs of one window are made of."""
    return _undefined(problem) + problem.seq_len


def _undefined(problem: "Problem") -> int:
    """Return how many sessions at the start of a series lack a feature."""
    return max(FEATURES[name].undefined(problem.volatility_window) for name in problem.features)


def features(problem: "Problem", frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the features (L, I) by session, one column each, NaN before it is defined.

    Raises:
        DataError: a feature needs the volume, and it is missing on some day or altogether.
    """
    window = problem.volatility_window
    columns = {name: FEATURES[name].values(frame, window) for name in problem.features}
    return frame[[]].assign(**columns)
