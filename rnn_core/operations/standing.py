"""What is known of a ticker today: its champion, what that promised, and what came of it."""

from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd

from rnn_core.operations.live import Alarm, LiveRecord
from rnn_core.operations.promotion import Candidate


@dataclass(frozen=True)
class Promise:
    """What the walk-forward of a model lets one expect: its accuracy with its 95 % interval, its log loss in nats."""

    accuracy: float
    low: float
    high: float
    log_loss: float


@dataclass(frozen=True)
class Standing:
    """What is known of a ticker today.

    Attributes:
        ticker: as Yahoo spells it.
        exchange: MIC of its exchange calendar.
        as_of: the moment that all of this is known at, aware, UTC.
        champion: the model that makes the calls, if there is one.
        promoted_at: when it became champion, aware, UTC.
        pvalue: one-sided Pesaran–Timmermann p of the champion's walk-forward, adjusted for the configurations that were
            tried on it; None if undefined or without a champion.
        promise: what the champion's walk-forward lets one expect; None as above.
        record: what the settled forecasts say; None if there are none.
        forecasts: rows of the ledger, oldest first, with the columns of `Ledger.forecasts`.
        alarms: what a user should look at.
        last_price: the last session with a price; None if there is no price.
        missing: closed sessions after it, which have no price.
        data_source: where the prices came from, such as `yahoo`.
        page: address of the champion's run, if there is one to link to.
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
