"""The standing of a ticker today: its champion, what it promised, and the live record."""

from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd

from rnn_core.operations.live import Alarm, LiveRecord
from rnn_core.operations.promotion import Candidate


@dataclass(frozen=True)
class Promise:
    """What the walk-forward of a model leads one to expect of its forecasts.

    Attributes:
        accuracy: share of right calls.
        low: lower end of its 95 % interval.
        high: its upper end.
        log_loss: mean, in nats.
    """

    accuracy: float
    low: float
    high: float
    log_loss: float


@dataclass(frozen=True)
class Standing:
    """All that is known about a ticker today.

    Attributes:
        ticker: as Yahoo spells it.
        exchange: MIC of its exchange calendar.
        as_of: the time of this knowledge, aware, UTC.
        champion: the model that makes the forecasts, if there is one.
        promoted_at: when it became champion, aware, UTC.
        pvalue: one-sided p of the direction given the base rate, of the champion's walk-forward,
            adjusted for the configurations tried; None if undefined or without a champion.
        promise: of the champion's walk-forward; None without a champion.
        record: of the settled forecasts; None if there are none.
        forecasts: rows of the ledger, oldest first, with the columns of `Ledger.forecasts`.
        alarms: what a user should look at.
        last_price: the last session with a price; None if there is no price.
        missing: sessions that have closed after it, without a price.
        data_source: where the prices came from, such as `yahoo`.
        page: address of the champion's run, or empty.
    """

    ticker: str
    exchange: str
    as_of: datetime
    champion: Candidate | None
    promoted_at: datetime | None
    pvalue: float | None
    promise: Promise | None
    record: LiveRecord | None
    forecasts: pd.DataFrame
    alarms: tuple[Alarm, ...]
    last_price: date | None
    missing: int
    data_source: str
    page: str = ""
