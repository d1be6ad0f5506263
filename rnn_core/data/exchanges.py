"""Exchanges: which one a ticker trades on, when its sessions are, and which have closed."""

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
    ".DE": "XETR", ".F": "XFRA", ".HE": "XHEL", ".HK": "XHKG", ".IC": "XICE", ".IR": "XDUB",
    ".IS": "XIST", ".JK": "XIDX", ".JO": "XJSE", ".KL": "XKLS", ".KQ": "XKRX", ".KS": "XKRX",
    ".L": "XLON", ".LS": "XLIS", ".MC": "XMAD", ".MI": "XMIL", ".MX": "XMEX", ".NS": "XBOM",
    ".NZ": "XNZE", ".OL": "XOSL", ".PA": "XPAR", ".PR": "XPRA", ".SA": "BVMF", ".SI": "XSES",
    ".SN": "XSGO", ".SR": "XSAU", ".SS": "XSHG", ".ST": "XSTO", ".SW": "XSWX", ".SZ": "XSHG",
    ".T": "XTKS", ".TO": "XTSE", ".TW": "XTAI", ".TWO": "XTAI", ".VI": "XWBO", ".WA": "XWAR",
    "-EUR": "24/7", "-KRW": "24/7", "-USD": "24/7", "=X": "24/5",
}  # fmt: skip
UNITED_STATES = "XNYS"  # tickers without a suffix

# Closures that the calendar library does not know (yet): a local election day in Korea
MISSING_CLOSURES = {"XKRX": [pd.Timestamp("2026-06-03")]}

KEPT = Path("data/calendars")
FIRST_DAY = pd.Timestamp("1990-01-01")
LAST_DAY = pd.Timestamp("2049-12-31")


def exchange_of(ticker: str, exchange: str | None, *, yahoo: bool = True) -> str:
    """Return the MIC of `exchange` if given, else that of the ticker's suffix.

    A ticker that is not one of `yahoo`'s may have any suffix: an unknown one means New York.

    Raises:
        ConfigError: an unknown exchange, or a suffix that Yahoo does not use.

    >>> exchange_of("005930.KS", None), exchange_of("MSFT", None), exchange_of("MSFT", "XLON")
    ('XKRX', 'XNYS', 'XLON')
    """
    if exchange is not None:
        return _canonical(exchange)
    for suffix, mic in SUFFIXES.items():
        if ticker.upper().endswith(suffix):
            return mic
    if "." in ticker and yahoo:
        raise ConfigError(
            f"ticker {ticker!r} has no known exchange suffix, such as .KS, .T or .L; "
            "set source.exchange"
        )
    return UNITED_STATES


def sessions(exchange: str, start: date, end: date) -> pd.DatetimeIndex:
    """Return the sessions from `start` to `end`, both included, as naive midnights.

    There are none before 1990.

    >>> sessions("XNYS", date(2013, 1, 1), date(2013, 1, 3)).strftime("%Y-%m-%d").tolist()
    ['2013-01-02', '2013-01-03']
    """
    return pd.DatetimeIndex(_hours(exchange).loc[pd.Timestamp(start) : pd.Timestamp(end)].index)


def closed_sessions(index: pd.DatetimeIndex, exchange: str, now: datetime) -> NDArray[np.bool_]:
    """Return which sessions of `index` (L,), naive midnights, have closed by `now`: (L,) bool.

    A date that the calendar does not know as a session closes when its day ends in the exchange's
    time zone.
    """
    known = _hours(exchange)["close"].reindex(index)
    ends_of_days = _midnights(index + pd.Timedelta(days=1), time_zone(exchange))
    closes = known.where(known.notna(), ends_of_days)
    return (closes <= _aware(now)).to_numpy(bool)


def last_closed_session(exchange: str, now: datetime) -> pd.Timestamp:
    """Return the last session that has closed by `now`, as a naive midnight.

    Raises:
        ConfigError: `now` is before the first known session.

    >>> from datetime import UTC
    >>> last_closed_session("XNYS", datetime(2013, 1, 5, tzinfo=UTC))
    Timestamp('2013-01-04 00:00:00')
    """
    closes = _hours(exchange)["close"]
    closed = int(closes.searchsorted(pd.Timestamp(_aware(now)), side="right"))
    if not closed:
        raise ConfigError(
            f"now = {now} is before the first known session of {exchange}, "
            f"{closes.index[0]:%Y-%m-%d}"
        )
    return pd.Timestamp(closes.index[closed - 1])


