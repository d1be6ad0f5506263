"""One forecast of a session, and the row of the ledger that it becomes."""

from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta

from rnn_core.operations.replay import replay_reason


@dataclass(frozen=True)
class Forecast:
    """One forecast of a session by a model.

    Attributes:
        ticker: as Yahoo spells it.
        exchange: MIC of the exchange calendar.
        session: the day that is forecast.
        last_session: the session after whose close the forecast is made.
        opens_at: when the session opens, UTC.
        model_version: version of the registered model.
        run_id: the tracked run that trained the model.
        learned_to: the last session among the prices that trained the model.
        probability: that the session closes above the last one.
        spread: standard deviation of the probability over the ensemble; None if undefined.
        verdict: on the model's skill, from its walk-forward.
        data_source: where the prices came from, such as `yahoo`.
        data_sha256: of the prices.
        promised_accuracy: accuracy of the model's walk-forward; None if undefined, as all promises.
        promised_low: lower end of that accuracy's 95 % interval.
        promised_high: its upper end.
        promised_log_loss: mean log loss of the walk-forward, nats.
        as_of: when the flow started, by its own clock, which may be set; UTC.
        closures: sessions between the last one and this one that count as closures.
    """

    ticker: str
    exchange: str
    session: date
    last_session: date
    opens_at: datetime
    model_version: int
    run_id: str
    learned_to: date
    probability: float
    spread: float | None
    verdict: str
    data_source: str
    data_sha256: str
    promised_accuracy: float | None
    promised_low: float | None
    promised_high: float | None
    promised_log_loss: float | None
    as_of: datetime
    closures: int = 0

    def row(
        self, written_at: datetime, *, grace: timedelta, own_sessions: bool
    ) -> dict[str, object]:
        """Return the columns that a forecast written at `written_at` has, except `counted`.

        Args:
            written_at: the present time of the machine, UTC.
            grace: time after the open in which it still counts if none can be early.
            own_sessions: True if the rows of the prices are the sessions.
        """
        made_at = max(self.as_of, written_at)
        replay = replay_reason(
            self.exchange,
            self.session,
            self.last_session,
            opens_at=self.opens_at,
            made_at=made_at,
            written_at=written_at,
            seen=self.learned_to >= self.session,
            closures=self.closures,
            grace=grace,
            own_sessions=own_sessions,
        )
        delay = made_at - self.opens_at
        return asdict(self) | {
            "written_at": written_at,
            "made_at": made_at,
            "late": made_at >= self.opens_at,
            "delay": max(delay.total_seconds(), 0.0),
            "replay": replay,
        }
