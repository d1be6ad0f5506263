"""The price store: one Parquet file a ticker, brought up to date by the fewest rows and replaced atomically."""

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
COLUMNS = ["open", "close", "adj_close", "volume"]
OVERLAP = 5  # sessions fetched again, to see whether history was rewritten
# Adjusted closes come as single-precision numbers (6e-8 relative); the smallest dividends move them by about 1e-5
REWRITTEN = 1e-6

Fetch = Callable[[date], pd.DataFrame]


@dataclass(frozen=True)
class Stored:
    """What the store holds of a ticker."""

    ticker: str
    frame: pd.DataFrame  # (L, 4) float64, the COLUMNS as fetched; index: naive DatetimeIndex "date", sorted and unique
    start: date  # the first day that was asked for; the ticker may be younger
    fetched_at: datetime

    def covers(self, start: date, last_session: pd.Timestamp) -> bool:
        """Whether nothing is missing from `start` to `last_session`."""
        return self.start <= start and bool(self.frame.index[-1] >= last_session)


def read(root: Path, ticker: str) -> Stored | None:
    """The stored prices of a ticker, or None if there are none.

    A damaged file is as good as none, since its prices can be fetched again: it is warned of, and replaced by the
    next update.
    """
    path = _path(root, ticker)
    if not path.exists():
        return None
    content = path.read_bytes()
    try:
        return _parsed(ticker, content)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        logger.warning(
            "%s cannot be read and counts as absent: %s", path, str(error).splitlines()[0]
        )
        return None


def stored_tickers(root: Path) -> list[str]:
    """The tickers that have prices under `root`, in order."""
    return sorted(path.stem for path in root.glob("*.parquet") if not path.name.startswith("."))


def update(
    root: Path, ticker: str, fetch: Fetch, *, start: date, last_session: pd.Timestamp, now: datetime
) -> Stored:
    """Bring the stored prices from `start` to `last_session` up to date, and return them.

    `fetch(first_day)` returns the COLUMNS from that day on. It is not called when nothing is missing, from a few
    sessions before the last stored one otherwise, and again from the start if those sessions were rewritten since.
    Raises PricesUnavailable if it answers with less than is stored already.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{ticker}.lock"):
        stored = read(root, ticker)
        if stored is not None and stored.covers(start, last_session):
            return stored
        frame = _first(ticker, fetch, start) if stored is None else _renewed(stored, fetch, start)
        # A session that has not closed may still change. What is stored had closed, also when `now` is set back.
        frame = frame.loc[
            : last_session if stored is None else max(last_session, stored.frame.index[-1])
        ]
        if frame.empty:
            raise PricesUnavailable(f"no prices of {ticker} on or before {last_session:%Y-%m-%d}")
        renewed = Stored(ticker, frame, start if stored is None else min(start, stored.start), now)
        _write(root, renewed)
        return renewed


def _first(ticker: str, fetch: Fetch, first_day: date) -> pd.DataFrame:
    frame = fetch(first_day)
    if frame.empty:
        raise PricesUnavailable(f"the answer holds no prices of {ticker} from {first_day} on")
    return frame


def _renewed(stored: Stored, fetch: Fetch, start: date) -> pd.DataFrame:
    if stored.start <= start:
        # Sessions already stored are asked for again, so an empty answer is always an outage. An answer without a
        # newer session is none: it was a holiday the calendar does not know, or the close is not published yet.
        recent = _first(stored.ticker, fetch, stored.frame.index[-OVERLAP:][0].date())
        if _agrees(recent, stored.frame):
            return recent.combine_first(stored.frame)
    # A dividend or split rewrites the adjusted closes of all earlier sessions
    whole = _first(stored.ticker, fetch, min(start, stored.start))
    if whole.index[0] > stored.frame.index[0] or whole.index[-1] < stored.frame.index[-1]:
        raise PricesUnavailable(
            f"the answer holds {stored.ticker} {_span(whole)}, less than the stored {_span(stored.frame)}",
            transient=True,
        )
    return whole


def _agrees(recent: pd.DataFrame, frame: pd.DataFrame) -> bool:
    both = frame.index.intersection(recent.index)
    new, old = recent.loc[both, "adj_close"], frame.loc[both, "adj_close"]
    return len(both) > 0 and np.allclose(new, old, rtol=REWRITTEN, atol=0)


def _parsed(ticker: str, content: bytes) -> Stored:
    table = pq.read_table(pa.BufferReader(content))
    notes = json.loads(table.schema.metadata[b"rnnflow"])
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
    table = table.replace_schema_metadata(
        {**table.schema.metadata, b"rnnflow": json.dumps(notes).encode()}
    )
    unfinished = root / f".{stored.ticker}.parquet.unfinished"
    with unfinished.open("wb") as file:
        pq.write_table(table, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(_path(root, stored.ticker))
