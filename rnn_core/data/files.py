"""Read daily prices from a CSV or Parquet file."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from rnn_core.config import File
from rnn_core.data.exchanges import time_zone
from rnn_core.data.prices import Prices, adjusted, checked, listed
from rnn_core.errors import DataError

# Usual names of a file's columns in order of preference, as lower-case letters only
DATE_NAMES = ("date", "datetime", "timestamp", "time", "day")
ADJUSTED_NAMES = ("adjclose", "adjustedclose", "closeadj", "closeadjusted", "adjcloseprice")
RAW_NAMES = ("close", "closeprice", "closelast", "price", "last", "lastprice")
OPEN_NAMES = ("open", "openprice")
VOLUME_NAMES = ("volume", "vol")

DATE_FORMATS = ("ISO8601", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y")


def read_file(source: File, ticker: str, exchange: str, now: datetime) -> Prices:
    """Return the prices of a CSV or Parquet file, up to the last session closed by `now`.

    An adjusted close is preferred to a raw one; opens are adjusted by the ratio of the two.

    Raises:
        DataError: the file cannot be read, lacks a column, or its prices are unfit to train on.
    """
    path = source.path
    table = _read_table(path)
    rows = pd.Index(table.index, name="lines" if _is_text(path) else "rows")
    dates = _find(path, table, source.date_column, DATE_NAMES, "date")
    column = _find(path, table, source.price_column, ADJUSTED_NAMES + RAW_NAMES, "price")
    index = _parsed_dates(path, table[dates], rows, time_zone(exchange))
    closes = _parsed_prices(path, table[column], rows)
    frame = _with_open_and_volume(table, column, closes).set_axis(index)
    prices = Prices(ticker, adjusted(frame), "file", column, exchange)
    return checked(prices, str(path), rows, now)


def _with_open_and_volume(
    table: pd.DataFrame, column: str, closes: "pd.Series[float]"
) -> pd.DataFrame:
    frame = pd.DataFrame({"adj_close": closes})
    raw = _first_of(table, RAW_NAMES) if _letters(column) in ADJUSTED_NAMES else column
    opening = _first_of(table, OPEN_NAMES)
    if opening is not None and raw is not None:
        frame["open"] = _numbers(table[opening])
        frame["close"] = _numbers(table[raw])
    volume = _first_of(table, VOLUME_NAMES)
    if volume is not None:
        frame["volume"] = _numbers(table[volume])
    return frame


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) != b"PAR1"


def _read_table(path: Path) -> pd.DataFrame:
    """Read a file, a CSV as text; the index counts a CSV's lines, the header being 1, or rows."""
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a file")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        table = _read_csv(path) if _is_text(path) else _read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as CSV or Parquet: {reason}") from error
    table = table.dropna(how="all")
    if table.empty:
        raise DataError(f"{path}: has no rows")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=str, encoding="utf-8-sig", skip_blank_lines=False)
    took_a_field_as_index = not table.index.equals(pd.RangeIndex(len(table)))
    if took_a_field_as_index:
        raise ValueError("rows have more fields than the header")
    return table.set_axis(table.index + 2)


def _read_parquet(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    if isinstance(table.index, pd.DatetimeIndex) or table.index.name is not None:
        table = table.reset_index(names=str(table.index.name or "date"))
    return table.set_axis(pd.RangeIndex(1, len(table) + 1))


def _find(
    path: Path, table: pd.DataFrame, named: str | None, usual: tuple[str, ...], kind: str
) -> str:
    """Return the column that the option names, else the first by a usual name."""
    column = _first_of(table, usual) if named is None else named
    if column is None or column not in table:
        missing = f"no {kind} column by a usual name" if named is None else f"no column {named!r}"
        columns = ", ".join(map(repr, table.columns))
        raise DataError(
            f"{path}: has {missing}; its columns are {columns}: name one as source.{kind}_column"
        )
    return column


def _first_of(table: pd.DataFrame, usual: tuple[str, ...]) -> str | None:
    by_letters = {_letters(column): column for column in reversed(table.columns)}
    return next((by_letters[name] for name in usual if name in by_letters), None)


def _letters(column: object) -> str:
    return re.sub("[^a-z]", "", str(column).lower())


def _parsed_dates(
    path: Path, column: "pd.Series[Any]", rows: pd.Index, zone: str
) -> pd.DatetimeIndex:
    """Return the sessions as naive midnights; times with an offset are taken to the zone first."""
    is_parsed = pd.api.types.is_datetime64_any_dtype(column)
    dates = column if is_parsed else _dates_of_text(path, column)
    unknown = dates.isna().to_numpy()
    if unknown.any():
        raise DataError(
            f"{path}: column {column.name!r} has {column[unknown].iloc[0]!r}, not a date, "
            f"in {listed(rows, unknown)}; write dates as YYYY-MM-DD"
        )
    index = pd.DatetimeIndex(dates, name="date")
    if index.tz is not None:
        index = index.tz_convert(zone).tz_localize(None)
    return index.normalize()


def _dates_of_text(path: Path, column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Parse text in the format that fits most rows, NaT where it does not fit.

    Numbers such as 20130131 are dates. Whether 1/2/2013 starts with the day or the month follows
    from the other rows.
    """
    text = column.astype(str).str.strip()
    has_offset = bool(text.str.contains(r"\d[T ].*(?:Z|[+-]\d\d:?\d\d)$").any())
    readings = [
        pd.to_datetime(text, format=form, errors="coerce", utc=has_offset) for form in DATE_FORMATS
    ]
    fitting = [reading for reading in readings if reading.notna().all()]
    if len(fitting) > 1:
        raise DataError(
            f"{path}: column {column.name!r} may put day or month first; write dates as YYYY-MM-DD"
        )
    return max(readings, key=lambda reading: reading.notna().sum())


def _parsed_prices(path: Path, column: "pd.Series[Any]", rows: pd.Index) -> "pd.Series[float]":
    prices = _numbers(column)
    no_number = (prices.isna() & column.notna()).to_numpy()
    if no_number.any():
        value = column[no_number].iloc[0]
        raise DataError(
            f"{path}: column {column.name!r} has {value!r}, not a number, "
            f"in {listed(rows, no_number)}"
        )
    return prices


def _numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    return pd.to_numeric(column, errors="coerce").astype(float)
