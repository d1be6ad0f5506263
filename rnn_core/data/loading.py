"""Load daily prices from Yahoo, a file or the generator: one shape, checked before training."""

import logging
from collections.abc import Collection
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pandas as pd

from rnn_core.config import File, Source, Synthetic, Yahoo
from rnn_core.data import yahoo
from rnn_core.data.answers import Answer
from rnn_core.data.exchanges import (
    UNITED_STATES,
    exchange_of,
    exchange_or,
    last_closed_session,
    time_zone,
)
from rnn_core.data.files import TICKER, read_file
from rnn_core.data.prices import (
    SYNTHETIC_FALLBACK,
    Prices,
    SourceName,
    adjusted,
    checked,
    session_names,
)
from rnn_core.data.store import Stored, read, update
from rnn_core.data.synthetic import generate
from rnn_core.errors import ConfigError, DataError, PricesUnavailable

logger = logging.getLogger(__name__)

STORE = Path("data/prices")


def load(source: Source, ticker: str, now: datetime, *, store: Path = STORE) -> Prices:
    """Return the prices of the sessions that have closed by `now`.

    Yahoo's prices are read from the price store in the folder `store`, which is brought up to date.

    Raises:
        ConfigError: the ticker's exchange is unknown.
        DataError: the prices are unfit to train on.
        PricesUnavailable: Yahoo does not answer with prices.
    """
    exchange = exchange_for(source, ticker)
    match source:
        case Yahoo():
            return _from_yahoo(source, ticker, exchange, now, store)
        case File():
            return read_file(source, ticker, exchange, now)
        case Synthetic():
            return generate(source, ticker, exchange, now)


def load_without_asking(
    source: Source, ticker: str, now: datetime, *, store: Path = STORE
) -> Prices | None:
    """Return what `load` returns if that takes no request to Yahoo, else None."""
    if not isinstance(source, Yahoo):
        return load(source, ticker, now)
    stored = read(store, ticker)
    if stored is None:
        return None
    last_session = last_closed_session(exchange_for(source, ticker), now)
    if not stored.covers(source.start, last_session):
        return None
    return _from_stored(source, stored, now, "yahoo")


def exchange_for(source: Source, ticker: str) -> str:
    """Return the MIC of the exchange whose sessions the prices have.

    Raises:
        ConfigError: it is unknown.

    >>> exchange_for(Yahoo(), "078935.KS")
    'XKRX'
    """
    if isinstance(source, File) and source.sessions == "data" and source.exchange is None:
        return exchange_or(UNITED_STATES, ticker)
    return exchange_of(ticker, source.exchange, yahoo=isinstance(source, Yahoo))


def has_own_sessions(source: Source) -> bool:
    """Return True if the rows of the source are the sessions, and not the exchange's days."""
    return isinstance(source, File) and source.sessions == "data"


def refuse_one_file_for_several(source: Source | None, tickers: Collection[str]) -> None:
    """Refuse a file source that has the same path for several tickers.

    Raises:
        ConfigError: `source.path` does not depend on the ticker, and there are several.
    """
    if isinstance(source, File) and TICKER not in str(source.path) and len(tickers) > 1:
        raise ConfigError(
            f"source.path = {str(source.path)!r} is one file for {len(tickers)} tickers; "
            f"write {TICKER} where their names stand, such as 'prices/{TICKER}.csv'"
        )


def fall_back(
    source: Yahoo, ticker: str, now: datetime, reason: PricesUnavailable, *, store: Path = STORE
) -> Prices:
    """Return prices to train on if Yahoo is unavailable: stored ones, else synthetic ones.

    Raises:
        PricesUnavailable: `reason` itself, if `source.fallback` is none.
    """
    if source.fallback == "none":
        raise reason
    try:
        prices = _stored_instead(source, ticker, now, reason, store)
    except DataError as unfit:
        logger.warning("the stored prices cannot be used: %s", unfit)
        prices = None
    return _synthetic_instead(source, ticker, now, reason) if prices is None else prices


def _stored_instead(
    source: Yahoo, ticker: str, now: datetime, reason: PricesUnavailable, store: Path
) -> Prices | None:
    stored = read(store, ticker)
    if stored is None:
        return None
    age = max((now - stored.fetched_at).days, 0)
    warning = f"using prices stored {age} days ago, because {reason}"
    return _from_stored(source, stored, now, "yahoo-stored", (warning,))


def _synthetic_instead(
    source: Yahoo, ticker: str, now: datetime, reason: PricesUnavailable
) -> Prices:
    warning = f"THESE PRICES ARE NOT REAL: {ticker} is a synthetic random walk, because {reason}"
    prices = load(Synthetic(exchange=source.exchange), ticker, now)
    return replace(prices, source=SYNTHETIC_FALLBACK, warnings=(warning, *prices.warnings))


def _from_yahoo(source: Yahoo, ticker: str, exchange: str, now: datetime, store: Path) -> Prices:
    warnings: list[str] = []

    def fetch(first_day: date) -> Answer:
        answer, dropped = yahoo.ask(ticker, first_day, time_zone(exchange), source.timeout)
        warnings.extend(dropped)
        return answer

    last_session = last_closed_session(exchange, now)
    stored = update(
        store,
        ticker,
        fetch,
        start=source.start,
        last_session=last_session,
        exchange=exchange,
        now=now,
    )
    return _from_stored(source, stored, now, "yahoo", tuple(dict.fromkeys(warnings)))


def _from_stored(
    source: Yahoo, stored: Stored, now: datetime, name: SourceName, warnings: tuple[str, ...] = ()
) -> Prices:
    prices = Prices(
        ticker=stored.ticker,
        frame=adjusted(stored.frame.loc[pd.Timestamp(source.start) :]),
        source=name,
        column=yahoo.ADJUSTED_CLOSE,
        exchange=exchange_for(source, stored.ticker),
        warnings=warnings,
        fetched_at=stored.fetched_at,
    )
    return checked(prices, stored.ticker, session_names(prices.frame.index), now)
