"""Tell bad ticks: closes that jump and are back the next session, or lie far outside the rest."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rnn_core.nn.arrays import Array

WINDOW = 63  # moves around a move, or up to the last one, that say what is usual
SMALLEST_USUAL = 1e-3  # log return, so that a pegged currency does not jump by a thousandth
# In usual moves. Of 26 years of AAPL and MSFT none is this far, and of Student's t with 3 degrees
# of freedom one in 15 years
FAR = 15.0
# A jump that is undone the next day is never that far in the same series. The last close of
# AAPL and MSFT was, in 12 years each, four times: such a settlement waits a session
UNDONE = 6.0
BACK = 0.25  # share of a jump that is left when it counts as undone


def bad_ticks(close: Array) -> NDArray[np.bool_]:
    """Return which closes (L,), positive and in order, are hardly true: (L,) bool.

    They jump and are back the next session, whatever the factor, or lie far from the close before.
    The day on which a jump is undone is not marked.

    >>> bad_ticks(np.array([10, 10.1, 10, 15, 10.1, 10.2, 10.1])).tolist()
    [False, False, False, True, False, False, False]
    """
    return undone_jumps(close) | far_moves(close)


def implausible(close: Array) -> bool:
    """Return True if the last of the closes (L,) is too far from the one before to be believed.

    A settlement on it should wait for the next session: it is agreed to unless
    `undone_jumps(close)[-2]` is true of the closes with one session more. A close that is no
    positive number is implausible too; those before it must be positive.

    >>> history = np.array([10, 10.1, 10, 10.2, 10.1])
    >>> implausible(np.append(history, 10.3)), implausible(np.append(history, 15.0))
    (False, True)
    """
    if not (np.isfinite(close[-1]) and close[-1] > 0):
        return True
    return bool(_in_usual_moves(close)[-1] > UNDONE)


def doubtful(close: Array) -> NDArray[np.bool_]:
    """Return which closes (L,), positive and in order, nothing should be settled by: (L,) bool.

    They are those that jump and are back the next session, and the last one if it is implausible:
    the next session will tell. What may be settled by in the end, `wild_jumps` tells.

    >>> history = np.array([10, 10.1, 10, 10.2, 10.1, 15.0])
    >>> doubtful(history).tolist()
    [False, False, False, False, False, True]
    >>> doubtful(np.append(history, 15.1)).any(), doubtful(np.append(history, 10.2)).any()
    (np.False_, np.True_)
    """
    doubted = undone_jumps(close)
    doubted[-1] = implausible(close)
    return doubted


def undone_jumps(close: Array) -> NDArray[np.bool_]:
    """Return which closes (L,), positive and in order, jump and are back next day: (L,) bool."""
    move = _moves(close)
    left = np.abs(move[:-1] + move[1:])
    jumps = _in_usual_moves(close)[:-1] > UNDONE
    undone = np.append(jumps & (left <= BACK * np.abs(move[:-1])), False)
    for row in np.flatnonzero(undone):  # the way back is not itself a jump that is undone
        undone[row] = not undone[row - 1]
    return undone


def wild_jumps(close: Array) -> NDArray[np.bool_]:
    """Return which closes (L,) jump far outside the series and are back next day: (L,) bool.

    A smaller jump that is undone may be the market's own, as in a crisis.
    """
    return np.asarray(undone_jumps(close) & (_in_usual_moves(close) > FAR))


def far_moves(close: Array) -> NDArray[np.bool_]:
    """Return which closes (L,) lie far from the one before, undone jumps aside: (L,) bool."""
    undone = undone_jumps(close)
    back = np.append(False, undone[:-1])
    return np.asarray((_in_usual_moves(close) > FAR) & ~undone & ~back)


def _moves(close: Array) -> Array:
    """Return the log return (L,) into each close, 0 for the first."""
    return np.diff(np.log(close), prepend=np.log(close[:1]))


def _in_usual_moves(close: Array) -> Array:
    """Return the size (L,) of each close's move, in usual moves of the series at that time.

    The usual move is 1.4826 · median |log return| of the moves that are not zero, the standard
    deviation of normal ones: around the session or altogether, whichever is larger.
    """
    size = pd.Series(np.abs(_moves(close)))
    moved = size.where(size > 0)
    around = moved.rolling(WINDOW, center=True, min_periods=1).median()
    usual = 1.4826 * np.fmax(around.to_numpy(), moved.median())
    in_usual_moves: Array = size.to_numpy() / np.fmax(usual, SMALLEST_USUAL)
    return in_usual_moves
