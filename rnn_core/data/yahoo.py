"""Fetch daily prices from Yahoo with yfinance."""

import logging
import re
import tempfile
from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rnn_core.data.answers import Answer, is_price
from rnn_core.data.prices import listed, session_names
from rnn_core.data.store import COLUMNS
from rnn_core.errors import PricesUnavailable
from rnn_core.owners import folder_prefix

ADJUSTED_CLOSE = "Adj Close"
YAHOO_COLUMNS = {
    "Open": "open",
    "Close": "close",
    ADJUSTED_CLOSE: "adj_close",
    "Volume": "volume",
}
PASSING = re.compile("server error|gateway|unavailable|currently down", re.IGNORECASE)


def ask(ticker: str, first_day: date, zone: str, timeout: float) -> tuple[Answer, list[str]]:
    """Return the prices of all sessions from `first_day` on, by one request, and warnings.

    Raises:
        PricesUnavailable: whatever went wrong, in one line.
    """
    table, metadata = _table(ticker, first_day, zone, timeout)
    frame, warnings = tidy(table)
    answer = Answer(
        frame=frame,
        symbol=str(metadata.get("symbol")),
        currency=metadata.get("currency"),
        splits=_events(table, "Stock Splits"),
        dividends=_events(table, "Dividends", "Capital Gains"),
    )
    return answer, warnings


def _table(
    ticker: str, first_day: date, zone: str, timeout: float
) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """Return yfinance's table and what else the answer says of the ticker.

    Yahoo has no request for several tickers: yfinance's download of a batch makes one for each
    ticker, and before that another for its time zone.

    Args:
        ticker: as Yahoo spells it.
        first_day: first day to fetch.
        zone: time zone of the ticker's exchange, such as Asia/Seoul.
        timeout: seconds to wait for the answer.

    Raises:
        PricesUnavailable: whatever went wrong, in one line.
    """
    yfinance = _yfinance()
    try:
        request = yfinance.Ticker(ticker)
        # Setting the zone spares a request, whose failure yfinance would remember while it lives
        request._tz = zone
        # No `end`: yfinance remembers answers about a closed range too, failures included
        table = request.history(
            start=first_day, auto_adjust=False, actions=True, keepna=True, timeout=timeout
        )
        metadata = request.history_metadata  # of that answer: no further request
    except Exception as error:  # yfinance lets through whatever curl, JSON and pandas raise
        raise PricesUnavailable(
            f"Yahoo gives no prices of {ticker}: {_one_line(error)}", transient=_is_transient(error)
        ) from error
    return table, metadata


def _events(table: pd.DataFrame, *columns: str) -> "pd.Series[float]":
    """Return the sum of the columns by naive session, where it is not zero."""
    known = table[[column for column in columns if column in table]].fillna(0).sum(axis=1)
    happened = known[known != 0].astype(float)
    return happened.set_axis(_sessions(happened.index))


def _sessions(index: pd.Index) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(index).tz_localize(None).normalize().rename("date")


@cache
def _yfinance() -> Any:
    """Import yfinance so that it raises errors, logs none and shares no cache with other processes.

    Its caches are SQLite files, which concurrent processes find locked.
    """
    import yfinance

    yfinance.config.debug.hide_exceptions = False
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)
    yfinance.set_tz_cache_location(_cache_folder().name)
    return yfinance


@cache
def _cache_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=folder_prefix())  # removed when the process ends


def _is_transient(error: Exception) -> bool:
    from yfinance.exceptions import YFRateLimitError

    if isinstance(error, YFRateLimitError) or "Timeout" in type(error).__name__:
        return True
    if isinstance(error, ValueError):  # not JSON: the page of a server error or of a proxy
        return True
    return PASSING.search(str(error)) is not None


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()).partition(". See https://curl.se")[0]
    if isinstance(error, ValueError):
        return f"its answer is not JSON ({text})"
    return text or type(error).__name__


def tidy(answer: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return yfinance's table with the store's COLUMNS by naive session, and warnings.

    Rows without a close, or with one that is no price, and all but the last of several rows of one
    session are dropped, each with a warning. The columns of `answer` may have one level or several.
    """
    if answer.empty:
        no_sessions = pd.DatetimeIndex([], name="date")
        return pd.DataFrame(columns=COLUMNS, index=no_sessions, dtype=float), []
    frame = answer.set_axis([_column(label) for label in answer.columns], axis=1)
    frame = frame[COLUMNS].astype(float)
    frame.index = _sessions(frame.index)
    closes = frame[["close", "adj_close"]].to_numpy()
    no_close = np.isnan(closes).any(axis=1)
    no_price = ~no_close & ~is_price(closes).all(axis=1)
    repeated = frame.index.duplicated(keep="last")
    warnings = [
        *_dropped(frame, no_close, "without a close"),
        *_dropped(frame, no_price, "with a close that is no positive number"),
        *_dropped(frame, repeated, "given twice"),
    ]
    complete = frame[~(no_close | no_price)]
    return complete[~complete.index.duplicated(keep="last")], warnings


def _dropped(frame: pd.DataFrame, rows: NDArray[np.bool_], fault: str) -> list[str]:
    if not rows.any():
        return []
    return [f"Yahoo's rows {fault} were dropped: {listed(session_names(frame.index), rows)}"]


def _column(label: str | tuple[str, ...]) -> str | None:
    levels = label if isinstance(label, tuple) else (label,)
    return next((YAHOO_COLUMNS[level] for level in levels if level in YAHOO_COLUMNS), None)
