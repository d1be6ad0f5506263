"""Closures that nobody knew: past sessions of the calendar without a price anywhere."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice

import pandas as pd
from prefect import get_run_logger

from flows.steps.prefect_runs import announce
from rnn_core.config import File, Source
from rnn_core.data import loading
from rnn_core.data.calendars import midnights
from rnn_core.data.exchanges import (
    SESSIONS_A_YEAR,
    closed_sessions,
    exchange_of,
    sessions,
    time_zone,
)
from rnn_core.data.files import file_of
from rnn_core.data.prices import Prices
from rnn_core.data.store import read, stored_tickers
from rnn_core.errors import ConfigError, DataError
from rnn_core.operations import clock
from rnn_core.operations.live import Alarm

DAY = timedelta(days=1)
MOST_CLOSURES = 5  # in a row: the longest real ones took about a week
WITNESSES = 20  # other tickers of the exchange, those whose prices were stored last


def closures_before(
    session: pd.Timestamp, prices: Prices, source: Source, now: datetime
) -> pd.DatetimeIndex:
    """Return the sessions between the last price and `session`, all of them credible closures.

    They are credible once the day of `session` has begun in the exchange's time zone, if they are
    few, no other stored ticker of the exchange has a price of them, and the source could have one:
    a file must have been written since.

    Raises:
        DataError: sessions without a price are not credible as closures.
    """
    last_price = prices.frame.index[-1]
    missing = sessions(prices.exchange, last_price + DAY, session - DAY)
    if missing.empty or _credible(missing, session, prices, source, now):
        return missing
    raise DataError(
        f"prices of {prices.ticker} end on {last_price:%Y-%m-%d} and {missing[-1]:%Y-%m-%d} has "
        f"closed since: {session:%Y-%m-%d} cannot be forecast; wait for newer prices, or check "
        "that the ticker is still traded"
    )


def announce_closures(closures: pd.DatetimeIndex, prices: Prices) -> None:
    """Warn of closures that a forecast takes for granted, and raise an alarm."""
    days = ", ".join(closures.strftime("%Y-%m-%d"))
    alarm = Alarm(
        "closure",
        f"no price of {prices.ticker} for {days}: taken as unannounced closures of "
        f"{prices.exchange}; the forecast rests on {prices.frame.index[-1]:%Y-%m-%d}",
    )
    get_run_logger().warning(alarm.text)
    announce("alarm", prices.ticker, f"{alarm.kind}: {alarm.text}")


def _credible(
    missing: pd.DatetimeIndex,
    session: pd.Timestamp,
    prices: Prices,
    source: Source,
    now: datetime,
) -> bool:
    begins = midnights(pd.DatetimeIndex([session]), time_zone(prices.exchange))[0]
    return (
        begins <= min(now, clock.machine_time())  # a clock set ahead knows no prices of that time
        and prices.exchange not in SESSIONS_A_YEAR  # around the clock nothing closes
        and len(missing) <= MOST_CLOSURES
        and not prices.own_sessions
        and _could_have(missing, prices, source)
        and not _traded(missing, prices.exchange)
    )


def _could_have(missing: pd.DatetimeIndex, prices: Prices, source: Source) -> bool:
    """Return True if the source was asked, or the file written, after the last missing session."""
    if not isinstance(source, File):  # Yahoo is asked again as long as a session is missing
        return True
    changed = file_of(source, prices.ticker).stat().st_mtime
    written_at = datetime.fromtimestamp(changed, UTC)
    return bool(closed_sessions(missing[-1:], prices.exchange, written_at)[0])


def _traded(missing: pd.DatetimeIndex, exchange: str) -> bool:
    """Return True if another ticker of the exchange has a stored price of a missing session."""
    stored = (read(loading.STORE, ticker) for ticker in islice(_others(exchange), WITNESSES))
    return any(other is not None and missing.isin(other.frame.index).any() for other in stored)


def _others(exchange: str) -> Iterator[str]:
    """Yield the tickers of the exchange that have stored prices, those stored last first."""

    def stored_at(ticker: str) -> float:
        return (loading.STORE / f"{ticker}.parquet").stat().st_mtime

    for ticker in sorted(stored_tickers(loading.STORE), key=stored_at, reverse=True):
        with suppress(ConfigError):
            if exchange_of(ticker, None) == exchange:
                yield ticker
