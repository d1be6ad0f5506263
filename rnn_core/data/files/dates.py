"""The dates of a table, and the sessions that they mean."""

from pathlib import Path
from typing import Any

import pandas as pd

from rnn_core.data.columns import mostly, shortened
from rnn_core.data.prices import listed
from rnn_core.data.time_stamps import STAMP, session_dates, without_offsets
from rnn_core.errors import DataError

DAY_OR_MONTH_FIRST = ("%m/%d/%Y", "%d/%m/%Y")
DATE_FORMATS = (
    *("ISO8601", *DAY_OR_MONTH_FIRST, "%d.%m.%Y", "%Y.%m.%d", "%Y/%m/%d"),
    *("%Y년 %m월 %d일", "%b %d, %Y", "%d %b %Y", "%d-%b-%Y"),
)


def parsed_dates(
    path: Path, column: "pd.Series[Any]", rows: pd.Index, zone: str, *, beside_prices: bool = False
) -> tuple[pd.DatetimeIndex, list[str]]:
    """Return the sessions as naive midnights, and what is wrong with the dates.

    `session_dates` says which session a time stamp means. A wrong date is quoted if most dates are
    right, or if they stand `beside_prices`.
    """
    is_parsed = pd.api.types.is_datetime64_any_dtype(column)
    dates = column if is_parsed else _dates_of_text(path, column)
    unknown = (dates.isna() | ~_believable(dates)).to_numpy()
    dates = dates.mask(unknown)
    faults = []
    if unknown.any():
        value = column[unknown].iloc[0]
        quoted = beside_prices or mostly(dates.notna())
        example = shortened(repr(value), 40) if quoted else "text"
        example = "nothing" if pd.isna(value) else example
        faults.append(
            f"column {column.name!r} has {example}, not a date, in {listed(rows, unknown)}, where "
            "YYYY-MM-DD is expected"
        )
    index = pd.DatetimeIndex(dates, name="date")
    if index.tz is None:
        return index.normalize(), faults
    as_written = index.tz_localize(None) if is_parsed else without_offsets(column)
    return session_dates(index, as_written, zone).rename("date"), faults


def _believable(dates: "pd.Series[Any]") -> "pd.Series[bool]":
    """Return which dates lie between 1800 and 2200, where everything can be computed with them."""
    years = dates.dt.year
    believable: pd.Series[bool] = (years >= 1800) & (years < 2200)
    return believable


def _dates_of_text(path: Path, column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Parse text in the format that fits most rows, NaT where it does not fit.

    Numbers such as 20130131 are dates. Whether 1/2/2013 starts with the day or the month follows
    from the other rows.
    """
    text = column.astype(str).str.strip()
    has_offset = bool(text.str.contains(STAMP).any())
    readings = {
        form: pd.to_datetime(text, format=form, errors="coerce", utc=has_offset)
        for form in DATE_FORMATS
    }
    if all(readings[form].notna().all() for form in DAY_OR_MONTH_FIRST):
        raise DataError(
            f"{path}: column {column.name!r} may put day or month first; write dates as YYYY-MM-DD"
        )
    return max(readings.values(), key=lambda reading: reading.notna().sum())
