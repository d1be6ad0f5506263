"""A Yahoo for tests of the price store: answers from a frame, and what it was asked."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from rnn_core.data.answers import Answer
from rnn_core.data.store import COLUMNS, Stored, update

START = date(2013, 1, 1)
NOW = datetime(2013, 2, 1, 22, tzinfo=UTC)
PRICES = ["open", "close", "adj_close"]


def events(days: dict[str, float]) -> "pd.Series[float]":
    return pd.Series(list(days.values()), pd.DatetimeIndex(list(days)), dtype=float)


class Yahoo:
    """Answers with its frame, and remembers which first days it was asked for."""

    def __init__(self, last: str, periods: int = 60) -> None:
        index = pd.bdate_range(end=last, periods=periods, name="date").as_unit("us")
        steps = np.arange(periods, dtype=float)
        self.frame = pd.DataFrame(
            {column: 10 * n + 100 + steps for n, column in enumerate(COLUMNS)}, index
        )
        self.symbol = "MSFT"
        self.currency: str | None = "USD"
        self.splits: dict[str, float] = {}
        self.dividends: dict[str, float] = {}
        self.asked: list[date] = []

    def fetch(self, first_day: date) -> Answer:
        self.asked.append(first_day)
        since = pd.Timestamp(first_day)
        return Answer(
            self.frame.loc[since:],
            self.symbol,
            self.currency,
            events(self.splits).loc[since:],
            events(self.dividends).loc[since:],
        )


def bring(
    root: Path, yahoo: Yahoo, last_session: str, *, start: date = START, now: datetime = NOW
) -> Stored:
    return update(
        root,
        "MSFT",
        yahoo.fetch,
        start=start,
        last_session=pd.Timestamp(last_session),
        exchange="XNYS",
        now=now,
    )
