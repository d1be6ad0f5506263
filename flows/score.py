"""Flow `score`: what has come true of the forecasts, and what that says. Run it with `python -m flows.score`."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as this_run
from rich.table import Table

from flows import command_line
from flows.steps.prefect_runs import (
    announce,
    artifact_key,
    close_tracked_run,
    nothing_to_do,
    run_name,
)
from flows.steps.prices import prices_or_fallback, yahoo_slot
from flows.steps.standing import standing
from flows.steps.tickers import Outcomes, each
from flows.tracking import queries, records, registry, runs
from rnn_core.commands import Retrain
from rnn_core.commands import Score as Config
from rnn_core.config import Source, Yahoo
from rnn_core.data.exchanges import closed_for_the_day, last_closed_session
from rnn_core.data.features import FEATURES
from rnn_core.data.prices import SYNTHETIC_FALLBACK, Prices
from rnn_core.data.windows import features
from rnn_core.errors import LedgerError, PricesUnavailable
from rnn_core.operations import live
from rnn_core.operations.ledger import Ledger
from rnn_core.operations.promotion import Candidate
from rnn_core.reporting import pages
from rnn_core.reporting.pages import Standing

VOID_AFTER = 5  # sessions: a price that has not come by then, while later ones have, never will


@flow(
    flow_run_name=run_name,
    on_cancellation=[close_tracked_run],
    on_crashed=[close_tracked_run],
    persist_result=False,
)
def score(
    ticker: str | None = None,
    source: Source | None = None,
    recent: int = 60,
    drift_level: float = 1e-4,
    tolerated: int = 1,
    scheduled: bool = False,
    now: datetime | None = None,
) -> Outcomes[Standing] | State[Any]:
    """Settle the forecasts that have come true, and hold the live record against what was promised.

    Args:
        ticker: Ticker as Yahoo spells it; empty: every one with forecasts
        source: Where prices come from; empty: as the champion was trained
        recent: Sessions whose inputs are held against those of training
        drift_level: Adjusted p-value below which inputs have drifted
        tolerated: Closed sessions without a price that are no alarm yet
        scheduled: As the schedule runs it: no work on a day without a session, nor twice for one session
        now: Time to run as of, such as 2013-02-28T22:00:00Z; empty: the clock
    """
    config = Config(
        ticker=ticker,
        source=source,
        recent=recent,
        drift_level=drift_level,
        tolerated=tolerated,
        scheduled=scheduled,
        now=now or datetime.now(UTC),
    )
    with Ledger.open() as ledger:
        listed = {
            one: exchange
            for one, exchange in ledger.exchanges().items()
            if config.ticker in (None, one)
        }
        if not listed and config.scheduled:
            return nothing_to_do("nothing was forecast yet")
        if not listed:
            asked = f"of {config.ticker}" if config.ticker else "yet"
            raise LedgerError(
                f"the ledger has no forecasts {asked}; make one: python -m flows.forecast"
            )
        tags = {"ticker": config.ticker or "all", "sessions": _sessions(listed, config.time)}
        if config.scheduled and (reason := _no_work(listed, tags, config.time)):
            return nothing_to_do(reason)
        subject = config.ticker or f"{len(listed)} tickers"
        with runs.run("score", subject, config, tags, str(this_run.id)) as run_id:
            with yahoo_slot(config.source):
                scored = each(listed, partial(score_ticker, config, ledger))
            records.log_standings(
                run_id, scored, scored.failed, f"Live record, {config.time:%Y-%m-%d}"
            )
            for found in scored.values():
                for alarm in found.alarms:
                    announce("alarm", found.ticker, f"{alarm.kind}: {alarm.text}")
    create_markdown_artifact(
        pages.universe_markdown(list(scored.values()), scored.failed), key="universe"
    )
    for ticker, found in scored.items():
        create_markdown_artifact(pages.markdown(found), key=artifact_key(f"ticker-{ticker}"))
    return scored


def score_ticker(config: Config, ledger: Ledger, ticker: str) -> Standing:
    """Settle what has come true of a ticker and say where it stands.

    Raises:
        PricesUnavailable: there are none, not even stored ones; its forecasts stay open.
    """
    forecasts = ledger.forecasts(ticker)
    trained = registry.configuration(ticker, forecasts["run_id"].iloc[-1])
    source = config.source or trained.source
    if isinstance(source, Yahoo):
        source = source.model_copy(
            update={"fallback": "synthetic"}
        )  # what is stored settles, though it may be stale
    prices = prices_or_fallback(source, ticker, config.time)
    if prices.source == SYNTHETIC_FALLBACK:
        raise PricesUnavailable(
            f"no price of {ticker} can be had to settle its forecasts with; they stay open"
        )
    for forecast in forecasts[forecasts["settled_at"].isna()].itertuples():
        settle(ledger, prices, forecast, config.time)
    last_price = prices.frame.index[-1].date()
    seen = {"exchange": prices.exchange, "last_price": last_price, "data_source": prices.source}
    found = standing(ledger, ticker, config.time, **seen)
    before, now = inputs(trained, prices, found.champion, config.recent)
    drift = live.drift(before.to_numpy(), now.to_numpy(), list(before.columns))
    alarms = live.alarms(
        found.record, drift, found.missing, level=config.drift_level, tolerated=config.tolerated
    )
    return replace(found, alarms=tuple(alarms))


def settle(ledger: Ledger, prices: Prices, forecast: Any, at: datetime) -> None:
    """Write down what became of a row of the ledger, if the prices tell.

    It is the return from the close that the forecast was made at. A session whose price has not come while those of
    `VOID_AFTER` later ones have never will get one: the row is void.
    """
    close, session = prices.frame["close"], pd.Timestamp(forecast.session)
    if session in close.index:
        before = close.loc[: pd.Timestamp(forecast.last_session)].iloc[-1]
        ledger.settle(forecast.id, float(np.log(close[session] / before)), at)
    elif (close.index > session).sum() >= VOID_AFTER:
        ledger.settle(forecast.id, None, at)


def inputs(
    trained: Retrain, prices: Prices, champion: Candidate | None, recent: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Inputs (n, I) of the sessions that the champion has learned from, and (recent, I) of the last ones.

    Those that cluster in time are left out: of them any two stretches differ, and the test of drift would tell nothing.
    """
    known = features(trained.problem, prices.frame).dropna()
    known = known[[name for name in known.columns if not FEATURES[name].clusters]]
    before = known.iloc[:-recent]
    if champion is not None:
        before = before.loc[: pd.Timestamp(champion.data_last)]
    return before.tail(trained.evaluation.train_days + trained.evaluation.valid_days), known.tail(
        recent
    )


