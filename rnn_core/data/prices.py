"""Daily prices of one ticker, and the checks that every source goes through."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rnn_core.data.exchanges import (
    closed_sessions,
    first_session,
    missing_sessions,
    no_sessions,
    sessions_a_year,
    steps,
)
from rnn_core.data.gaps import refuse_sparse
from rnn_core.data.ticks import far_moves, implausible, undone_jumps
from rnn_core.errors import DataError

SourceName: TypeAlias = Literal["yahoo", "yahoo-stored", "file", "synthetic", "synthetic-fallback"]

SYNTHETIC_FALLBACK: SourceName = "synthetic-fallback"
"""The `source` of a random walk that stands in for prices that could not be fetched."""

MOST_NO_SESSIONS = 0.01  # share of rows on days without a session that is kept, with a warning

DAYS_A_YEAR = 365.25
SPLIT_RATIOS = (3 / 2, 2, 3, 4, 5, 7, 8, 10, 15, 20, 25, 30, 50, 100)


@dataclass(frozen=True)
class Prices:
    """Daily prices of one ticker, fit to train on, and where they came from.

    Attributes:
        ticker: as Yahoo spells it.
        frame: (L, F) float64 by session, a naive DatetimeIndex `date`, sorted and unique. `close`
            is complete and positive, and adjusted if the source says so. `open`, adjusted by the
            same factor, and `volume` are there if the source has them; NaN is unknown.
        source: where they came from: `yahoo-stored` and `synthetic-fallback` if Yahoo was
            unavailable.
        column: the column of the source that `close` was taken from.
        exchange: MIC of the exchange calendar.
        warnings: one line each, for the user.
        fetched_at: when Yahoo answered.
        attainable_accuracy: that of the best forecast of direction, if it is known.
        own_sessions: True if the rows themselves are the sessions, not the exchange's days.
    """

    ticker: str
    frame: pd.DataFrame
    source: SourceName
    column: str
    exchange: str
    warnings: tuple[str, ...] = ()
    fetched_at: datetime | None = None
    attainable_accuracy: float | None = None
    own_sessions: bool = False

    @property
    def steps(self) -> NDArray[np.int64]:
        """How many sessions each row is after the one before it (L,): 1 unless some are missing."""
        if self.own_sessions:
            return np.ones(len(self.frame), np.int64)
        return steps(pd.DatetimeIndex(self.frame.index), self.exchange)

    @property
    def sessions_a_year(self) -> int:
        """How many sessions a year has: the exchange's number, or the rows' own rate."""
        if not self.own_sessions:
            return sessions_a_year(self.exchange)
        days: int = (self.frame.index[-1] - self.frame.index[0]).days
        return round((len(self.frame) - 1) / days * DAYS_A_YEAR)

    @property
    def sha256(self) -> str:
        """SHA-256 of the sessions, column names and values, in hex; the source does not matter."""
        return sha256_of(self.frame)


def sha256_of(frame: pd.DataFrame) -> str:
    """Return the SHA-256 of the sessions, column names and values of a frame (L, F), in hex."""
    digest = hashlib.sha256("\n".join(frame.columns).encode())
    digest.update(frame.index.to_numpy("datetime64[D]").astype("<i8").tobytes())
    digest.update(frame.to_numpy("<f8").tobytes())
    return digest.hexdigest()


def is_synthetic(source: str) -> bool:
    """Return True if prices of this `Prices.source` are a random walk and not a market's.

    >>> is_synthetic("synthetic-fallback"), is_synthetic("yahoo-stored")
    (True, False)
    """
    return source.startswith("synthetic")


def adjusted(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `close` and, if `frame` has them, `open` and `volume`, all prices adjusted.

    `frame` (L, F) has `adj_close`, which becomes `close`; an `open` needs the raw `close` too, and
    is adjusted by the same factor.
    """
    prices = pd.DataFrame({"close": frame["adj_close"]})
    if "open" in frame:
        opening = frame["open"] * (frame["adj_close"] / frame["close"])
        # Where trading was halted, an open of zero is reported
        prices["open"] = opening.where((opening > 0) & np.isfinite(opening))
    if "volume" in frame:
        prices["volume"] = frame["volume"]
    return prices


def checked(prices: Prices, subject: str, rows: pd.Index, now: datetime) -> Prices:
    """Return the prices sorted by date, up to the last session closed by `now`, with warnings.

    Args:
        prices: as read, of L rows.
        subject: what errors and warnings begin with: a file or a ticker.
        rows: (L,) where each row stands in its source; its name says what they count.
        now: time to load as of.

    Raises:
        DataError: the prices are unfit to train on.
    """
    faults = bad_rows(prices, rows)
    if faults:
        remedy = "correct the file" if prices.source == "file" else "set source.start after them"
        raise DataError(f"{subject}: {'; '.join(faults)}; {remedy}")
    frame = prices.frame
    warnings = list(prices.warnings)
    if not frame.index.is_monotonic_increasing:
        warnings.append(f"{subject}: the rows were not in order of date and were sorted")
        frame = frame.sort_index()
    frame = frame[closed_sessions(pd.DatetimeIndex(frame.index), prices.exchange, now)]
    if not prices.own_sessions:
        frame, unknown = _known_days(frame, subject, prices.exchange)
        warnings += unknown
    _refuse_too_few(frame, subject, prices.column, now)
    if not prices.own_sessions:
        warnings += _session_warnings(frame, subject, prices.exchange)
    warnings += _jump_warnings(frame, subject, prices.column)
    warnings += _gap_warnings(frame, subject)
    return replace(prices, frame=frame, warnings=tuple(warnings))


