"""Flow `forecast`: what the champion expects next. Run it with `python -m flows.forecast`."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pandas as pd
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as this_run
from rich.table import Table
from sqlalchemy import Row

from flows import command_line
from flows.steps import champions
from flows.steps.closures import announce_closures, closures_before
from flows.steps.command_flow import command_flow
from flows.steps.prefect_runs import artifact_key, nothing_to_do, publish, run_name
from flows.steps.prices import prices_or_fallback, yahoo_slot
from flows.steps.tickers import Outcomes, for_each
from flows.tracking import records, registry, runs, serving, store
from rnn_core import commands
from rnn_core.config import Source, Yahoo
from rnn_core.data.exchanges import closed_for_the_day, next_session
from rnn_core.data.loading import (
    exchange_for,
    has_own_sessions,
    refuse_one_file_for_several,
)
from rnn_core.data.prices import Prices, is_synthetic
from rnn_core.data.windows import prices_needed, refuse_torn_window
from rnn_core.errors import ChampionMissing, ConfigError, DataError
from rnn_core.evaluation import names
from rnn_core.operations.ledger import Forecast, Ledger
from rnn_core.operations.promotion import Candidate
from rnn_core.safe_text import in_markdown

COLUMNS = (
    "ticker",
    "session",
    "closes up",
    "spread",
    "verdict of the model",
    "version",
    "counted",
)


@command_flow(commands.Forecast, flow_run_name=run_name)
def forecast(config: commands.Forecast) -> Outcomes[Row[Any]] | State[Any]:
    """Return a row of the ledger for each ticker, or a state that says why there was no work."""
    store.experiment_id("forecast")  # fails in one line if MLflow cannot be used
    with Ledger.open() as ledger:
        return _forecast_all(config, ledger)


def _forecast_all(config: commands.Forecast, ledger: Ledger) -> Outcomes[Row[Any]] | State[Any]:
    """Forecast with the champions in force in `ledger`, and return what `forecast` does."""
    tickers = [config.ticker] if config.ticker else champions.tickers_with_champion(ledger)
    if not tickers and config.scheduled:
        return nothing_to_do("no ticker has a champion yet")
    if not tickers:
        raise ChampionMissing(
            "no ticker has a champion; retrain one: python -m flows.retrain --ticker MSFT"
        )
    refuse_one_file_for_several(config.source, tickers)
    if config.scheduled and (reason := closed_for_the_day(_exchanges(tickers), config.time)):
        return nothing_to_do(reason)
    subject = config.ticker or f"{len(tickers)} tickers"
    tags = {"ticker": config.ticker or "all"}
    with runs.start("forecast", subject, config, tags, str(this_run.id)) as run_id:
        with yahoo_slot(config.source):
            forecasts = for_each(tickers, partial(forecast_ticker, config, ledger))
        records.log_forecasts(run_id, pd.DataFrame([row._mapping for row in forecasts.values()]))
    key = artifact_key(f"forecast-{config.ticker or 'all'}")
    publish(_markdown(forecasts), key=key)
    return forecasts


def forecast_ticker(config: commands.Forecast, ledger: Ledger, ticker: str) -> Row[Any]:
    """Return the forecast of a ticker's next session: its row in the ledger, old or new.

    Raises:
        ChampionMissing: the ticker has no champion, or its champion was deleted.
        ConfigError: `config.session` is not the next session.
        DataError: the prices do not reach the last closed session and its closure is not credible,
            or the champion has learned from prices of another kind, real or synthetic.
        PricesUnavailable: Yahoo is unavailable.
    """
    champion = champions.champion(ledger, ticker)
    if champion is None:
        raise registry.without_champion(ticker, ledger.champions(ticker))
    trained = serving.configuration(ticker, champion.run_id)
    source = config.source or trained.source
    exchange = exchange_for(source, ticker)
    session, opens_at = _next_session(config, exchange)
    earlier = ledger.live_forecast(ticker, session.date(), champion.version)
    if earlier is not None:
        return earlier
    prices = _prices_for(champion, source, ticker, config.time)
    closures = closures_before(session, prices, source, config.time)
    refuse_torn_window(trained.problem, prices)
    frame = prices.frame.tail(prices_needed(trained.problem))
    probability, spread = serving.call(ticker, champion.version, frame)
    row = ledger.record(
        Forecast(
            ticker=ticker,
            exchange=exchange,
            session=session.date(),
            last_session=prices.frame.index[-1].date(),
            opens_at=opens_at,
            probability=probability,
            spread=spread,
            data_source=prices.source,
            data_sha256=prices.sha256,
            as_of=config.time,
            closures=len(closures),
            **_known_of(champion),
        ),
        grace=timedelta(minutes=config.grace),
        own_sessions=prices.own_sessions or has_own_sessions(trained.source),
    )
    if len(closures):
        announce_closures(closures, prices)
    return row


def _next_session(config: commands.Forecast, exchange: str) -> tuple[pd.Timestamp, datetime]:
    """Return the next session and when it opens; refuse another one in the configuration."""
    session, opens_at = next_session(exchange, config.time)
    if config.session not in (None, session.date()):
        raise ConfigError(
            f"session {config.session} is not the next one of {exchange} at {config.time}: "
            f"that is {session:%Y-%m-%d}"
        )
    return session, opens_at


def _known_of(champion: Candidate) -> dict[str, Any]:
    """Return which model the champion is and what it promises, by column of the ledger."""
    return {
        "model_version": champion.version,
        "run_id": champion.run_id,
        "learned_to": champion.data_last,
        "verdict": champion.verdict,
        "promised_accuracy": champion.scores.get(names.ACCURACY),
        "promised_low": champion.scores.get(names.ACCURACY_LOW),
        "promised_high": champion.scores.get(names.ACCURACY_HIGH),
        "promised_log_loss": champion.scores.get(names.LOG_LOSS),
    }


def _prices_for(champion: Candidate, source: Source, ticker: str, now: datetime) -> Prices:
    """Return prices the champion can forecast from; never made up during an outage."""
    if isinstance(source, Yahoo):
        source = source.model_copy(update={"fallback": "none"})
    prices = prices_or_fallback(source, ticker, now)
    if is_synthetic(prices.source) != is_synthetic(champion.data_source):
        raise DataError(
            f"prices are {prices.source}; the champion of {ticker} has learned from "
            f"{champion.data_source}"
        )
    return prices


def _exchanges(tickers: Iterable[str]) -> Iterator[str]:
    """Yield the exchange of each ticker whose champion can be read."""
    for ticker in tickers:
        with suppress(ChampionMissing):
            if champion := registry.champion(ticker):
                yield champion.exchange


def _table(forecasts: Outcomes[Row[Any]]) -> Table:
    table = Table(*COLUMNS)
    for ticker, row in forecasts.items():
        table.add_row(ticker, *_cells(row))
    for ticker, reason in forecasts.failed.items():
        table.add_row(ticker, f"failed: {reason}")
    return table


def _markdown(forecasts: Outcomes[Row[Any]]) -> str:
    head = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    rows = [
        f"| {' | '.join(map(in_markdown, [ticker, *_cells(row)]))} |"
        for ticker, row in forecasts.items()
    ]
    failed = [
        f"- {in_markdown(ticker)} failed: {in_markdown(reason)}"
        for ticker, reason in forecasts.failed.items()
    ]
    return "\n".join([*head, *rows, "", *failed])


def _cells(row: Row[Any]) -> list[str]:
    return [
        str(row.session),
        f"{row.probability:.1%}",
        "" if row.spread is None else f"{row.spread:.1%}",
        row.verdict,
        str(row.model_version),
        _counted(row),
    ]


def _counted(row: Row[Any]) -> str:
    if row.replay:
        return f"no: a replay, {row.replay}"
    if not row.counted:
        return "no: another model spoke first"
    return f"yes, {row.delay:.0f} s after the open" if row.delay else "yes"


def main(config: commands.Forecast) -> None:
    """Run the flow in this process and print the forecasts."""
    forecasts = forecast(**dict(config))
    if isinstance(forecasts, Outcomes):
        command_line.show(_table(forecasts))


if __name__ == "__main__":
    command_line.run(commands.Forecast, main)
