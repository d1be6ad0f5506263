"""A live forecast as the ledger takes it, of Microsoft for the first of March 2013."""

from datetime import UTC, date, datetime, timedelta

from rnn_core.operations.ledger import Forecast

CLOSE = datetime(2013, 2, 28, 21, tzinfo=UTC)
OPEN = datetime(2013, 3, 1, 14, 30, tzinfo=UTC)
FORECAST = Forecast(
    ticker="MSFT",
    exchange="XNYS",
    session=date(2013, 3, 1),
    last_session=date(2013, 2, 28),
    opens_at=OPEN,
    model_version=3,
    run_id="8f2c",
    learned_to=date(2013, 2, 28),
    probability=0.53,
    spread=0.01,
    verdict="no evidence of skill",
    data_source="file",
    data_sha256="ab12",
    promised_accuracy=0.51,
    promised_low=0.49,
    promised_high=0.53,
    promised_log_loss=0.6929,
    as_of=CLOSE + timedelta(hours=1),
)
