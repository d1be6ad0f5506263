"""The price store: one Parquet file a ticker, updated by few rows and replaced atomically.

A file carries checksums, and the generation before it is kept. An answer is judged before it
replaces what is stored.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from rnn_core.data import parquet
from rnn_core.data.answers import (
    Answer,
    agrees,
    corrected,
    is_price,
    refuse_another,
    refuse_shorter,
    with_lost_sessions,
)
from rnn_core.data.exchanges import missing_sessions
from rnn_core.data.prices import listed, session_names
from rnn_core.errors import DataError, PricesUnavailable

logger = logging.getLogger(__name__)

FORMAT = 2
UNCHECKED = 1  # the format before, without checksums: files of version 0.1.0
COLUMNS = ["open", "close", "adj_close", "volume"]
OVERLAP = 5  # sessions fetched again, to see whether history was rewritten
WHOLE_EVERY = timedelta(days=31)  # the whole history is fetched again, for corrected old prices

Fetch = Callable[[date], Answer]
"""Takes the first day to fetch; returns the answer from that day on."""


@dataclass(frozen=True)
class Stored:
    """The stored prices of a ticker.

    Attributes:
        ticker: as Yahoo spells it.
        frame: (L, 4) float64, the COLUMNS as fetched, by session: a naive DatetimeIndex `date`,
            sorted and unique.
        currency: of the prices; None if it is unknown.
        start: the first day that was asked for; the ticker may be younger.
        fetched_at: when they were last fetched.
        whole_at: when the whole history was last fetched; None if that is unknown.
        missing: sessions of the exchange that the whole history lacked.
    """

    ticker: str
    frame: pd.DataFrame
    currency: str | None
    start: date
    fetched_at: datetime
    whole_at: datetime | None
    missing: frozenset[date] = frozenset()

    def covers(self, start: date, last_session: pd.Timestamp) -> bool:
        """Return True if nothing is missing from `start` to `last_session`."""
        return self.start <= start and bool(self.frame.index[-1] >= last_session)

    def is_due(self, now: datetime) -> bool:
        """Return True if it is time to fetch the whole history again.

        A time of the last one far in the future is a clock's that was wrong, and counts as none.
        """
        return self.whole_at is None or abs(now - self.whole_at) >= WHOLE_EVERY


def read(root: Path, ticker: str) -> Stored | None:
    """Return the stored prices of a ticker, or None if there are none.

    Instead of a damaged file the generation before it is read, with a warning. If that is damaged
    too the prices count as absent: they can be fetched again, and the next update replaces them.
    """
    path = _path(root, ticker)
    if not path.exists():
        return None
    stored = _read_one(path, ticker)
    before = _path_before(root, ticker)
    if stored is None and before.exists():
        stored = _read_one(before, ticker)
        if stored is not None:
            last = stored.frame.index[-1]
            logger.warning("%s is read instead, which ends on %s", before, f"{last:%Y-%m-%d}")
    return stored


def stored_tickers(root: Path) -> list[str]:
    """Return the tickers that have prices under `root`, in order."""
    return sorted(path.stem for path in root.glob("*.parquet") if not path.name.startswith("."))


def update(
    root: Path,
    ticker: str,
    fetch: Fetch,
    *,
    start: date,
    last_session: pd.Timestamp,
    exchange: str,
    now: datetime,
) -> Stored:
    """Bring the stored prices from `start` to `last_session` up to date, and return them.

    `fetch` is not called if nothing is missing. Otherwise it is called from a few sessions before
    the last stored one. It is called again from the start if those sessions have been rewritten
    since, if sessions of `exchange` are missing that were not known to be, and once a month.

    Raises:
        PricesUnavailable: `fetch` returns none, or fewer than are stored, or what is not believed:
            prices of another ticker, in another currency, or off by a factor.
        DataError: the file cannot be written.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f".{ticker}.lock"):
        stored = read(root, ticker)
        if stored is not None and stored.covers(start, last_session):
            return stored
        if stored is not None:
            # All that is stored had closed, even if `now` has been set back
            last_session = max(last_session, stored.frame.index[-1])
        remedy = f"remove {_path(root, ticker)} if the answer is right"
        request = _Request(ticker, fetch, start, last_session, exchange, now, remedy)
        updated = _updated(request, stored)
        try:
            _write(root, updated, stored)
        except OSError as error:
            path = _path(root, ticker)
            raise DataError(f"{path} cannot be written ({error.strerror})") from error
        return updated


