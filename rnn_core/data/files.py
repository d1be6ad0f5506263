"""Daily prices from a CSV or Parquet file."""

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


def read_file(source: File, ticker: str, exchange: str, now: datetime) -> Prices:
    """Return the prices of a file, as `loading.load` does."""
    path = source.path
    table = _read_table(path)
    rows = pd.Index(table.index, name="lines" if _is_text(path) else "rows")
    dates = _find(path, table, source.date_column, DATE_NAMES, "date")
    column = _find(path, table, source.price_column, ADJUSTED_NAMES + RAW_NAMES, "price")
    index = _parsed_dates(path, table[dates], rows, time_zone(exchange))
    frame = pd.DataFrame({"adj_close": _parsed_prices(path, table[column], rows)})
    raw = _first_of(table, RAW_NAMES) if _letters(column) in ADJUSTED_NAMES else column
    opening, volume = _first_of(table, OPEN_NAMES), _first_of(table, VOLUME_NAMES)
    if opening is not None and raw is not None:
        frame["open"], frame["close"] = _numbers(table[opening]), _numbers(table[raw])
    if volume is not None:
        frame["volume"] = _numbers(table[volume])
    prices = Prices(ticker, adjusted(frame.set_axis(index)), "file", column, exchange)
    return checked(prices, str(path), rows, now)


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) != b"PAR1"


def _read_table(path: Path) -> pd.DataFrame:
    """The table of a file; text for a CSV. Its index counts lines of a CSV, the header being line 1, or rows."""
    if not path.is_file():
        raise DataError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        table = _read_csv(path) if _is_text(path) else _read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read as CSV or Parquet: {' '.join(str(error).split())}"
        ) from error
    table = table.dropna(how="all")
    if table.empty:
        raise DataError(f"{path}: has no rows")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=str, encoding="utf-8-sig", skip_blank_lines=False)
    if not table.index.equals(
        pd.RangeIndex(len(table))
    ):  # pandas took the first field for an index
        raise ValueError("rows have more fields than the header")
    return table.set_axis(table.index + 2)


def _read_parquet(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    if isinstance(table.index, pd.DatetimeIndex) or table.index.name is not None:
        table = table.reset_index(names=str(table.index.name or "date"))
    return table.set_axis(pd.RangeIndex(1, len(table) + 1))


def _find(
    path: Path, table: pd.DataFrame, named: str | None, usual: tuple[str, ...], what: str
) -> str:
    column = _first_of(table, usual) if named is None else named
    if column is None or column not in table:
        missing = f"no {what} column by a usual name" if named is None else f"no column {named!r}"
        found = ", ".join(map(repr, table.columns))
        raise DataError(
            f"{path}: has {missing}; its columns are {found}: name one as source.{what}_column"
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
    """Naive midnights of a column of dates; those that say their offset from UTC are taken to the exchange's zone.

    Numbers such as 20130131 are dates. Of 1/2/2013 the other rows must tell whether the day or the month comes first.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        dates = column
    else:
        text = column.astype(str).str.strip()
        utc = bool(text.str.contains(r"\d[T ].*(?:Z|[+-]\d\d:?\d\d)$").any())
        readings = [
            pd.to_datetime(text, format=form, errors="coerce", utc=utc)
            for form in ("ISO8601", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y")
        ]
        complete = [reading for reading in readings if reading.notna().all()]
        if len(complete) > 1:
            raise DataError(
                f"{path}: column {column.name!r} may put day or month first; write dates as YYYY-MM-DD"
            )
        dates = max(readings, key=lambda reading: reading.notna().sum())
    if dates.isna().any():
        bad = dates.isna().to_numpy()
        raise DataError(
            f"{path}: column {column.name!r} has {column[bad].iloc[0]!r}, not a date, in {listed(rows, bad)}; "
            "write dates as YYYY-MM-DD"
        )
    index = pd.DatetimeIndex(dates, name="date")
    return (index if index.tz is None else index.tz_convert(zone).tz_localize(None)).normalize()


def _parsed_prices(path: Path, column: "pd.Series[Any]", rows: pd.Index) -> "pd.Series[float]":
    prices = _numbers(column)
    text = (prices.isna() & column.notna()).to_numpy()
    if text.any():
        value = column[text].iloc[0]
        raise DataError(
            f"{path}: column {column.name!r} has {value!r}, not a number, in {listed(rows, text)}"
        )
    return prices


def _numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    return pd.to_numeric(column, errors="coerce").astype(float)
