"""Exchanges: which one a ticker trades on, when its sessions are, and which of them have closed."""

from datetime import date, datetime
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rnn_core.errors import ConfigError

# Yahoo's suffix of a ticker → MIC of its exchange
SUFFIXES = {
    ".AS": "XAMS", ".AX": "XASX", ".BK": "XBKK", ".BO": "XBOM", ".BR": "XBRU", ".CO": "XCSE",
    ".DE": "XETR", ".F": "XFRA", ".HE": "XHEL", ".HK": "XHKG", ".IC": "XICE", ".IR": "XDUB", ".IS": "XIST",
    ".JK": "XIDX", ".JO": "XJSE", ".KL": "XKLS", ".KQ": "XKRX", ".KS": "XKRX", ".L": "XLON", ".LS": "XLIS",
    ".MC": "XMAD", ".MI": "XMIL", ".MX": "XMEX", ".NS": "XBOM", ".NZ": "XNZE", ".OL": "XOSL", ".PA": "XPAR",
    ".PR": "XPRA", ".SA": "BVMF", ".SI": "XSES", ".SN": "XSGO", ".SR": "XSAU", ".SS": "XSHG", ".ST": "XSTO",
    ".SW": "XSWX", ".SZ": "XSHG", ".T": "XTKS", ".TO": "XTSE", ".TW": "XTAI", ".TWO": "XTAI",
    ".VI": "XWBO", ".WA": "XWAR", "-EUR": "24/7", "-KRW": "24/7", "-USD": "24/7", "=X": "24/5",
}  # fmt: skip
UNITED_STATES = "XNYS"  # tickers without a suffix

# Closures that the calendar library does not know (yet): a local election day in Korea
MISSING_CLOSURES = {"XKRX": [pd.Timestamp("2026-06-03")]}

FIRST_DAY, LAST_DAY = pd.Timestamp("1990-01-01"), pd.Timestamp("2049-12-31")


def exchange_of(ticker: str, exchange: str | None) -> str:
    """MIC of the exchange calendar: `exchange` if given, else by the ticker's suffix as Yahoo spells it.

    Raises ConfigError for an unknown exchange or suffix.
    """
    if exchange is not None:
        return _canonical(exchange)
    found = next((mic for suffix, mic in SUFFIXES.items() if ticker.upper().endswith(suffix)), None)
    if found is None and "." in ticker:
        raise ConfigError(f"ticker {ticker!r} has no known exchange suffix, such as .KS, .T or .L; set source.exchange")
    return found or UNITED_STATES


def sessions(exchange: str, start: date, end: date) -> pd.DatetimeIndex:
    """Sessions of the exchange from `start` to `end`, both included, as naive midnights; none before 1990."""
    return pd.DatetimeIndex(_closes(exchange).loc[pd.Timestamp(start) : pd.Timestamp(end)].index)


def closed_sessions(index: pd.DatetimeIndex, exchange: str, now: datetime) -> NDArray[np.bool_]:
    """Whether each session of `index` (L,), naive midnights, has closed by `now`: (L,).

    A date that the calendar does not know as a session closes when its day ends in the exchange's time zone.
    """
    known = _closes(exchange).reindex(index)
    closes = known.where(known.notna(), _ends_of_days(index, time_zone(exchange)))
    return (closes <= _aware(now)).to_numpy(bool)


def last_closed_session(exchange: str, now: datetime) -> pd.Timestamp:
    """The last session, as naive midnight, whose close is not after `now`."""
    closes = _closes(exchange)
    closed = closes.index[closes <= _aware(now)]
    if closed.empty:
        raise ConfigError(f"now = {now} is before the first known session of {exchange}, {closes.index[0]:%Y-%m-%d}")
    return pd.Timestamp(closed[-1])


def time_zone(exchange: str) -> str:
    """Name of the exchange's time zone, such as Asia/Seoul."""
    return str(_closes(exchange).dt.tz)


def _aware(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ConfigError(f"now = {now} has no time zone; write it such as 2013-02-28T22:00:00Z")
    return now


def _canonical(exchange: str) -> str:
    import exchange_calendars

    if exchange not in exchange_calendars.get_calendar_names():
        known = ", ".join(sorted({UNITED_STATES, *SUFFIXES.values()}))
        raise ConfigError(f"source.exchange = {exchange!r} is not a known exchange; known are {known}")
    return str(exchange_calendars.resolve_alias(exchange))


@lru_cache
def _closes(exchange: str) -> "pd.Series[pd.Timestamp]":
    """Close of every session, in the exchange's time zone, by session as naive midnight.

    Kept, because some calendars take seconds to build. Where a calendar ends (Shanghai's knows only the current year)
    weekdays stand in, so that a library grown old does not end the sessions unnoticed.
    """
    calendar = _calendar(exchange)
    closes: pd.Series[pd.Timestamp] = calendar.closes.dt.tz_convert(calendar.tz).drop(
        MISSING_CLOSURES.get(exchange, [])
    )
    weekdays = pd.bdate_range(calendar.last_session, LAST_DAY, inclusive="right")
    return pd.concat([closes, _ends_of_days(weekdays, str(calendar.tz))])


def _calendar(exchange: str) -> Any:
    import exchange_calendars

    try:
        return exchange_calendars.get_calendar(exchange, start=FIRST_DAY, end=LAST_DAY)
    except ValueError:  # beyond the calendar's bounds, which it tells only once it is built
        bounds = exchange_calendars.get_calendar(exchange)
        start = max(FIRST_DAY, bounds.bound_min() or FIRST_DAY)
        return exchange_calendars.get_calendar(exchange, start=start, end=min(LAST_DAY, bounds.bound_max() or LAST_DAY))


def _ends_of_days(days: pd.DatetimeIndex, zone: str) -> "pd.Series[pd.Timestamp]":
    midnights = days + pd.Timedelta(days=1)
    # Where clocks change at midnight, one midnight a year does not exist and another comes twice
    ends = midnights.tz_localize(zone, ambiguous=np.zeros(len(days), bool), nonexistent="shift_forward")
    return pd.Series(ends, days)
