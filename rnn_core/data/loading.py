"""Daily prices from Yahoo, a file or a generator, all of one shape, checked before anything is trained on them."""

import logging
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pandas as pd

from rnn_core.config import File, Source, Synthetic, Yahoo
from rnn_core.data import yahoo
from rnn_core.data.exchanges import exchange_of, last_closed_session, time_zone
from rnn_core.data.files import read_file
from rnn_core.data.prices import SYNTHETIC_FALLBACK, Prices, adjusted, checked, session_names
from rnn_core.data.store import Stored, read, update
from rnn_core.data.synthetic import generate
from rnn_core.errors import DataError, PricesUnavailable

logger = logging.getLogger(__name__)

STORE = Path("data/prices")


def load(
    source: Source,
    ticker: str,
    now: datetime,
    *,
    store: Path = STORE,
) -> Prices:
    """Prices of the sessions that have closed by `now`.

    Raises DataError if they are unfit to train on, and PricesUnavailable if Yahoo does not give them.
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
    """What `load` gives where Yahoo need not be asked for it, None where it must be."""
    if not isinstance(source, Yahoo):
        return load(source, ticker, now)
    stored = read(store, ticker)
    if stored is None or not stored.covers(
        source.start, last_closed_session(exchange_for(source, ticker), now)
    ):
        return None
    return _from_stored(source, stored, now, "yahoo", ())


def exchange_for(source: Source, ticker: str) -> str:
    """MIC of the exchange whose sessions the prices have; raises ConfigError where it is unknown."""
    return exchange_of(ticker, source.exchange, yahoo=isinstance(source, Yahoo))


def fall_back(
    source: Yahoo, ticker: str, now: datetime, reason: PricesUnavailable, *, store: Path = STORE
) -> Prices:
    """What to train on when Yahoo cannot be had: stored prices if there are any, else synthetic ones.

    Raises `reason` again if the source allows no fallback.
    """
    if source.fallback == "none":
        raise reason
    stored = read(store, ticker)
    if stored is not None:
        age = max((now - stored.fetched_at).days, 0)
        try:
            return _from_stored(
                source,
                stored,
                now,
                "yahoo-stored",
                (f"using prices stored {age} days ago, because {reason}",),
            )
        except DataError as unfit:
            logger.warning("the stored prices are no use: %s", unfit)
    warning = f"THESE PRICES ARE NOT REAL: {ticker} is a synthetic random walk, because {reason}"
    synthetic = load(Synthetic(exchange=source.exchange), ticker, now)
    return replace(synthetic, source=SYNTHETIC_FALLBACK, warnings=(warning, *synthetic.warnings))


def _from_yahoo(
    source: Yahoo,
    ticker: str,
    exchange: str,
    now: datetime,
    store: Path,
) -> Prices:
    warnings: list[str] = []

    def fetch(first_day: date) -> pd.DataFrame:
        answer = yahoo.ask(ticker, first_day, time_zone(exchange), source.timeout)
        frame, dropped = yahoo.tidy(answer)
        warnings.extend(dropped)
        return frame

    last_session = last_closed_session(exchange, now)
    stored = update(store, ticker, fetch, start=source.start, last_session=last_session, now=now)
    return _from_stored(source, stored, now, "yahoo", tuple(dict.fromkeys(warnings)))


def _from_stored(
    source: Yahoo, stored: Stored, now: datetime, name: str, warnings: tuple[str, ...]
) -> Prices:
    prices = Prices(
        ticker=stored.ticker,
        frame=adjusted(stored.frame.loc[pd.Timestamp(source.start) :]),
        source=name,
        column="Adj Close",
        exchange=exchange_of(stored.ticker, source.exchange),
        warnings=warnings,
        fetched_at=stored.fetched_at,
    )
    return checked(prices, stored.ticker, session_names(prices.frame.index), now)
