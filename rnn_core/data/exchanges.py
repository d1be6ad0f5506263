"""Exchanges: which one a ticker trades on, when its sessions are, and which of them have closed."""

import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import date, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
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

KEPT = Path("data/calendars")
FIRST_DAY, LAST_DAY = pd.Timestamp("1990-01-01"), pd.Timestamp("2049-12-31")


def exchange_of(ticker: str, exchange: str | None, *, yahoo: bool = True) -> str:
    """MIC of the exchange calendar: `exchange` if given, else by the ticker's suffix as Yahoo spells it.

    A ticker of one's own, not one of `yahoo`'s, may have any suffix: an unknown one means New York.
    Raises ConfigError for an unknown exchange, or suffix of Yahoo's.
    """
    if exchange is not None:
        return _canonical(exchange)
    found = next((mic for suffix, mic in SUFFIXES.items() if ticker.upper().endswith(suffix)), None)
    if found is None and "." in ticker and yahoo:
        raise ConfigError(
            f"ticker {ticker!r} has no known exchange suffix, such as .KS, .T or .L; set source.exchange"
        )
    return found or UNITED_STATES


def sessions(exchange: str, start: date, end: date) -> pd.DatetimeIndex:
    """Sessions of the exchange from `start` to `end`, both included, as naive midnights; none before 1990."""
    return pd.DatetimeIndex(_hours(exchange).loc[pd.Timestamp(start) : pd.Timestamp(end)].index)


def closed_sessions(index: pd.DatetimeIndex, exchange: str, now: datetime) -> NDArray[np.bool_]:
    """Whether each session of `index` (L,), naive midnights, has closed by `now`: (L,).

    A date that the calendar does not know as a session closes when its day ends in the exchange's time zone.
    """
    known = _hours(exchange)["close"].reindex(index)
    closes = known.where(
        known.notna(), _midnights(index + pd.Timedelta(days=1), time_zone(exchange))
    )
    return (closes <= _aware(now)).to_numpy(bool)


def last_closed_session(exchange: str, now: datetime) -> pd.Timestamp:
    """The last session, as naive midnight, whose close is not after `now`."""
    closes = _hours(exchange)["close"]
    closed = int(closes.searchsorted(pd.Timestamp(_aware(now)), side="right"))
    if not closed:
        raise ConfigError(
            f"now = {now} is before the first known session of {exchange}, {closes.index[0]:%Y-%m-%d}"
        )
    return pd.Timestamp(closes.index[closed - 1])


def next_session(exchange: str, now: datetime) -> tuple[pd.Timestamp, datetime]:
    """The session after the last one that has closed by `now`, as naive midnight, and when it opens, in UTC.

    It may have opened already.
    """
    hours = _hours(exchange)
    following = hours.index[hours.index > last_closed_session(exchange, now)][0]
    return pd.Timestamp(following), hours.loc[following, "open"].tz_convert("UTC").to_pydatetime()


def closed_for_the_day(exchanges: Iterable[str], now: datetime) -> str | None:
    """One sentence if none of the exchanges has a session on the day that it is there at `now`, else None.

    None without exchanges too. They are asked for one by one, until one has a session.
    """
    closed: dict[str, str] = {}
    for exchange in exchanges:
        if exchange in closed:
            continue
        today = (
            pd.Timestamp(_aware(now)).tz_convert(time_zone(exchange)).tz_localize(None).normalize()
        )
        if today in _hours(exchange).index:
            return None
        closed[exchange] = f"{today:%Y-%m-%d} is no session of {exchange}"
    return "; ".join(closed[exchange] for exchange in sorted(closed)) or None


def time_zone(exchange: str) -> str:
    """Name of the exchange's time zone, such as Asia/Seoul."""
    return str(_hours(exchange)["close"].dt.tz)


def _aware(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ConfigError(f"now = {now} has no time zone; write it such as 2013-02-28T22:00:00Z")
    return now


def _canonical(exchange: str) -> str:
    import exchange_calendars

    if exchange not in exchange_calendars.get_calendar_names():
        known = ", ".join(sorted({UNITED_STATES, *SUFFIXES.values()}))
        raise ConfigError(
            f"source.exchange = {exchange!r} is not a known exchange; known are {known}"
        )
    return str(exchange_calendars.resolve_alias(exchange))


@lru_cache
def _hours(exchange: str) -> pd.DataFrame:
    """`open` and `close` of every session, in the exchange's time zone, by session as naive midnight.

    Kept in memory and on disk, because some calendars take seconds to build.
    """
    kept = KEPT / f"{exchange}-{version('exchange-calendars')}.parquet"
    if kept.exists():
        hours = pd.read_parquet(kept)
    else:
        hours = _built(exchange)
        with suppress(OSError):  # where nothing can be written, it is built every time
            kept.parent.mkdir(parents=True, exist_ok=True)
            unfinished = kept.with_suffix(f".{os.getpid()}")
            hours.to_parquet(unfinished)
            unfinished.replace(kept)
    return hours.drop(MISSING_CLOSURES.get(exchange, []))


def _built(exchange: str) -> pd.DataFrame:
    """The sessions of `_hours` as the calendar library has them.

    Where a calendar ends (Shanghai's knows only the current year) weekdays stand in, from midnight to midnight, so that
    a library grown old does not end the sessions unnoticed.
    """
    calendar = _calendar(exchange)
    zone, weekdays = (
        str(calendar.tz),
        pd.bdate_range(calendar.last_session, LAST_DAY, inclusive="right"),
    )
    hours = {
        "open": (calendar.opens, _midnights(weekdays, zone)),
        "close": (calendar.closes, _midnights(weekdays + pd.Timedelta(days=1), zone)),
    }
    columns = {
        name: pd.concat([known.dt.tz_convert(zone), pd.Series(midnights, weekdays)])
        for name, (known, midnights) in hours.items()
    }
    return pd.DataFrame(columns)


def _calendar(exchange: str) -> Any:
    import exchange_calendars

    try:
        return exchange_calendars.get_calendar(exchange, start=FIRST_DAY, end=LAST_DAY)
    except ValueError:  # beyond the calendar's bounds, which it tells only once it is built
        bounds = exchange_calendars.get_calendar(exchange)
        start = max(FIRST_DAY, bounds.bound_min() or FIRST_DAY)
        return exchange_calendars.get_calendar(
            exchange, start=start, end=min(LAST_DAY, bounds.bound_max() or LAST_DAY)
        )


def _midnights(days: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    """When each day begins; where clocks change at midnight, one a year does not exist and another comes twice."""
    return days.tz_localize(zone, ambiguous=np.zeros(len(days), bool), nonexistent="shift_forward")
