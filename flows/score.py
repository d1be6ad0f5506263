"""Flow `score`: settle forecasts, judge the live record. Run it with `python -m flows.score`."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as this_run
from rich.table import Table
from sqlalchemy import Row

from flows import command_line
from flows.steps.command_flow import command_flow
from flows.steps.prefect_runs import announce, artifact_key, nothing_to_do, publish, run_name
from flows.steps.prices import prices_or_fallback, yahoo_slot
from flows.steps.standing import standing_of
from flows.steps.tickers import Outcomes, for_each
from flows.tracking import queries, records, registry, runs, serving
from rnn_core import commands
from rnn_core.commands import Retrain
from rnn_core.config import Source, Yahoo
from rnn_core.data.exchanges import closed_for_the_day, last_closed_session
from rnn_core.data.features import FEATURES
from rnn_core.data.loading import refuse_one_file_for_several
from rnn_core.data.prices import SYNTHETIC_FALLBACK, Prices
from rnn_core.data.ticks import doubtful, wild_jumps
from rnn_core.data.windows import features
from rnn_core.errors import ChampionMissing, ConfigError, LedgerError, PricesUnavailable
from rnn_core.operations import clock, live
from rnn_core.operations.ledger import Ledger
from rnn_core.operations.live import Alarm, LiveRecord
from rnn_core.operations.promotion import Candidate
from rnn_core.operations.standing import Standing
from rnn_core.reporting import pages

VOID_AFTER = 5  # later sessions with a price, after which a missing or wild one is given up
COLUMNS = (
    "ticker",
    "settled",
    "right",
    "anytime-valid",
    "promised",
    "log loss",
    "promised",
    "alarms",
    "replays",
)


@command_flow(commands.Score, flow_run_name=run_name)
def score(config: commands.Score) -> Outcomes[Standing] | State[Any]:
    """Return where each ticker stands, or a state that says why there was nothing to do."""
    with Ledger.open() as ledger:
        exchanges = ledger.exchanges(config.ticker)
        if not exchanges and config.scheduled:
            return nothing_to_do("nothing was forecast yet")
        if not exchanges:
            missing = f"of {config.ticker}" if config.ticker else "yet"
            raise LedgerError(
                f"the ledger has no forecasts {missing}; make one: python -m flows.forecast"
            )
        refuse_one_file_for_several(config.source, exchanges)
        tags = {"ticker": config.ticker or "all", "sessions": _sessions(exchanges, config.time)}
        if config.scheduled and (reason := _why_no_work(exchanges, tags, config.time)):
            return nothing_to_do(reason)
        subject = config.ticker or f"{len(exchanges)} tickers"
        with runs.start("score", subject, config, tags, str(this_run.id)) as run_id:
            with yahoo_slot(config.source):
                standings = for_each(exchanges, partial(score_ticker, config, ledger))
            title = f"Live record, {config.time:%Y-%m-%d}"
            records.log_standings(run_id, standings, standings.failed, title)
            _announce_alarms(standings)
    universe = pages.universe_markdown(list(standings.values()), standings.failed)
    publish(universe, key="universe")
    for ticker, standing in standings.items():
        publish(pages.markdown(standing), key=artifact_key(f"ticker-{ticker}"))
    return standings


def score_ticker(config: commands.Score, ledger: Ledger, ticker: str) -> Standing:
    """Settle the forecasts of a ticker whose sessions have closed, and return where it stands.

    No price that is later than the machine's clock settles a forecast, whatever `config.now` says.

    Raises:
        PricesUnavailable: there are no prices, not even stored ones; the forecasts stay open.
        ConfigError: the runs that knew where prices come from were deleted.
    """
    last = ledger.last_forecast(ticker)
    trained = _latest_configuration(last)
    source = config.source or (trained.source if trained else _recorded_source(last))
    known_by = min(config.time, clock.machine_time())
    prices = _prices(source, ticker, known_by)
    open_rows = ledger.open_forecasts(ticker)
    waiting = [settle(ledger, prices, forecast, config.time) for forecast in open_rows]
    settled = standing_of(
        ledger,
        ticker,
        config.time,
        exchange=prices.exchange,
        last_price=prices.frame.index[-1].date(),
        data_source=prices.source,
    )
    drift = _drift(trained, prices, settled.champion, config.recent)
    alarms = live.alarms(
        settled.record,
        drift,
        settled.missing,
        level=config.drift_level,
        tolerated=config.tolerated,
    )
    implausible = list(dict.fromkeys(alarm for alarm in waiting if alarm))
    return replace(settled, alarms=(*settled.alarms, *alarms, *implausible))


def _latest_configuration(last: Row[Any]) -> Retrain | None:
    """Return the configuration of the last forecast's model, else of the champion, if known."""
    with suppress(ChampionMissing):
        return serving.configuration(last.ticker, last.run_id)
    with suppress(ChampionMissing):
        if champion := registry.champion(last.ticker):
            return serving.configuration(last.ticker, champion.run_id)
    return None


def _recorded_source(last: Row[Any]) -> Source:
    """Return where the prices of the last forecast came from, as the ledger knows it.

    Raises:
        ConfigError: the ledger does not know the file.
    """
    if last.data_source.startswith("yahoo"):
        return Yahoo(exchange=last.exchange)
    raise ConfigError(
        f"source must be named to settle the forecasts of {last.ticker}, whose prices were "
        f"{last.data_source}: run {last.run_id}, which knew more, was deleted"
    )


