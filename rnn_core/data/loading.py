"""Daily prices from Yahoo, a file or a generator, all of one shape, checked before anything is trained on them."""

import hashlib
import logging
import re
import tempfile
from dataclasses import replace
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from rnn_core.config import File, Source, Synthetic, Yahoo
from rnn_core.data.exchanges import (
    closed_sessions,
    exchange_of,
    last_closed_session,
    sessions,
    time_zone,
)
from rnn_core.data.prices import SYNTHETIC_FALLBACK, Prices
from rnn_core.data.store import COLUMNS, Stored, read, update
from rnn_core.errors import DataError, PricesUnavailable

logger = logging.getLogger(__name__)

STORE = Path("data/prices")

YAHOO_COLUMNS = {"Open": "open", "Close": "close", "Adj Close": "adj_close", "Volume": "volume"}

# Usual names of a file's columns in order of preference, as lower-case letters only
DATE_NAMES = ("date", "datetime", "timestamp", "time", "day")
ADJUSTED_NAMES = ("adjclose", "adjustedclose", "closeadj", "closeadjusted", "adjcloseprice")
RAW_NAMES = ("close", "closeprice", "closelast", "price", "last", "lastprice")
OPEN_NAMES = ("open", "openprice")
VOLUME_NAMES = ("volume", "vol")

SPLIT_RATIOS = (3 / 2, 2, 3, 4, 5, 7, 8, 10, 15, 20, 25, 30, 50, 100)

SYNTHETIC_ORIGIN = date(2000, 1, 3)
DAILY_VOLATILITY = 0.012  # standard deviation of a daily log return
ARCH, GARCH = 0.08, 0.90  # weights of yesterday's squared return and variance in today's variance


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
            return _from_file(source, ticker, exchange, now)
        case Synthetic():
            return _from_generator(source, ticker, exchange, now)


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
        answer = _ask_yahoo(ticker, first_day, time_zone(exchange), source.timeout)
        frame, dropped = _tidy(answer)
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
        frame=_adjusted(stored.frame.loc[pd.Timestamp(source.start) :]),
        source=name,
        column="Adj Close",
        exchange=exchange_of(stored.ticker, source.exchange),
        warnings=warnings,
        fetched_at=stored.fetched_at,
    )
    return _checked(prices, stored.ticker, _dates(prices.frame.index), now)


def _ask_yahoo(ticker: str, first_day: date, zone: str, timeout: float) -> pd.DataFrame:
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


def _tidy(answer: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
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
            warnings.append(f"Yahoo's rows {what} were dropped: {_some(_dates(frame.index), bad)}")
    complete = frame.dropna(subset=["close", "adj_close"])
    return complete[~complete.index.duplicated(keep="last")], warnings


def _yahoo_column(names: tuple[str, ...]) -> str | None:
    return next((YAHOO_COLUMNS[name] for name in names if name in YAHOO_COLUMNS), None)


def _from_file(source: File, ticker: str, exchange: str, now: datetime) -> Prices:
    path = source.path
    table = _read_table(path)
    rows = pd.Index(table.index, name="lines" if _is_text(path) else "rows")
    dates = _find(path, table, source.date_column, DATE_NAMES, "date")
    column = _find(path, table, source.price_column, ADJUSTED_NAMES + RAW_NAMES, "price")
    index = _parsed_dates(path, table[dates], rows, time_zone(exchange))
    frame = pd.DataFrame({"adj_close": _parsed_prices(path, table[column], rows)})
    raw = _first_of(table, RAW_NAMES) if _letters(column) in ADJUSTED_NAMES else column
    opening, volume = _first_of(table, OPEN_NAMES), _first_of(table, VOLUME_NAMES)
    if opening is not None and raw is not None:
        frame["open"], frame["close"] = _numbers(table[opening]), _numbers(table[raw])
    if volume is not None:
        frame["volume"] = _numbers(table[volume])
    prices = Prices(ticker, _adjusted(frame.set_axis(index)), "file", column, exchange)
    return _checked(prices, str(path), rows, now)


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) != b"PAR1"


def _read_table(path: Path) -> pd.DataFrame:
    """The table of a file; text for a CSV. Its index counts lines of a CSV, the header being line 1, or rows."""
    if not path.is_file():
        raise DataError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        table = _read_csv(path) if _is_text(path) else _read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read as CSV or Parquet: {' '.join(str(error).split())}"
        ) from error
    table = table.dropna(how="all")
    if table.empty:
        raise DataError(f"{path}: has no rows")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=str, encoding="utf-8-sig", skip_blank_lines=False)
    if not table.index.equals(
        pd.RangeIndex(len(table))
    ):  # pandas took the first field for an index
        raise ValueError("rows have more fields than the header")
    return table.set_axis(table.index + 2)


