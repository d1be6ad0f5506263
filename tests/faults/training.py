"""Small retrainings on synthetic prices, without Prefect."""

from datetime import UTC, datetime

from flows.steps import learning
from flows.steps.summary import Summary
from rnn_core.commands import Retrain
from rnn_core.config import Evaluation, Model, Promotion, Synthetic, Training
from rnn_core.data import loading

TICKER = "MSFT"
DAYS = [datetime(2021, 6, day, 21, tzinfo=UTC) for day in (1, 2, 3, 4)]


def retrain(day: datetime, ticker: str = TICKER) -> Summary:
    """Retrain as of the evening of a day; the version becomes champion if its prices are newer."""
    config = Retrain(
        ticker=ticker,
        source=Synthetic(days=700),
        model=Model(hidden_size=2),
        training=Training(epochs=1, seeds=1),
        evaluation=Evaluation(train_days=300, valid_days=60, test_days=300),
        promotion=Promotion(allow_synthetic=True),
        now=day,
    )
    prices = loading.load(config.source, ticker, day)
    return learning.learn_one_of_many(config, prices, parent="", flow_run_id="")
