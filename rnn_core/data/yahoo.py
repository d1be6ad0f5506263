"""Daily prices as Yahoo gives them, by yfinance."""

import logging
import re
import tempfile
from datetime import date
from functools import cache
from typing import Any

import pandas as pd

from rnn_core.data.prices import listed, session_names
from rnn_core.data.store import COLUMNS
from rnn_core.errors import PricesUnavailable

YAHOO_COLUMNS = {"Open": "open", "Close": "close", "Adj Close": "adj_close", "Volume": "volume"}


def ask(ticker: str, first_day: date, zone: str, timeout: float) -> pd.DataFrame:
    """What yfinance gives: a frame of all sessions from `first_day` on; `timeout` in seconds.

    One request. Yahoo knows none for several tickers: yfinance's download of a batch asks for each of them, and before
    that for its time zone.
    """
    yfinance = _yfinance()
    try:
        question = yfinance.Ticker(ticker)
        # Known already: spares a request, whose failure yfinance would remember for the life of the process
        question._tz = zone
        # No `end`: answers about a closed range are remembered in the same way, failures too
        answer: pd.DataFrame = question.history(
            start=first_day, auto_adjust=False, actions=False, keepna=True, timeout=timeout
        )
    except Exception as error:  # yfinance lets through whatever curl, JSON and pandas raise
        raise PricesUnavailable(
            f"Yahoo gives no prices of {ticker}: {_one_line(error)}", transient=_is_transient(error)
        ) from error
    return answer


@cache
def _yfinance() -> Any:
    """The yfinance module, told to raise instead of to log, and to share its caches with no other process.

    They are SQLite files, which concurrent processes find locked.
    """
    import yfinance

    yfinance.config.debug.hide_exceptions = False
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)
    yfinance.set_tz_cache_location(_cache_folder().name)
    return yfinance


@cache
def _cache_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="yfinance-")  # removed when the process ends


def _is_transient(error: Exception) -> bool:
    from yfinance.exceptions import YFRateLimitError

    if isinstance(error, YFRateLimitError) or "Timeout" in type(error).__name__:
        return True
    if isinstance(error, ValueError):  # not JSON: the page of a server error or of a proxy
        return True
    return (
        re.search(r"server error|gateway|unavailable|currently down", str(error), re.IGNORECASE)
        is not None
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()).partition(". See https://curl.se")[0]
    return (
        f"its answer is not JSON ({text})"
        if isinstance(error, ValueError)
        else text or type(error).__name__
    )


def tidy(answer: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """A frame of yfinance, whatever its columns, as the store's COLUMNS by naive session; and what was dropped."""
    if answer.empty:
        return pd.DataFrame(
            columns=COLUMNS, index=pd.DatetimeIndex([], name="date"), dtype=float
        ), []
    names = [
        _yahoo_column(column if isinstance(column, tuple) else (column,))
        for column in answer.columns
    ]
    frame = answer.set_axis(names, axis=1)[COLUMNS].astype(float)
    frame.index = pd.DatetimeIndex(frame.index).tz_localize(None).normalize().rename("date")
    warnings = []
    for what, bad in (
        ("without a close", frame[["close", "adj_close"]].isna().any(axis=1).to_numpy()),
        ("given twice", frame.index.duplicated(keep="last")),
    ):
        if bad.any():
            warnings.append(
                f"Yahoo's rows {what} were dropped: {listed(session_names(frame.index), bad)}"
            )
    complete = frame.dropna(subset=["close", "adj_close"])
    return complete[~complete.index.duplicated(keep="last")], warnings


def _yahoo_column(names: tuple[str, ...]) -> str | None:
    return next((YAHOO_COLUMNS[name] for name in names if name in YAHOO_COLUMNS), None)