@dataclass(frozen=True)
class _Request:
    """The parameters of an update; `remedy` tells the user how to accept a refused answer."""

    ticker: str
    fetch: Fetch
    start: date
    last_session: pd.Timestamp
    exchange: str
    now: datetime
    remedy: str

    def answer(self, first_day: date, currency: str | None) -> Answer:
        """Return what there is from `first_day` on."""
        answer = self.fetch(first_day)
        if answer.frame.empty:
            raise PricesUnavailable(
                f"the answer holds no prices of {self.ticker} from {first_day} on"
            )
        refuse_another(answer, self.ticker, currency, self.remedy)
        return answer

    def closed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the sessions that have closed; one that has not may still change."""
        closed = frame.loc[: self.last_session]
        if closed.empty:
            raise PricesUnavailable(
                f"no prices of {self.ticker} on or before {self.last_session:%Y-%m-%d}"
            )
        return closed

    def missing(self, frame: pd.DataFrame) -> pd.DatetimeIndex:
        """Return the sessions of the exchange that the frame lacks."""
        return missing_sessions(pd.DatetimeIndex(frame.index), self.exchange)


def _updated(request: _Request, stored: Stored | None) -> Stored:
    if stored is None:
        return _whole(request, request.answer(request.start, None), request.start)
    recent = None
    if stored.start <= request.start and not stored.is_due(request.now):
        recent = _with_recent(request, stored)
    return recent or _renewed(request, stored)


def _with_recent(request: _Request, stored: Stored) -> Stored | None:
    """Return the stored prices with new sessions; None if the whole history is to be fetched.

    Sessions already stored are asked for again, so an empty answer is always an outage. An answer
    without a newer session is none: the calendar missed a holiday, or the close is not published
    yet.
    """
    answer = request.answer(stored.frame.index[-OVERLAP:][0].date(), stored.currency)
    if not agrees(answer.frame, stored.frame):
        return None  # a dividend or split rewrites the closes of all earlier sessions
    frame = request.closed(answer.frame.combine_first(stored.frame))
    if not stored.missing.issuperset(request.missing(frame).date):
        return None
    return replace(
        stored,
        frame=frame,
        currency=answer.currency or stored.currency,
        fetched_at=request.now,
    )


def _renewed(request: _Request, stored: Stored) -> Stored:
    """Return the whole history, fetched again and judged against the stored one."""
    start = min(request.start, stored.start)
    answer = request.answer(start, stored.currency)
    refuse_shorter(answer.frame, stored.frame, stored.ticker)
    changed = corrected(answer, stored.frame, stored.ticker, request.remedy)
    if len(changed):
        days = listed(session_names(changed), np.ones(len(changed), bool))
        logger.warning(
            "%s: Yahoo has corrected %d stored closes: %s", stored.ticker, len(changed), days
        )
    frame = with_lost_sessions(answer.frame, stored.frame, request.missing(answer.frame))
    currency = answer.currency or stored.currency
    return _whole(request, replace(answer, frame=frame, currency=currency), start)


def _whole(request: _Request, answer: Answer, start: date) -> Stored:
    frame = request.closed(answer.frame)
    return Stored(
        ticker=request.ticker,
        frame=frame,
        currency=answer.currency,
        start=start,
        fetched_at=request.now,
        whole_at=request.now,
        missing=frozenset(request.missing(frame).date),
    )


# Its files


def _path(root: Path, ticker: str) -> Path:
    return root / f"{ticker}.parquet"


def _path_before(root: Path, ticker: str) -> Path:
    return root / f".{ticker}.previous.parquet"


def _read_one(path: Path, ticker: str) -> Stored | None:
    content = path.read_bytes()
    try:
        return _parsed(ticker, content)
    except parquet.UNREADABLE as error:
        reason = str(error).splitlines()[0]
        logger.warning("%s cannot be read and counts as absent: %s", path, reason)
        return None


def _parsed(ticker: str, content: bytes) -> Stored:
    table, notes = parquet.parsed(content)
    frame = table[COLUMNS]
    if notes["format"] not in (UNCHECKED, FORMAT):
        raise ValueError(f"format {notes['format']}, not {FORMAT}")
    if notes["ticker"] != ticker:
        raise ValueError(f"it holds the prices of {notes['ticker']}")
    if notes["format"] == UNCHECKED:
        priced = is_price(frame[["close", "adj_close"]].to_numpy()).all(axis=1)
        notes |= {"currency": None, "whole_at": None, "missing": []}
        frame = frame.iloc[np.flatnonzero(priced)]
    elif notes.pop("sha256") != _sha256(frame, notes):
        raise ValueError("its checksum is wrong")
    return Stored(
        ticker,
        frame,
        notes["currency"],
        date.fromisoformat(notes["start"]),
        datetime.fromisoformat(notes["fetched_at"]),
        notes["whole_at"] and datetime.fromisoformat(notes["whole_at"]),
        frozenset(date.fromisoformat(day) for day in notes["missing"]),
    )


def _sha256(frame: pd.DataFrame, notes: dict[str, Any]) -> str:
    """Return the checksum of the prices and the notes; that of pages covers neither the schema."""
    index = pd.DatetimeIndex(frame.index)
    digest = hashlib.sha256(json.dumps(notes, sort_keys=True).encode())
    digest.update(str(index.tz).encode())
    digest.update(index.to_numpy("datetime64[us]").astype("<i8").tobytes())
    digest.update(frame.to_numpy("<f8").tobytes())
    return digest.hexdigest()


def _content(stored: Stored) -> bytes:
    notes: dict[str, Any] = {
        "format": FORMAT,
        "ticker": stored.ticker,
        "currency": stored.currency,
        "start": stored.start.isoformat(),
        "fetched_at": stored.fetched_at.isoformat(),
        "whole_at": stored.whole_at and stored.whole_at.isoformat(),
        "missing": sorted(day.isoformat() for day in stored.missing),
    }
    notes["sha256"] = _sha256(stored.frame, notes)
    return parquet.content(stored.frame, notes)


def _write(root: Path, stored: Stored, before: Stored | None) -> None:
    """Write the prices, and those before them, so that at any time one of both can be read."""
    previous = _path_before(root, stored.ticker)
    if before is not None:
        parquet.replace(previous, _content(before))
    parquet.replace(_path(root, stored.ticker), _content(stored))
    if before is None:
        previous.unlink(missing_ok=True)
