"""Read the prices of a frame that a served model is given: the laws of files hold.

What cannot be read without a doubt is refused in one line.
"""

from dataclasses import dataclass
from decimal import Decimal
from math import nan
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from rnn_core.config import Problem
from rnn_core.data.columns import (
    ADJUSTED_NAMES,
    DATE_NAMES,
    PRICE_NAMES,
    RAW_NAMES,
    VOLUME_NAMES,
    letters,
    shortened,
)
from rnn_core.data.features import FEATURES
from rnn_core.data.gaps import refuse_sparse, refuse_torn, steps_over
from rnn_core.data.time_stamps import STAMP, sessions_of, without_offsets
from rnn_core.data.windows import prices_needed
from rnn_core.errors import DataError

USUAL_NAMES = {"date": DATE_NAMES, "close": ADJUSTED_NAMES + RAW_NAMES, "volume": VOLUME_NAMES}
KNOWN = {name for names in USUAL_NAMES.values() for name in names} | PRICE_NAMES
DAY = r"(?:18|19|20|21)\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])(?!\d)"
MOST_ROWS = 1_000_000  # that an index of numbers may count; dates written as numbers are above
MOST_NO_SESSIONS = 0.01  # share of rows on days without a session, but always one row
CLOCK_CHANGE = pd.Timedelta(hours=1)
LONGEST = 40  # characters of a wrong value or name that an error repeats
MOST_NAMED = 6  # columns or days that an error names


@dataclass(frozen=True)
class Market:
    """The exchange as a served model knows it, without the calendar library.

    Attributes:
        exchange: MIC of the exchange.
        time_zone: of the exchange, such as Asia/Seoul.
        sessions: (S,) its sessions as naive midnights, as known when the model was logged; None if
            the rows themselves are the sessions.
    """

    exchange: str
    time_zone: str
    sessions: pd.DatetimeIndex | None


def needed_columns(problem: Problem) -> list[str]:
    """Return the columns of prices that the features of `problem` need."""
    return ["close", "volume"] if _needing_volume(problem) else ["close"]


def last_prices(frame: pd.DataFrame, problem: Problem, market: Market) -> pd.DataFrame:
    """Return the `close`, and the `volume` if needed, of the last window: (L, F) float64.

    The columns may have any usual name of a file's. Rows are sorted by a column of dates, else by
    an index of dates or text; time stamps mean sessions as they do in files. Rows without dates
    are in order, the oldest first; whether they are sessions cannot be checked.

    Raises:
        DataError: a column is missing or there are several, there are fewer prices than one window
            needs, a price, volume or date is unusable, the order of the rows is not certain, or
            they are not the sessions of the market.
    """
    columns = {name: _needed_column(frame, name, problem) for name in needed_columns(problem)}
    dates = _dates(frame, market.time_zone)
    table = pd.DataFrame({name: frame[column].array for name, column in columns.items()})
    needed = prices_needed(problem)
    if dates is not None:
        table = table.set_axis(dates).sort_index()
        _refuse_other_days(pd.DatetimeIndex(table.index), needed, market)
    if len(table) < needed:
        raise DataError(f"the model needs the last {needed} prices (got {len(table)})")
    return table.tail(needed).apply(_numbers)


# Columns


def _needed_column(frame: pd.DataFrame, kind: str, problem: Problem) -> Any:
    column = _column(frame, kind)
    if column is None:
        reason = f", because of its feature {', '.join(_needing_volume(problem))}"
        usual = [label for label in frame.columns if letters(label) in KNOWN]
        raise DataError(
            f"the model needs the column {kind}{reason if kind == 'volume' else ''}, "
            f"by this or another usual name (got {_listed(usual)})"
        )
    return column


def _column(frame: pd.DataFrame, kind: str) -> Any:
    """Return the label of the column that has a usual name of this kind, None if none has."""
    columns = [label for label in frame.columns if letters(label) in USUAL_NAMES[kind]]
    if len(columns) > 1:
        raise DataError(f"the model needs one column {kind} (got {_listed(columns)}); keep one")
    return columns[0] if columns else None


def _needing_volume(problem: Problem) -> list[str]:
    return [name for name in problem.features if FEATURES[name].needs_volume]


# Dates


def _dates(frame: pd.DataFrame, zone: str) -> pd.DatetimeIndex | None:
    """Return the session of each row (L,), as a naive midnight; None if the rows have no dates."""
    column = _column(frame, "date")
    if column is not None:
        return _sessions(frame[column], zone)
    if not pd.api.types.is_numeric_dtype(frame.index):
        return _sessions(frame.index.to_series(), zone)
    _refuse_unknown_dates(frame)
    _refuse_unordered(frame.index)
    return None


