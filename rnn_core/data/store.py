"""The price store: one Parquet file a ticker, updated by few rows and replaced atomically."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from rnn_core.errors import PricesUnavailable

logger = logging.getLogger(__name__)

FORMAT = 1
NOTES = b"rnnflow"  # key of a file's metadata under which its notes stand
COLUMNS = ["open", "close", "adj_close", "volume"]
OVERLAP = 5  # sessions fetched again, to see whether history was rewritten
# Adjusted closes come in single precision (6e-8 relative); the smallest dividends move them by
# about 1e-5
REWRITTEN = 1e-6

Fetch = Callable[[date], pd.DataFrame]
"""Takes the first day to fetch; returns the COLUMNS from that day on."""


@dataclass(frozen=True)
class Stored:
    """The stored prices of a ticker.

    Attributes:
        ticker: as Yahoo spells it.
        frame: (L, 4) float64, the COLUMNS as fetched, by session: a naive DatetimeIndex `date`,
            sorted and unique.
        start: the first day that was asked for; the ticker may be younger.
        fetched_at: when they were last fetched.
    """

    ticker: str
    frame: pd.DataFrame
    start: date
    fetched_at: datetime

    def covers(self, start: date, last_session: pd.Timestamp) -> bool:
        """Return True if nothing is missing from `start` to `last_session`."""
        return self.start <= start and bool(self.frame.index[-1] >= last_session)


def read(root: Path, ticker: str) -> Stored | None:
    """Return the stored prices of a ticker, or None if there are none.

    A damaged file counts as none, with a warning: its prices can be fetched again, and the next
    update replaces it.
    """
    path = _path(root, ticker)
    if not path.exists():
        return None
    content = path.read_bytes()
    try:
        return _parsed(ticker, content)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        logger.warning("%s cannot be read and counts as absent: %s", path, reason)
        return None


def stored_tickers(root: Path) -> list[str]:
    """Return the tickers that have prices under `root`, in order."""
    return sorted(path.stem for path in root.glob("*.parquet") if not path.name.startswith("."))


def update(
    root: Path, ticker: str, fetch: Fetch, *, start: date, last_session: pd.Timestamp, now: datetime
) -> Stored:
    """Bring the stored prices from `start` to `last_session` up to date, and return them.

    `fetch` is not called if nothing is missing. Otherwise it is called from a few sessions before
    the last stored one, and again from the start if those sessions have been rewritten since.

    Raises:
        PricesUnavailable: `fetch` returns none, or fewer than are stored.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{ticker}.lock"):
        stored = read(root, ticker)
        if stored is not None and stored.covers(start, last_session):
            return stored
        if stored is None:
            frame = _first(ticker, fetch, start)
        else:
            frame = _renewed(stored, fetch, start)
            start = min(start, stored.start)
            # All that is stored had closed, even if `now` has been set back
            last_session = max(last_session, stored.frame.index[-1])
        closed = frame.loc[:last_session]  # a session that has not closed may still change
        if closed.empty:
            raise PricesUnavailable(f"no prices of {ticker} on or before {last_session:%Y-%m-%d}")
        updated = Stored(ticker, closed, start, now)
        _write(root, updated)
        return updated


def _first(ticker: str, fetch: Fetch, first_day: date) -> pd.DataFrame:
    frame = fetch(first_day)
    if frame.empty:
        raise PricesUnavailable(f"the answer holds no prices of {ticker} from {first_day} on")
    return frame


def _renewed(stored: Stored, fetch: Fetch, start: date) -> pd.DataFrame:
    if stored.start <= start:
        # Sessions already stored are asked for again, so an empty answer is always an outage. An
        # answer without a newer session is none: the calendar missed a holiday, or the close is
        # not published yet.
        recent = _first(stored.ticker, fetch, stored.frame.index[-OVERLAP:][0].date())
        if _agrees(recent, stored.frame):
            return recent.combine_first(stored.frame)
    # A dividend or split rewrites the adjusted closes of all earlier sessions
    whole = _first(stored.ticker, fetch, min(start, stored.start))
    _refuse_shorter(whole, stored)
    return whole


def _refuse_shorter(whole: pd.DataFrame, stored: Stored) -> None:
    first, last = stored.frame.index[[0, -1]]
    if whole.index[0] > first or whole.index[-1] < last:
        raise PricesUnavailable(
            f"the answer holds {stored.ticker} {_span(whole)}, "
            f"less than the stored {_span(stored.frame)}",
            transient=True,
        )


def _agrees(recent: pd.DataFrame, frame: pd.DataFrame) -> bool:
    both = frame.index.intersection(recent.index)
    new = recent.loc[both, "adj_close"]
    old = frame.loc[both, "adj_close"]
    return len(both) > 0 and np.allclose(new, old, rtol=REWRITTEN, atol=0)


def _parsed(ticker: str, content: bytes) -> Stored:
    table = pq.read_table(pa.BufferReader(content))
    notes = json.loads(table.schema.metadata[NOTES])
    if notes["format"] != FORMAT:
        raise ValueError(f"format {notes['format']}, not {FORMAT}")
    frame = table.to_pandas()[COLUMNS]
    return Stored(
        ticker,
        frame,
        date.fromisoformat(notes["start"]),
        datetime.fromisoformat(notes["fetched_at"]),
    )


def _span(frame: pd.DataFrame) -> str:
    return f"from {frame.index[0]:%Y-%m-%d} to {frame.index[-1]:%Y-%m-%d}"


def _path(root: Path, ticker: str) -> Path:
    return root / f"{ticker}.parquet"


def _write(root: Path, stored: Stored) -> None:
    notes = {
        "format": FORMAT,
        "ticker": stored.ticker,
        "start": stored.start.isoformat(),
        "fetched_at": stored.fetched_at.isoformat(),
    }
    table = pa.Table.from_pandas(stored.frame)
    metadata = {**table.schema.metadata, NOTES: json.dumps(notes).encode()}
    table = table.replace_schema_metadata(metadata)
    unfinished = root / f".{stored.ticker}.parquet.unfinished"
    with unfinished.open("wb") as file:
        pq.write_table(table, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(_path(root, stored.ticker))
