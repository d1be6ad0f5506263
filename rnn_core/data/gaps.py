"""How far apart rows may be: one law for files, answers, windows and served frames."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rnn_core.errors import DataError

FEWEST_TO_TELL = 10  # rows that show whether prices are daily, weekly or monthly
MOST_MISSING = 5  # sessions that a window may lack


def steps_over(index: pd.DatetimeIndex, missing: pd.DatetimeIndex) -> NDArray[np.int64]:
    """Return how many sessions each day of `index` (L,), in order, is after the one before: (L,).

    `missing` are the sessions that `index` lacks. 1 is the next session; the first day counts as 1.

    >>> days = pd.DatetimeIndex(["2013-01-02", "2013-01-03", "2013-01-07"])
    >>> steps_over(days, missing=pd.DatetimeIndex(["2013-01-04"])).tolist()
    [1, 1, 2]
    """
    lacking_before = missing.searchsorted(index)
    return np.concatenate([[1], 1 + np.diff(lacking_before)])


def refuse_sparse(steps: NDArray[np.int64], subject: str, exchange: str) -> None:
    """Refuse rows that are typically more than one session apart; `steps` (L,) are sessions.

    Raises:
        DataError: half of at least `FEWEST_TO_TELL` rows are further apart.
    """
    if len(steps) < FEWEST_TO_TELL:
        return
    typical = int(np.median(steps[1:]))
    if typical > 1:
        weekly = "weekly " if typical in (4, 5) else ""
        monthly = "monthly " if 18 <= typical <= 23 else ""
        raise DataError(
            f"{subject}: the rows are about {typical} sessions of {exchange} apart; "
            f"{weekly}{monthly}prices are not daily ones; give every session"
        )


def refuse_torn(steps: NDArray[np.int64], subject: str, exchange: str) -> None:
    """Refuse a window that lacks too many sessions; `steps` (L,) are those of its prices.

    Raises:
        DataError: it lacks more than `MOST_MISSING`.
    """
    lacking = int((steps[1:] - 1).sum())
    if lacking > MOST_MISSING:
        raise DataError(
            f"{subject} lack {lacking} sessions of {exchange} between them; "
            f"at most {MOST_MISSING} may be missing"
        )