def next_session(exchange: str, now: datetime) -> tuple[pd.Timestamp, datetime]:
    """Return the session after the last closed one, as a naive midnight, and its open in UTC.

    It may have opened already.
    """
    hours = _hours(exchange)
    following = hours.index[hours.index > last_closed_session(exchange, now)][0]
    opens = hours.loc[following, "open"]
    return pd.Timestamp(following), opens.tz_convert("UTC").to_pydatetime()


def closed_for_the_day(exchanges: Iterable[str], now: datetime) -> str | None:
    """Return a sentence if no exchange has a session on its day at `now`, else None.

    None without exchanges too. They are drawn one by one, until one has a session.
    """
    closed: dict[str, str] = {}
    for exchange in exchanges:
        if exchange in closed:
            continue
        today = _today(exchange, now)
        if today in _hours(exchange).index:
            return None
        closed[exchange] = f"{today:%Y-%m-%d} is no session of {exchange}"
    return "; ".join(closed[exchange] for exchange in sorted(closed)) or None


def _today(exchange: str, now: datetime) -> pd.Timestamp:
    local = pd.Timestamp(_aware(now)).tz_convert(time_zone(exchange))
    return local.tz_localize(None).normalize()


def time_zone(exchange: str) -> str:
    """Return the name of the exchange's time zone.

    >>> time_zone("XKRX")
    'Asia/Seoul'
    """
    return str(_hours(exchange)["close"].dt.tz)


def _aware(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ConfigError(f"now = {now} has no time zone; write it such as 2013-02-28T22:00:00Z")
    return now


def _canonical(exchange: str) -> str:
    import exchange_calendars

    if exchange not in exchange_calendars.get_calendar_names():
        known = ", ".join(sorted({UNITED_STATES, *SUFFIXES.values()}))
        raise ConfigError(f"source.exchange = {exchange!r} is not one of the exchanges {known}")
    return str(exchange_calendars.resolve_alias(exchange))


@lru_cache
def _hours(exchange: str) -> pd.DataFrame:
    """Return `open` and `close` of every session, in the exchange's time zone, by naive midnight.

    They are kept in memory and on disk, because some calendars take seconds to build.
    """
    kept = KEPT / f"{exchange}-{version('exchange-calendars')}.parquet"
    if kept.exists():
        hours = pd.read_parquet(kept)
    else:
        hours = _built(exchange)
        with suppress(OSError):  # where nothing can be written, it is built every time
            _keep(hours, kept)
    return hours.drop(MISSING_CLOSURES.get(exchange, []))


def _keep(hours: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    hours.to_parquet(unfinished)
    unfinished.replace(path)


def _built(exchange: str) -> pd.DataFrame:
    """Return the hours as the calendar library has them, continued by weekdays.

    Where a calendar ends (Shanghai's knows only the current year) weekdays from midnight to
    midnight follow, so that an outdated library does not end the sessions unnoticed.
    """
    calendar = _calendar(exchange)
    weekdays = pd.bdate_range(calendar.last_session, LAST_DAY, inclusive="right")
    next_days = weekdays + pd.Timedelta(days=1)
    return pd.DataFrame(
        {
            "open": _continued(calendar.opens, weekdays, weekdays, str(calendar.tz)),
            "close": _continued(calendar.closes, weekdays, next_days, str(calendar.tz)),
        }
    )


def _continued(
    known: "pd.Series[pd.Timestamp]",
    sessions: pd.DatetimeIndex,
    days: pd.DatetimeIndex,
    zone: str,
) -> "pd.Series[pd.Timestamp]":
    """Return the known hours, then for each further session the midnight when its day begins."""
    return pd.concat([known.dt.tz_convert(zone), pd.Series(_midnights(days, zone), sessions)])


def _calendar(exchange: str) -> Any:
    import exchange_calendars

    try:
        return exchange_calendars.get_calendar(exchange, start=FIRST_DAY, end=LAST_DAY)
    except ValueError:  # beyond the calendar's bounds, which are known only once it is built
        bounds = exchange_calendars.get_calendar(exchange)
        start = max(FIRST_DAY, bounds.bound_min() or FIRST_DAY)
        end = min(LAST_DAY, bounds.bound_max() or LAST_DAY)
        return exchange_calendars.get_calendar(exchange, start=start, end=end)


def _midnights(days: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    """Return when each day begins in the zone.

    Where clocks change at midnight, one a year does not exist and another comes twice.
    """
    return days.tz_localize(zone, ambiguous=np.zeros(len(days), bool), nonexistent="shift_forward")
