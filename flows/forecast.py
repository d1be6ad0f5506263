"""Flow `forecast`: what the champion expects of the next session. Run it with `python -m flows.forecast`."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import pandas as pd
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as this_run
from rich.table import Table
from sqlalchemy import Row

from flows import command_line
from flows.steps.prefect_runs import artifact_key, close_tracked_run, nothing_to_do, run_name
from flows.steps.prices import prices_or_fallback, yahoo_slot
from flows.steps.tickers import Outcomes, each
from flows.tracking import records, registry, runs, store
from rnn_core.commands import Forecast as Config
from rnn_core.config import Source, Yahoo
from rnn_core.data.exchanges import closed_for_the_day, last_closed_session, next_session
from rnn_core.data.loading import exchange_for
from rnn_core.data.prices import is_synthetic
from rnn_core.data.windows import prices_needed
from rnn_core.errors import ChampionMissing, ConfigError, DataError
from rnn_core.evaluation import names
from rnn_core.operations.ledger import Forecast, Ledger

HEAD = ("session", "closes up", "spread", "verdict of the model", "version", "counted")


@flow(
    flow_run_name=run_name,
    on_cancellation=[close_tracked_run],
    on_crashed=[close_tracked_run],
    persist_result=False,
)
def forecast(
    ticker: str | None = None,
    source: Source | None = None,
    session: date | None = None,
    scheduled: bool = False,
    now: datetime | None = None,
) -> Outcomes[Row[Any]] | State[Any]:
    """Say what the champion expects of the next session, and write it to the ledger before that session opens.

    Args:
        ticker: Ticker as Yahoo spells it; empty: every one with a champion
        source: Where prices come from; empty: as the champion was trained
        session: Session that is expected to be the next; empty: by the calendar
        scheduled: As the schedule runs it: no work on a day without a session, nor twice for one session
        now: Time to run as of, such as 2013-02-28T22:00:00Z; empty: the clock
    """
    config = Config(
        ticker=ticker,
        source=source,
        session=session,
        scheduled=scheduled,
        now=now or datetime.now(UTC),
    )
    store.experiment_id("forecast")  # says in one line if the store cannot be used
    tickers = [config.ticker] if config.ticker else registry.with_champion()
    if not tickers and config.scheduled:
        return nothing_to_do("no ticker has a champion yet")
    if not tickers:
        raise ChampionMissing(
            "no ticker has a champion; retrain one: python -m flows.retrain --ticker MSFT"
        )
    subject, tags = config.ticker or f"{len(tickers)} tickers", {"ticker": config.ticker or "all"}
    if config.scheduled and (reason := closed_for_the_day(_exchanges(tickers), config.time)):
        return nothing_to_do(reason)
    with (
        Ledger.open() as ledger,
        runs.run("forecast", subject, config, tags, str(this_run.id)) as run_id,
    ):
        with yahoo_slot(config.source):
            said = each(tickers, partial(forecast_ticker, config, ledger))
        records.log_forecasts(run_id, pd.DataFrame([row._mapping for row in said.values()]))
    create_markdown_artifact(
        _markdown(said), key=artifact_key(f"forecast-{config.ticker or 'all'}")
    )
    return said


def forecast_ticker(config: Config, ledger: Ledger, ticker: str) -> Row[Any]:
    """The call on the next session of a ticker: its row in the ledger, written now or before.

    Raises:
        ChampionMissing: the ticker has no champion, or it was deleted.
        ConfigError: `config.session` is not the next one.
        DataError: the prices do not reach the last closed session, or are not of the champion's kind.
        PricesUnavailable: Yahoo does not give them.
    """
    champion = registry.champion(ticker)
    if champion is None:
        raise registry.without_champion(ticker, ledger.champions(ticker))
    trained = registry.configuration(ticker, champion.run_id)
    source = config.source or trained.source
    exchange = exchange_for(source, ticker)
    session, opens_at = next_session(exchange, config.time)
    if config.session not in (None, session.date()):
        raise ConfigError(
            f"session {config.session} is not the next one of {exchange} at {config.time}: that is {session:%Y-%m-%d}"
        )
    earlier = ledger.said(ticker, session.date(), champion.version)
    if earlier is not None:
        return earlier
    if isinstance(source, Yahoo):
        source = source.model_copy(
            update={"fallback": "none"}
        )  # an outage is no reason to invent a forecast
    prices = prices_or_fallback(source, ticker, config.time)
    last, closed = prices.frame.index[-1], last_closed_session(exchange, config.time)
    if last < closed:
        raise DataError(
            f"prices of {ticker} end on {last:%Y-%m-%d} and {closed:%Y-%m-%d} has closed since: "
            f"nothing can be said of {session:%Y-%m-%d}; wait for them, or see whether it is still traded"
        )
    if is_synthetic(prices.source) != is_synthetic(champion.data_source):
        raise DataError(
            f"prices are {prices.source}; the champion of {ticker} has learned from {champion.data_source}"
        )
    frame = prices.frame.tail(prices_needed(trained.problem))
    probability, spread = registry.call(ticker, champion.version, frame)
    return ledger.record(
        Forecast(
            ticker=ticker,
            exchange=exchange,
            session=session.date(),
            last_session=last.date(),
            opens_at=opens_at,
            model_version=champion.version,
            run_id=champion.run_id,
            probability=probability,
            spread=spread,
            verdict=champion.verdict,
            data_source=prices.source,
            data_sha256=prices.sha256,
            promised_accuracy=champion.scores.get(names.ACCURACY),
            promised_low=champion.scores.get(names.ACCURACY_LOW),
            promised_high=champion.scores.get(names.ACCURACY_HIGH),
            promised_log_loss=champion.scores.get(names.LOG_LOSS),
            made_at=config.time,
        )
    )


def _exchanges(tickers: Iterable[str]) -> Iterator[str]:
    """The exchange of each champion that there is."""
    for ticker in tickers:
        with suppress(ChampionMissing):
            if champion := registry.champion(ticker):
                yield champion.exchange


def _table(said: Outcomes[Row[Any]]) -> Table:
    table = Table("ticker", *HEAD)
    for ticker, row in said.items():
        table.add_row(ticker, *_cells(row))
    for ticker, reason in said.failed.items():
        table.add_row(ticker, f"failed: {reason}")
    return table


def _markdown(said: Outcomes[Row[Any]]) -> str:
    head = ["ticker", *HEAD]
    lines = [f"| {' | '.join([ticker, *_cells(row)])} |" for ticker, row in said.items()]
    failed = [f"- {ticker} failed: {reason}" for ticker, reason in said.failed.items()]
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines, "", *failed])


def _cells(row: Row[Any]) -> list[str]:
    counted = "yes" if row.counted else "no: late" if row.late else "no: another model spoke first"
    spread = "" if row.spread is None else f"{row.spread:.1%}"
    return [
        str(row.session),
        f"{row.probability:.1%}",
        spread,
        row.verdict,
        str(row.model_version),
        counted,
    ]


def main(config: Config) -> None:
    """Run the flow in this process and print what was said."""
    said = forecast(**{name: getattr(config, name) for name in Config.model_fields})
    if isinstance(said, Outcomes):
        command_line.show(_table(said))


if __name__ == "__main__":
    command_line.run(Config, main)
