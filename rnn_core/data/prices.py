"""Daily prices of one ticker, whatever they came from."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rnn_core.data.exchanges import closed_sessions
from rnn_core.errors import DataError

SYNTHETIC_FALLBACK = "synthetic-fallback"
"""The `source` of a random walk that stands in for prices that could not be fetched."""

SPLIT_RATIOS = (3 / 2, 2, 3, 4, 5, 7, 8, 10, 15, 20, 25, 30, 50, 100)


@dataclass(frozen=True)
class Prices:
    """Daily prices of one ticker, fit to train on, and where they came from."""

    ticker: str
    # (L, F) float64 by session: naive DatetimeIndex "date", sorted and unique. `close` is complete and positive and
    # adjusted where the source has it; where the source has them, `open`, adjusted alike, and `volume` (NaN: unknown).
    frame: pd.DataFrame
    source: str  # yahoo, yahoo-stored, file, synthetic or synthetic-fallback
    column: str  # the column of the source that `close` was taken from
    exchange: str  # MIC of the exchange calendar
    warnings: tuple[str, ...] = ()  # what a user should be told
    fetched_at: datetime | None = None  # when Yahoo answered
    attainable_accuracy: float | None = None  # of the best forecast of direction, where it is known

    @property
    def sha256(self) -> str:
        """Hash of the sessions, column names and values, however they were obtained."""
        digest = hashlib.sha256("\n".join(self.frame.columns).encode())
        digest.update(self.frame.index.to_numpy("datetime64[D]").astype("<i8").tobytes())
        digest.update(self.frame.to_numpy("<f8").tobytes())
        return digest.hexdigest()


def is_synthetic(source: str) -> bool:
    """Return True if prices of this `Prices.source` are a random walk and not a market's.

    >>> is_synthetic("synthetic-fallback"), is_synthetic("yahoo-stored")
    (True, False)
    """
    return source.startswith("synthetic")


def adjusted(frame: pd.DataFrame) -> pd.DataFrame:
    """`close`, `open` and `volume`, as far as given, with the open adjusted as `close` is to `adj_close`."""
    adjusted = pd.DataFrame({"close": frame["adj_close"]})
    if "open" in frame:
        opening = frame["open"] * (frame["adj_close"] / frame["close"])
        # Where trading was halted, an open of zero is reported
        adjusted["open"] = opening.where((opening > 0) & np.isfinite(opening))
    if "volume" in frame:
        adjusted["volume"] = frame["volume"]
    return adjusted


def checked(prices: Prices, subject: str, rows: pd.Index, now: datetime) -> Prices:
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
                f"{subject}: {column} is unknown in {listed(session_names(frame.index), unknown.to_numpy())}"
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
                f"{subject}: column {prices.column!r} has {what} ({value}) in {listed(rows, bad)}; {remedy}"
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
    where = listed(session_names(frame.index), split)
    return [
        f"{subject}: column {column!r} jumps as by an unadjusted split in {where}; take an adjusted close"
    ]


def session_names(index: pd.Index) -> pd.Index:
    """Return the sessions (L,) as text, such as 2013-01-31."""
    return pd.DatetimeIndex(index).strftime("%Y-%m-%d").rename("sessions")


def listed(rows: pd.Index, chosen: NDArray[np.bool_], most: int = 5) -> str:
    """The first few of the chosen rows in words, such as `lines 3, 8 and 12 more`."""
    found = rows[chosen]
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return f"{rows.name} {', '.join(map(str, found[:most]))}{more}"
