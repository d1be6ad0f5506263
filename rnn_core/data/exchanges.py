"""Exchanges: which one a ticker trades on, when its sessions are, and which have closed."""

import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rnn_core.data.calendars import CROPS, hours, midnights
from rnn_core.data.currencies import CURRENCIES, is_coin
from rnn_core.data.gaps import steps_over
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
}  # fmt: skip
UNITED_STATES = "XNYS"  # tickers without a suffix
AROUND_THE_CLOCK = "24/7"
WEEKDAYS = "24/5"
SESSIONS_A_YEAR = {AROUND_THE_CLOCK: 365, WEEKDAYS: 260}  # where they are not 252

INDICES = {
    "^AEX": "XAMS", "^AORD": "XASX", "^ATX": "XWBO", "^AXJO": "XASX", "^BFX": "XBRU",
    "^BSESN": "XBOM", "^BVSP": "BVMF", "^DJI": "XNYS", "^FCHI": "XPAR", "^FTAS": "XLON",
    "^FTMC": "XLON", "^FTSE": "XLON", "^GDAXI": "XETR", "^GSPC": "XNYS", "^GSPTSE": "XTSE",
    "^HSCE": "XHKG", "^HSI": "XHKG", "^IBEX": "XMAD", "^IPSA": "XSGO", "^ISEQ": "XDUB",
    "^IXIC": "XNYS", "^JKSE": "XIDX", "^KLSE": "XKLS", "^KQ11": "XKRX", "^KS11": "XKRX",
    "^KS200": "XKRX", "^MDAXI": "XETR", "^MID": "XNYS", "^MXX": "XMEX", "^N225": "XTKS",
    "^NDX": "XNYS", "^NSEBANK": "XBOM", "^NSEI": "XBOM", "^NYA": "XNYS", "^NZ50": "XNZE",
    "^OEX": "XNYS", "^OMX": "XSTO", "^OMXC25": "XCSE", "^OMXH25": "XHEL", "^OSEAX": "XOSL",
    "^PSI20": "XLIS", "^RUA": "XNYS", "^RUI": "XNYS", "^RUT": "XNYS", "^SDAXI": "XETR",
    "^SOX": "XNYS", "^SP600": "XNYS", "^SSMI": "XSWX", "^STI": "XSES", "^STOXX50E": "XETR",
    "^TECDAX": "XETR", "^TWII": "XTAI", "^VIX": "XNYS", "^XAX": "XNYS",
}  # fmt: skip
"""Yahoo's name of an index → MIC of the exchange whose sessions it has."""

_GLOBEX = """
6A 6B 6C 6E 6J 6M 6N 6S ALI BTC BZ CL ES ETH GC HG HO M2K MBT MCL MES MET MGC MNQ MYM NG NKD NQ PA
PL QG QM RB RTY SI SIL TN UB YM ZB ZF ZN ZQ ZT
"""
_GRAINS_AND_LIVESTOCK = "GF HE KE LE ZC ZL ZM ZO ZR ZS ZW"
_SOFTS = "CC CT KC OJ SB"
FUTURES = {
    **dict.fromkeys(_GLOBEX.split(), "CMES"),
    **dict.fromkeys(_GRAINS_AND_LIVESTOCK.split(), "XCBT"),
    **dict.fromkeys(_SOFTS.split(), "IFUS"),
    "DX": "IEPA",
}
"""Root of a future's ticker, before `=F` → MIC of its exchange."""

SHARE_OF_A_CLASS = re.compile(r"[A-Z0-9]+-(?:[A-Z]|P[A-Z]|PR|RI|RT|UN|U|WI|WS|WT)")
"""A New York share with letters after a dash: BRK-B, BAC-PL, a unit, a warrant or a right."""


def exchange_of(ticker: str, exchange: str | None, *, yahoo: bool = True) -> str:
    """Return the MIC of `exchange` if given, else that of the ticker as Yahoo spells it.

    A share has its exchange's suffix, or none in New York. Indices begin with ^, futures end in =F,
    currencies in =X; BTC-USD is a pair. A ticker that is not one of `yahoo`'s may have any suffix:
    an unknown one means New York.

    Raises:
        ConfigError: an unknown exchange, or a ticker that does not tell its exchange.

    >>> exchange_of("005930.KS", None), exchange_of("MSFT", None), exchange_of("MSFT", "XLON")
    ('XKRX', 'XNYS', 'XLON')
    >>> exchange_of("^N225", None), exchange_of("GC=F", None), exchange_of("ETH-BTC", None)
    ('XTKS', 'CMES', '24/7')
    """
    if exchange is not None:
        return _canonical(exchange)
    name = ticker.upper()
    for suffix, mic in SUFFIXES.items():
        if name.endswith(suffix):
            return mic
    known = _by_spelling(name)
    if known is None and "." in name and yahoo:
        known = _unknown(ticker, "has no known exchange suffix, such as .KS, .T or .L")
    return known or UNITED_STATES


def exchange_or(default: str, ticker: str) -> str:
    """Return the MIC of the ticker's exchange, or `default` if its spelling does not tell.

    >>> exchange_or("XNYS", "^TA125"), exchange_or("XNYS", "^N225")
    ('XNYS', 'XTKS')
    """
    try:
        return exchange_of(ticker, None)
    except ConfigError:
        return default