def _read_parquet(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path)
    if isinstance(table.index, pd.DatetimeIndex) or table.index.name is not None:
        table = table.reset_index(names=str(table.index.name or "date"))
    return table.set_axis(pd.RangeIndex(1, len(table) + 1))


def _find(
    path: Path, table: pd.DataFrame, named: str | None, usual: tuple[str, ...], what: str
) -> str:
    column = _first_of(table, usual) if named is None else named
    if column is None or column not in table:
        missing = f"no {what} column by a usual name" if named is None else f"no column {named!r}"
        found = ", ".join(map(repr, table.columns))
        raise DataError(
            f"{path}: has {missing}; its columns are {found}: name one as source.{what}_column"
        )
    return column


def _first_of(table: pd.DataFrame, usual: tuple[str, ...]) -> str | None:
    by_letters = {_letters(column): column for column in reversed(table.columns)}
    return next((by_letters[name] for name in usual if name in by_letters), None)


def _letters(column: object) -> str:
    return re.sub("[^a-z]", "", str(column).lower())


def _parsed_dates(
    path: Path, column: "pd.Series[Any]", rows: pd.Index, zone: str
) -> pd.DatetimeIndex:
    """Naive midnights of a column of dates; those that say their offset from UTC are taken to the exchange's zone.

    Numbers such as 20130131 are dates. Of 1/2/2013 the other rows must tell whether the day or the month comes first.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        dates = column
    else:
        text = column.astype(str).str.strip()
        utc = bool(text.str.contains(r"\d[T ].*(?:Z|[+-]\d\d:?\d\d)$").any())
        readings = [
            pd.to_datetime(text, format=form, errors="coerce", utc=utc)
            for form in ("ISO8601", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y")
        ]
        complete = [reading for reading in readings if reading.notna().all()]
        if len(complete) > 1:
            raise DataError(
                f"{path}: column {column.name!r} may put day or month first; write dates as YYYY-MM-DD"
            )
        dates = max(readings, key=lambda reading: reading.notna().sum())
    if dates.isna().any():
        bad = dates.isna().to_numpy()
        raise DataError(
            f"{path}: column {column.name!r} has {column[bad].iloc[0]!r}, not a date, in {_some(rows, bad)}; "
            "write dates as YYYY-MM-DD"
        )
    index = pd.DatetimeIndex(dates, name="date")
    return (index if index.tz is None else index.tz_convert(zone).tz_localize(None)).normalize()


def _parsed_prices(path: Path, column: "pd.Series[Any]", rows: pd.Index) -> "pd.Series[float]":
    prices = _numbers(column)
    text = (prices.isna() & column.notna()).to_numpy()
    if text.any():
        value = column[text].iloc[0]
        raise DataError(
            f"{path}: column {column.name!r} has {value!r}, not a number, in {_some(rows, text)}"
        )
    return prices


def _numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    return pd.to_numeric(column, errors="coerce").astype(float)


def _from_generator(source: Synthetic, ticker: str, exchange: str, now: datetime) -> Prices:
    """The last `days` sessions of a walk that begins at a fixed origin: as time goes by, it only grows."""
    index = sessions(exchange, SYNTHETIC_ORIGIN, last_closed_session(exchange, now).date()).rename(
        "date"
    )
    if len(index) < source.days:
        raise DataError(
            f"source.days = {source.days}: {exchange} had only {len(index)} sessions from {SYNTHETIC_ORIGIN} to {now}"
        )
    name = int.from_bytes(hashlib.sha256(ticker.encode()).digest()[:8])
    frame = random_walk(
        len(index), source.edge, np.random.SeedSequence([source.seed, name])
    ).set_axis(index)
    prices = Prices(
        ticker,
        frame[-source.days :],
        "synthetic",
        "close",
        exchange,
        attainable_accuracy=0.5 + abs(source.edge),
    )
    return _checked(prices, ticker, _dates(prices.frame.index), now)


def random_walk(length: int, edge: float, seed: np.random.SeedSequence) -> pd.DataFrame:
    """Prices (length, 3) `close`, `open`, `volume` whose daily log returns are r_t = s_t |sqrt(v_t) z_t|.

    The variance is a GARCH(1,1), v_t = w + a r_{t-1}^2 + b v_{t-1} (Bollerslev 1986), and the sign s_t equals s_{t-1}
    with probability 0.5 + edge, s_{-1} being +1. Signs and magnitudes have streams of their own, so that magnitudes,
    volume and open say nothing about the sign. A longer walk begins with the shorter one.
    """
    signs, magnitudes, gaps, volumes = (np.random.default_rng(stream) for stream in seed.spawn(4))
    turns = np.where(signs.random(length) < 0.5 + edge, 1.0, -1.0)
    size, volatility = _garch(magnitudes.standard_normal(length))
    close = 100 * np.exp(np.cumsum(np.cumprod(turns) * size))
    previous = np.concatenate([[100.0], close[:-1]])
    opening = previous * np.exp(0.3 * volatility * gaps.standard_normal(length))
    volume = np.exp(np.log(1e6) + 20 * size + 0.3 * volumes.standard_normal(length))
    return pd.DataFrame({"close": close, "open": opening, "volume": volume})


def _garch(z: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Absolute returns (L,) and their volatility (L,), from normal draws (L,)."""
    size, volatility = np.empty_like(z), np.empty_like(z)
    variance = DAILY_VOLATILITY**2
    for t in range(len(z)):
        volatility[t] = np.sqrt(variance)
        size[t] = abs(volatility[t] * z[t])
        variance = (1 - ARCH - GARCH) * DAILY_VOLATILITY**2 + ARCH * size[t] ** 2 + GARCH * variance
    return size, volatility