def _sessions(exchanges: dict[str, str], now: datetime) -> str:
    """The last closed session of each exchange, as a run is tagged with."""
    last = {
        exchange: last_closed_session(exchange, now) for exchange in sorted(set(exchanges.values()))
    }
    return ", ".join(f"{exchange} {session:%Y-%m-%d}" for exchange, session in last.items())


def _no_work(exchanges: dict[str, str], tags: dict[str, str], now: datetime) -> str | None:
    """Why a scheduled run has nothing to do: a day without a session, or done already; None if there is work."""
    if reason := closed_for_the_day(exchanges.values(), now):
        return reason
    which = " and ".join(f"tags.{name} = '{value}'" for name, value in tags.items())
    earlier = queries.first(f"{which} and attributes.status = 'FINISHED'", ["score"])
    return earlier and f"{tags['sessions']} was scored by run {earlier}"


def _table(scored: Outcomes[Standing]) -> Table:
    table = Table(
        "ticker", "settled", "right", "anytime-valid", "promised", "log loss", "promised", "alarms"
    )
    for ticker, found in scored.items():
        record, alarms = found.record, "; ".join(alarm.text for alarm in found.alarms) or "none"
        if record is None:
            table.add_row(ticker, "0", "", "", "", "", "", alarms)
            continue
        table.add_row(
            ticker,
            str(record.days),
            f"{record.accuracy:.1%}",
            f"{record.low:.1%} to {record.high:.1%}",
            f"{record.promised_low:.1%} to {record.promised_high:.1%}",
            f"{record.log_loss:.4f}",
            f"{record.promised_log_loss:.4f}",
            alarms,
        )
    for ticker, reason in scored.failed.items():
        table.add_row(ticker, "failed", reason)
    return table


def main(config: Config) -> None:
    """Run the flow in this process and print where the tickers stand."""
    scored = score(**{name: getattr(config, name) for name in Config.model_fields})
    if isinstance(scored, Outcomes):
        command_line.show(_table(scored))


if __name__ == "__main__":
    command_line.run(Config, main)
