"""Daily prices of one ticker, whatever they came from."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

SYNTHETIC_FALLBACK = "synthetic-fallback"
"""The `source` of a random walk that stands in for prices that could not be fetched."""


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