def bad_rows(
    prices: Prices, rows: pd.Index, readable: NDArray[np.bool_] | None = None
) -> list[str]:
    """Return what is wrong with the rows (L,), one clause for each kind of fault.

    `readable` (L,) leaves out rows whose price or date could not be read at all.
    """
    close = prices.frame["close"].to_numpy()
    looked_at = np.ones(len(close), bool) if readable is None else readable
    faults = {
        "no price": np.isnan(close),
        "an infinite price": np.isinf(close),
        "a price of zero or less": close <= 0,
        "a second price of the same date": prices.frame.index.duplicated(keep=False),
    }
    clauses = []
    for fault, where in faults.items():
        bad = where & looked_at
        if bad.any():
            example = f"{close[bad][0]:g} of {prices.frame.index[bad][0]:%Y-%m-%d}"
            clauses.append(
                f"column {prices.column!r} has {fault} ({example}) in {listed(rows, bad)}"
            )
    return clauses


def _refuse_too_few(frame: pd.DataFrame, subject: str, column: str, now: datetime) -> None:
    if len(frame) < 2:
        raise DataError(
            f"{subject}: has {len(frame)} of the sessions closed by {now}; at least 2 are needed"
        )
    if frame["close"].nunique() == 1:
        raise DataError(
            f"{subject}: column {column!r} is {frame['close'].iloc[0]:g} in all {len(frame)} "
            "sessions; take another column or ticker"
        )


def _known_days(frame: pd.DataFrame, subject: str, exchange: str) -> tuple[pd.DataFrame, list[str]]:
    """Leave out the rows before the exchange's first known session, with a warning."""
    first = first_session(exchange)
    known = frame.loc[first:]
    left_out = len(frame) - len(known)
    if not left_out:
        return frame, []
    return known, [
        f"{subject}: {left_out} rows before {first:%Y-%m-%d} were left out: the sessions of "
        f"{exchange} before that are unknown; source.sessions=data keeps those of a file"
    ]


def _session_warnings(frame: pd.DataFrame, subject: str, exchange: str) -> list[str]:
    """Hold the rows against the exchange's sessions, in both directions.

    Raises:
        DataError: too many rows are on days without a session, or the rows are not daily.
    """
    index = pd.DatetimeIndex(frame.index)
    refuse_sparse(steps(index, exchange), subject, exchange)
    warnings = []
    strange = no_sessions(index, exchange)
    if strange.mean() > MOST_NO_SESSIONS:
        raise DataError(
            f"{subject}: {strange.mean():.1%} of the rows are on days that are no sessions of "
            f"{exchange}: {listed(session_names(index), strange)}; set source.exchange, or "
            "source.sessions=data if the rows themselves are the sessions"
        )
    if strange.any():
        days = listed(session_names(index), strange)
        warnings.append(f"{subject}: kept although {exchange} has no session: {days}")
    missing = missing_sessions(index, exchange)
    if len(missing):
        days = listed(session_names(missing), np.ones(len(missing), bool))
        warnings.append(
            f"{subject}: no price of the {exchange} {days}; "
            "a move over them is no label, no test day and no day's return"
        )
    return warnings


def _jump_warnings(frame: pd.DataFrame, subject: str, column: str) -> list[str]:
    """Warn of every jump that is hardly a market's, each under its likeliest name."""
    close = frame["close"].to_numpy()
    undone = undone_jumps(close)
    back = np.append(False, undone[:-1])
    split = _splits(frame) & ~undone & ~back
    far = far_moves(close) & ~split
    is_last = np.arange(len(close)) == len(close) - 1
    new = is_last & implausible(close) & ~split & ~far
    kinds = {
        "jumps and is back the next session, as by a bad tick, in {}; correct it": undone,
        "jumps as by an unadjusted split in {}; take an adjusted close": split,
        "moves far outside its usual range in {}; see if that is true": far,
        "jumps implausibly in {}, the last one; the next one will tell if that is true": new,
    }
    sessions = session_names(frame.index)
    return [
        f"{subject}: column {column!r} {text.format(listed(sessions, rows))}"
        for text, rows in kinds.items()
        if rows.any()
    ]


def _splits(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rows (L,) open or close at about a common split ratio of the close before."""
    first_price = frame.get("open", frame["close"])
    # A split shows in the first price after it; a whole day's move blurs it
    tolerance = 0.03 if "open" in frame else 0.10
    jump = np.abs(np.log((first_price / frame["close"].shift()).to_numpy()))
    split: NDArray[np.bool_] = (np.abs(jump[:, None] - np.log(SPLIT_RATIOS)) < tolerance).any(
        axis=1
    )
    return split


def _gap_warnings(frame: pd.DataFrame, subject: str) -> list[str]:
    sessions = session_names(frame.index)
    return [
        f"{subject}: {column} is unknown in {listed(sessions, unknown.to_numpy())}"
        for column, unknown in frame.isna().items()
        if unknown.any()
    ]


def session_names(index: pd.Index) -> pd.Index:
    """Return the sessions (L,) as text.

    >>> session_names(pd.DatetimeIndex(["2013-01-31"])).tolist()
    ['2013-01-31']
    """
    return pd.DatetimeIndex(index).strftime("%Y-%m-%d").rename("sessions")


def listed(rows: pd.Index, chosen: NDArray[np.bool_], most: int = 5) -> str:
    """Return the first few of the chosen rows in words; `rows` (L,) is named after what it counts.

    >>> listed(pd.Index([2, 3, 4, 5], name="lines"), np.array([True, False, True, True]), most=2)
    'lines 2, 4 and 1 more'
    """
    names = [str(row) for row in rows[chosen]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{rows.name} {', '.join(names[:most])}{more}"