def _sessions(stamps: "pd.Series[Any]", zone: str) -> pd.DatetimeIndex:
    text = stamps.astype(str).str.strip()
    _refuse_no_dates(stamps, text.str.match(DAY).to_numpy(bool))
    _refuse_mixed_zones(text)
    dates = sessions_of(stamps, zone)
    _refuse_no_dates(stamps, np.asarray(dates.notna()))
    if not dates.is_unique:
        twice = dates[dates.duplicated()][0]
        raise DataError(f"every session must have one price; {twice:%Y-%m-%d} has several")
    return dates


def _refuse_no_dates(stamps: "pd.Series[Any]", usable: np.ndarray[Any, Any]) -> None:
    if not usable.all():
        wrong = _shown(stamps[~usable].iloc[0])
        raise DataError(f"every date must be written such as 2013-01-31 (got {wrong})")


def _refuse_mixed_zones(text: "pd.Series[str]") -> None:
    """Refuse time stamps (L,) of several zones; a clock change within one zone is none."""
    is_stamped = text.str.contains(STAMP)
    if not is_stamped.any():
        return
    instants = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    offsets = without_offsets(text) - pd.DatetimeIndex(instants).tz_localize(None)
    if not is_stamped.all():
        pair = [text[is_stamped].iloc[0], text[~is_stamped].iloc[0]]
    elif offsets.max() - offsets.min() > CLOCK_CHANGE:
        pair = [text.iloc[offsets.argmin()], text.iloc[offsets.argmax()]]
    else:
        return
    raise DataError(f"every date must be in the same time zone (got {' and '.join(pair)})")


def _refuse_unknown_dates(frame: pd.DataFrame) -> None:
    for label, column in frame.items():
        if len(column) and column.astype(str).str.match(DAY).all():
            raise DataError(
                f"the column {_shown(label)} holds dates; call it date, or leave it out if the "
                "rows are in order, the oldest first"
            )


def _refuse_unordered(index: pd.Index) -> None:
    if not (index.is_monotonic_increasing and index.is_unique):
        raise DataError("the index must rise, or hold the dates of the sessions")
    if len(index) and max(abs(index[0]), abs(index[-1])) > MOST_ROWS:
        raise DataError(
            f"an index of numbers must count the rows (got {index[-1]}); write dates such as "
            "2013-01-31"
        )


# Sessions


def _refuse_other_days(dates: pd.DatetimeIndex, needed: int, market: Market) -> None:
    """Hold the rows, in order, against the sessions of the market, in both directions."""
    if market.sessions is None or dates.empty:
        return
    known = market.sessions
    strange = dates[(dates >= known[0]) & ~dates.isin(known)]
    if len(strange) > max(1, MOST_NO_SESSIONS * len(dates)):
        days = _listed([f"{day:%Y-%m-%d}" for day in strange])
        raise DataError(
            f"{len(strange)} of {len(dates)} rows are on days that are no sessions of "
            f"{market.exchange} ({days}); give its sessions"
        )
    between = known[(known > dates[0]) & (known < dates[-1])]
    steps = steps_over(dates, between.difference(dates))
    refuse_sparse(steps, "prices", market.exchange)
    refuse_torn(steps[-needed:], f"the last {needed} prices", market.exchange)


# Numbers


def _numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    """Return the values (L,) as float64: closes above zero, volumes of zero or more."""
    numbers = pd.Series([_number(value) for value in column], column.index, dtype=float)
    is_close = column.name == "close"
    usable = np.isfinite(numbers) & ((numbers > 0) if is_close else (numbers >= 0))
    if not usable.all():
        allowed = "above zero" if is_close else "of zero or more"
        wrong = _shown(column[~usable].iloc[0])
        raise DataError(f"every {column.name} must be a number {allowed} (got {wrong})")
    return numbers


def _number(value: object) -> float:
    """Return a value as a float, NaN if it is no number; a boolean or text is none."""
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        return nan
    try:
        return float(value)
    except OverflowError:
        return nan


# What errors repeat


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return shortened(" ".join(text.split()), LONGEST)


def _listed(labels: list[Any]) -> str:
    names = [shortened(" ".join(str(label).split()), LONGEST) for label in labels]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}" if names else "none"