def _adjusted(frame: pd.DataFrame) -> pd.DataFrame:
    """`close`, `open` and `volume`, as far as given, with the open adjusted as `close` is to `adj_close`."""
    adjusted = pd.DataFrame({"close": frame["adj_close"]})
    if "open" in frame:
        opening = frame["open"] * (frame["adj_close"] / frame["close"])
        # Where trading was halted, an open of zero is reported
        adjusted["open"] = opening.where((opening > 0) & np.isfinite(opening))
    if "volume" in frame:
        adjusted["volume"] = frame["volume"]
    return adjusted


def _checked(prices: Prices, subject: str, rows: pd.Index, now: datetime) -> Prices:
    """The prices in order of date, up to the last session closed by `now`, with warnings added.

    `rows` (L,) says where each one stands in its source. Raises DataError if they are unfit to train on.
    """
    frame = prices.frame
    _refuse_bad_rows(prices, subject, rows)
    warnings = list(prices.warnings)
    if not frame.index.is_monotonic_increasing:
        warnings.append(f"{subject}: the rows were not in order of date and were sorted")
        frame = frame.sort_index()
    frame = frame[closed_sessions(pd.DatetimeIndex(frame.index), prices.exchange, now)]
    if len(frame) < 2:
        raise DataError(
            f"{subject}: has {len(frame)} of the sessions closed by {now}; at least 2 are needed"
        )
    if frame["close"].nunique() == 1:
        raise DataError(
            f"{subject}: column {prices.column!r} is {frame['close'].iloc[0]:g} in all {len(frame)} sessions; "
            "take another column or ticker"
        )
    warnings += _split_warnings(frame, subject, prices.column)
    for column, unknown in frame.isna().items():
        if unknown.any():
            warnings.append(
                f"{subject}: {column} is unknown in {_some(_dates(frame.index), unknown.to_numpy())}"
            )
    return replace(prices, frame=frame, warnings=tuple(warnings))


def _refuse_bad_rows(prices: Prices, subject: str, rows: pd.Index) -> None:
    close = prices.frame["close"].to_numpy()
    for what, bad in (
        ("no price", np.isnan(close)),
        ("an infinite price", np.isinf(close)),
        ("a price of zero or less", close <= 0),
        ("a second price of the same date", prices.frame.index.duplicated(keep=False)),
    ):
        if bad.any():
            remedy = (
                "correct the file" if prices.source == "file" else "set source.start after them"
            )
            value = f"{close[bad][0]:g} of {prices.frame.index[bad][0]:%Y-%m-%d}"
            raise DataError(
                f"{subject}: column {prices.column!r} has {what} ({value}) in {_some(rows, bad)}; {remedy}"
            )


def _split_warnings(frame: pd.DataFrame, subject: str, column: str) -> list[str]:
    """Sessions that open or close at about a common split ratio of the close before."""
    before, opening = frame["close"].shift(), frame.get("open", frame["close"])
    # A split shows in the first price after it; a whole day's move blurs it
    tolerance = 0.03 if "open" in frame else 0.10
    jump = np.abs(np.log((opening / before).to_numpy()))
    split = (np.abs(jump[:, None] - np.log(SPLIT_RATIOS)) < tolerance).any(axis=1)
    if not split.any():
        return []
    where = _some(_dates(frame.index), split)
    return [
        f"{subject}: column {column!r} jumps as by an unadjusted split in {where}; take an adjusted close"
    ]


def _dates(index: pd.Index) -> pd.Index:
    return pd.DatetimeIndex(index).strftime("%Y-%m-%d").rename("sessions")


def _some(rows: pd.Index, chosen: NDArray[np.bool_], most: int = 5) -> str:
    """The first few of the chosen rows in words, such as `lines 3, 8 and 12 more`."""
    found = rows[chosen]
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return f"{rows.name} {', '.join(map(str, found[:most]))}{more}"