def _by_spelling(ticker: str) -> str | None:
    """Return the exchange of an index, a future or a pair; None for any other ticker."""
    if ticker.startswith("^"):
        return INDICES.get(ticker) or _unknown(ticker, "is no index of a known exchange")
    if ticker.endswith("=F"):
        return FUTURES.get(ticker.removesuffix("=F")) or _unknown(ticker, "is no known future")
    if ticker.endswith("=X"):
        return _of_currencies(ticker)
    if "-" not in ticker or SHARE_OF_A_CLASS.fullmatch(ticker):
        return None
    return _of_pair(ticker)


def _of_currencies(ticker: str) -> str:
    """Return the exchange of a ticker such as EURUSD=X, or KRW=X for USDKRW=X."""
    name = ticker.removesuffix("=X")
    for symbol in (name[:3], name[3:]) if len(name) > 3 else (name,):
        if symbol not in CURRENCIES:
            _unknown(ticker, f"has an unknown currency {symbol!r}")
    return WEEKDAYS


def _of_pair(ticker: str) -> str:
    """Return the exchange of a ticker such as BTC-USD, or EUR-USD for EURUSD=X."""
    base, _, quote = ticker.partition("-")
    for symbol in (base, quote):
        if symbol not in CURRENCIES and not is_coin(symbol):
            _unknown(ticker, f"has an unknown currency or coin {symbol!r}")
    return WEEKDAYS if {base, quote} <= CURRENCIES else AROUND_THE_CLOCK


def _unknown(ticker: str, why: str) -> NoReturn:
    raise ConfigError(f"ticker {ticker!r} {why}; set source.exchange")


def sessions(exchange: str, start: date, end: date) -> pd.DatetimeIndex:
    """Return the sessions from `start` to `end`, both included, as naive midnights.

    There are none before 1990.

    >>> sessions("XNYS", date(2013, 1, 1), date(2013, 1, 3)).strftime("%Y-%m-%d").tolist()
    ['2013-01-02', '2013-01-03']
    """
    return pd.DatetimeIndex(hours(exchange).loc[pd.Timestamp(start) : pd.Timestamp(end)].index)


def all_sessions(exchange: str) -> pd.DatetimeIndex:
    """Return every known or expected session, from 1990 at the earliest to 2049."""
    return pd.DatetimeIndex(hours(exchange).index)


def first_session(exchange: str) -> pd.Timestamp:
    """Return the first known session, as a naive midnight."""
    return pd.Timestamp(hours(exchange).index[0])


def no_sessions(index: pd.DatetimeIndex, exchange: str) -> NDArray[np.bool_]:
    """Return which days of `index` (L,), naive midnights, the calendar knows to be no sessions.

    Nothing is known of days before the calendar's first one.
    """
    known = hours(exchange).index
    return np.asarray(~index.isin(known) & (index >= known[0]))


def missing_sessions(index: pd.DatetimeIndex, exchange: str) -> pd.DatetimeIndex:
    """Return the sessions between the first and the last day of `index` (L,) that it lacks."""
    expected = sessions(exchange, index[0].date(), index[-1].date())
    return expected.difference(index)


def steps(index: pd.DatetimeIndex, exchange: str) -> NDArray[np.int64]:
    """Return how many sessions each day of `index` (L,), in order, is after the one before: (L,).

    1 is the next session; the first day counts as 1. A day that is no session counts as one.

    >>> steps(pd.DatetimeIndex(["2013-01-02", "2013-01-03", "2013-01-07"]), "XNYS").tolist()
    [1, 1, 2]
    """
    return steps_over(index, missing_sessions(index, exchange))


def closed_sessions(index: pd.DatetimeIndex, exchange: str, now: datetime) -> NDArray[np.bool_]:
    """Return which sessions of `index` (L,), naive midnights, have closed by `now`: (L,) bool.

    A date that the calendar does not know as a session closes when its day ends in the exchange's
    time zone.
    """
    known = hours(exchange)["close"].reindex(index)
    ends_of_days = midnights(index + pd.Timedelta(days=1), time_zone(exchange))
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
    closes = hours(exchange)["close"]
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
    known = hours(exchange)
    following = known.index[known.index > last_closed_session(exchange, now)][0]
    opens = known.loc[following, "open"]
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
        if today in hours(exchange).index:
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
    return str(hours(exchange)["close"].dt.tz)


def sessions_a_year(exchange: str) -> int:
    """Return how many sessions a year of the exchange is counted with, as the field does.

    >>> sessions_a_year("XNYS"), sessions_a_year("24/7"), sessions_a_year("24/5")
    (252, 365, 260)
    """
    return SESSIONS_A_YEAR.get(exchange, 252)


def _aware(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ConfigError(f"now = {now} has no time zone; write it such as 2013-02-28T22:00:00Z")
    return now


def _canonical(exchange: str) -> str:
    import exchange_calendars

    if exchange in CROPS:
        return exchange
    if exchange not in exchange_calendars.get_calendar_names():
        known = ", ".join(sorted({UNITED_STATES, AROUND_THE_CLOCK, WEEKDAYS, *SUFFIXES.values()}))
        raise ConfigError(f"source.exchange = {exchange!r} is not one of the exchanges {known}")
    return str(exchange_calendars.resolve_alias(exchange))