def _drift(
    trained: Retrain | None, prices: Prices, champion: Candidate | None, recent: int
) -> dict[str, float]:
    """Return the p-value of each input's drift; none if nobody knows which the inputs are."""
    if trained is None:
        return {}
    before, now = inputs(trained, prices, champion, recent)
    return live.drift(before.to_numpy(), now.to_numpy(), list(before.columns))


def settle(ledger: Ledger, prices: Prices, forecast: Any, at: datetime) -> Alarm | None:
    """Write the outcome of a row of the ledger, if the prices tell it and can be believed.

    The outcome is the log return since the close that the forecast was made at. It waits, with an
    alarm, while one of the two closes is implausible: until the next session confirms it, or until
    a bad tick is corrected. A jump that is undone the next day is taken for the market's own if the
    prices still have it when `VOID_AFTER` later sessions have a price, unless it is wild: to leave
    out real days of a crisis would flatter the live record. The row is void if there is a price
    between the two closes, as it then would be the move of more than one session, or if one of the
    two closes is still missing, or wild, after those sessions.
    """
    close = prices.frame["close"]
    session = pd.Timestamp(forecast.session)
    last_session = pd.Timestamp(forecast.last_session)
    closes = close.loc[last_session:session]
    is_one_move = list(closes.index) == [last_session, session]
    is_final = (close.index > session).sum() >= VOID_AFTER
    disbelieved = wild_jumps if is_final else doubtful
    doubted = closes[disbelieved(close.to_numpy())[close.index.isin(closes.index)]]
    if is_one_move and doubted.empty:
        ledger.settle(forecast.id, float(np.log(closes.iloc[1] / closes.iloc[0])), at)
        return None
    between = closes.index.difference([last_session, session])
    if len(between) or is_final:
        ledger.settle(forecast.id, None, at)
        return None
    return _waits(prices, session, doubted) if is_one_move else None


def _waits(prices: Prices, session: pd.Timestamp, doubted: "pd.Series[float]") -> Alarm:
    listed = ", ".join(f"{price:g} of {day:%Y-%m-%d}" for day, price in doubted.items())
    return Alarm(
        "settlement",
        f"the forecast of {prices.ticker} for {session:%Y-%m-%d} is not settled, because the close "
        f"is implausible: {listed}; it waits for the next session, or for a correction",
    )


def inputs(
    trained: Retrain, prices: Prices, champion: Candidate | None, recent: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the inputs (n, I) that the champion learned from and those (recent, I) seen last.

    Inputs that cluster in time are left out: any two periods differ in them, so a test of drift
    would say nothing.
    """
    known = features(trained.problem, prices.frame).dropna()
    known = known[[name for name in known.columns if not FEATURES[name].clusters]]
    before = known.iloc[:-recent]
    if champion is not None:
        before = before.loc[: pd.Timestamp(champion.data_last)]
    learned_from = trained.evaluation.train_days + trained.evaluation.valid_days
    return before.tail(learned_from), known.tail(recent)


def _prices(source: Source, ticker: str, now: datetime) -> Prices:
    if isinstance(source, Yahoo):  # stored prices settle forecasts even if they are old
        source = source.model_copy(update={"fallback": "synthetic"})
    prices = prices_or_fallback(source, ticker, now)
    if prices.source == SYNTHETIC_FALLBACK:
        raise PricesUnavailable(
            f"no prices of {ticker} are available to settle its forecasts with; they stay open"
        )
    return prices


def _sessions(exchanges: dict[str, str], now: datetime) -> str:
    """Return the last closed session of each exchange, as the run's tag says it."""
    sessions = [
        f"{exchange} {last_closed_session(exchange, now):%Y-%m-%d}"
        for exchange in sorted(set(exchanges.values()))
    ]
    return ", ".join(sessions)


def _why_no_work(exchanges: dict[str, str], tags: dict[str, str], now: datetime) -> str | None:
    """Return why a scheduled run has nothing to do, or None if there is work."""
    if reason := closed_for_the_day(exchanges.values(), now):
        return reason
    same_tags = " and ".join(f"tags.{name} = '{value}'" for name, value in tags.items())
    earlier = queries.first(f"{same_tags} and attributes.status = 'FINISHED'", ["score"])
    return earlier and f"{tags['sessions']} was scored by run {earlier}"


def _announce_alarms(standings: Outcomes[Standing]) -> None:
    for ticker, standing in standings.items():
        for alarm in standing.alarms:
            announce("alarm", ticker, f"{alarm.kind}: {alarm.text}")


def _table(standings: Outcomes[Standing]) -> Table:
    table = Table(*COLUMNS)
    for ticker, standing in standings.items():
        alarms = "; ".join(alarm.text for alarm in standing.alarms) or "none"
        replays = live.replays(standing.forecasts)
        table.add_row(ticker, *_cells(standing.record), alarms, str(replays))
    for ticker, reason in standings.failed.items():
        table.add_row(ticker, "failed", reason)
    return table


def _cells(record: LiveRecord | None) -> list[str]:
    if record is None:
        return ["0", "", "", "", "", ""]
    return [
        str(record.days),
        f"{record.accuracy:.1%}",
        f"{record.low:.1%} to {record.high:.1%}",
        f"{record.promised_low:.1%} to {record.promised_high:.1%}",
        f"{record.log_loss:.4f}",
        f"{record.promised_log_loss:.4f}",
    ]


def main(config: commands.Score) -> None:
    """Run the flow in this process and print where the tickers stand."""
    standings = score(**dict(config))
    if isinstance(standings, Outcomes):
        command_line.show(_table(standings))


if __name__ == "__main__":
    command_line.run(commands.Score, main)
