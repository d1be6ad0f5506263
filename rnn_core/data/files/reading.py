"""From the file of a ticker to its prices."""

from datetime import datetime
from pathlib import Path

import pandas as pd

from rnn_core.config import File
from rnn_core.data.columns import ADJUSTED_NAMES, DATE_NAMES, RAW_NAMES, find_column, mostly
from rnn_core.data.exchanges import time_zone
from rnn_core.data.files.dates import parsed_dates
from rnn_core.data.files.numerals import parsed_prices
from rnn_core.data.files.opens import with_open_and_volume
from rnn_core.data.files.tables import TICKER, is_text, read_table
from rnn_core.data.prices import Prices, adjusted, bad_rows, checked
from rnn_core.errors import DataError


def read_file(source: File, ticker: str, exchange: str, now: datetime) -> Prices:
    """Return the prices of a CSV or Parquet file, up to the last session closed by `now`.

    An adjusted close is preferred to a raw one; opens are adjusted by the ratio of the two.

    Raises:
        DataError: the file cannot be read, lacks a column, or its prices are unfit to train on.
    """
    path = file_of(source, ticker)
    table = read_table(path, ticker)
    rows = pd.Index(table.index, name="lines" if is_text(path) else "rows")
    dates = find_column(path, table, source.date_column, DATE_NAMES, "date")
    column = find_column(path, table, source.price_column, ADJUSTED_NAMES + RAW_NAMES, "price")
    closes, price_faults = parsed_prices(path, table[column], rows)
    index, date_faults = parsed_dates(
        path, table[dates], rows, time_zone(exchange), beside_prices=mostly(closes.notna())
    )
    frame, warnings = with_open_and_volume(path, table, column, closes.set_axis(index))
    prices = Prices(
        ticker,
        adjusted(frame),
        source="file",
        column=column,
        exchange=exchange,
        warnings=warnings,
        own_sessions=source.sessions == "data",
    )
    known = closes.notna().to_numpy() | table[column].isna().to_numpy()
    faults = [*date_faults, *price_faults, *bad_rows(prices, rows, known & index.notna())]
    if faults:
        raise DataError(f"{path}: {'; '.join(faults)}; correct the file")
    return checked(prices, str(path), rows, now)


def file_of(source: File, ticker: str) -> Path:
    """Return the path of the ticker's file."""
    return Path(str(source.path).replace(TICKER, ticker))
