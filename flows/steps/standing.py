"""Where a ticker stands today: its champion, what that promised, and the live record."""

from collections.abc import Sequence
from datetime import date, datetime

from flows.steps import champions
from flows.tracking import runs
from rnn_core.data.exchanges import last_closed_session, sessions
from rnn_core.errors import ChampionMissing
from rnn_core.evaluation import names
from rnn_core.operations.ledger import Ledger
from rnn_core.operations.live import Alarm, in_live_record, live_record
from rnn_core.operations.standing import Promise, Standing

PROMISED = (names.ACCURACY, names.ACCURACY_LOW, names.ACCURACY_HIGH, names.LOG_LOSS)


def standing_of(
    ledger: Ledger,
    ticker: str,
    now: datetime,
    *,
    exchange: str,
    last_price: date,
    data_source: str,
    alarms: Sequence[Alarm] = (),
) -> Standing:
    """Return where the ticker stands at `now`, as the ledger and the registry have it.

    `last_price` is the last session with a price.
    """
    try:
        champion = champions.champion(ledger, ticker)
    except ChampionMissing as error:
        champion = None
        alarms = [*alarms, Alarm("champion", str(error))]
    forecasts = ledger.forecasts(ticker)
    settled = forecasts[in_live_record(forecasts)]
    scores = champion.scores if champion else {}
    return Standing(
        ticker=ticker,
        exchange=exchange,
        as_of=now,
        champion=champion,
        promoted_at=ledger.promoted_at(ticker, champion.version) if champion else None,
        # Champions of older versions were judged by Pesaran and Timmermann's test
        pvalue=scores.get(names.CONDITIONAL_PVALUE_ADJUSTED, scores.get(names.PT_PVALUE_ADJUSTED)),
        promise=Promise(*(scores[name] for name in PROMISED)) if champion else None,
        record=live_record(settled),
        forecasts=forecasts,
        alarms=tuple(alarms),
        last_price=last_price,
        missing=missing_sessions(exchange, last_price, now),
        data_source=data_source,
        page=runs.url(champion.run_id) if champion else "",
    )


def missing_sessions(exchange: str, last_price: date, now: datetime) -> int:
    """Return how many sessions have closed since the last one with a price."""
    closed = sessions(exchange, last_price, last_closed_session(exchange, now).date())
    return int((closed.date > last_price).sum())
