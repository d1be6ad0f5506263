"""The opens and volumes of a table, and the close that its opens belong to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rnn_core.data.columns import (
    ADJUSTED_NAMES,
    OPEN_NAMES,
    RAW_NAMES,
    UNADJUSTED_NAMES,
    VOLUME_NAMES,
    first_column,
    refuse_several,
)
from rnn_core.data.files.numerals import numbers_of

FARTHEST_OPEN = 0.1  # mean |log(open / close)| of opens that belong to a close
FARTHEST_IN_MOVES = 3


def with_open_and_volume(
    path: Path, table: pd.DataFrame, column: str, closes: "pd.Series[float]"
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return `adj_close` and, where the table has them, `open` with the raw `close`, `volume`.

    The opens are adjusted by the ratio of the chosen column to the close that they belong to; where
    no close is near them they are left out with a warning, which is returned too.
    """
    frame = pd.DataFrame({"adj_close": closes})
    warnings = []
    opening = first_column(table, OPEN_NAMES)
    if opening is not None:
        opens = _numbers_of(path, table, opening, closes.index)
        raw = _columns(table, UNADJUSTED_NAMES + RAW_NAMES)
        names = dict.fromkeys([*raw, column, *_columns(table, ADJUSTED_NAMES)])
        candidates = [
            closes if name == column else _numbers_of(path, table, name, closes.index)
            for name in names
        ]
        close = _close_of(opens, candidates)
        if raw and close is not None:
            frame["open"] = opens
            frame["close"] = close
        else:
            reason = f"{column!r} may be adjusted, and no raw close tells by how much"
            if raw:
                reason = "it is near none of the closes, one of which may be adjusted"
            warnings.append(f"{path}: column {opening!r} is left out: {reason}")
    volume = first_column(table, VOLUME_NAMES)
    if volume is not None:
        frame["volume"] = _numbers_of(path, table, volume, closes.index)
    return frame, tuple(warnings)


def _columns(table: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    """Return the table's columns with these usual names, in the order of the names."""
    columns = [first_column(table, (name,)) for name in names]
    return [column for column in columns if column is not None]


def _numbers_of(path: Path, table: pd.DataFrame, name: str, index: pd.Index) -> "pd.Series[float]":
    refuse_several(path, table, name)
    return numbers_of(path, table[name]).set_axis(index)


def _close_of(
    opens: "pd.Series[float]", candidates: Sequence["pd.Series[float]"]
) -> "pd.Series[float] | None":
    """Return the close of the same scale as the opens, None if no candidate is near them.

    That is the first candidate, except where another is less than half as far. Near is a mean
    distance below `FARTHEST_OPEN` and below `FARTHEST_IN_MOVES` mean daily moves of the close.
    """
    log_opens = _logs(opens)
    log_closes = [_logs(close) for close in candidates]
    distances = [(log_opens - logs).abs().mean() for logs in log_closes]
    nearest = int(np.argmin(np.nan_to_num(distances, nan=np.inf)))
    place = 0 if distances[0] <= 2 * distances[nearest] else nearest
    daily_move = log_closes[place].sort_index().diff().abs().mean()
    is_near = distances[place] < min(FARTHEST_OPEN, FARTHEST_IN_MOVES * daily_move)
    return candidates[place] if is_near else None


def _logs(prices: "pd.Series[float]") -> "pd.Series[float]":
    positive = prices.where((prices > 0) & np.isfinite(prices)).to_numpy()
    return pd.Series(np.log(positive), prices.index)
