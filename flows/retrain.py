"""Flow `retrain`: one ticker, every day. Run it with `python -m flows.retrain --ticker MSFT`."""

import re
from datetime import UTC, datetime
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.runtime import flow_run as this_run

from flows import command_line, tracking
from flows.summary import Laps, Summary, summarise
from flows.tasks import build_windows, evaluate_and_plot, fetch_prices, train
from rnn_core import sources
from rnn_core.config import (
    DEFAULT_TICKER,
    Evaluation,
    File,
    Model,
    Problem,
    Retrain,
    Synthetic,
    Training,
    Yahoo,
    config_hash,
)
from rnn_core.errors import PricesUnavailable
from rnn_core.folds import test_period
from rnn_core.report import report
from rnn_core.sources import Prices
from rnn_core.training import call


def close_tracked_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A flow run that was cancelled or has crashed leaves no MLflow run behind it RUNNING."""
    tracking.close_runs_of(str(flow_run.id), "KILLED" if state.is_cancelled() or state.is_cancelling() else "FAILED")


@flow(
    flow_run_name="retrain-{ticker}",
    on_cancellation=[close_tracked_run],
    on_crashed=[close_tracked_run],
    persist_result=False,
)
def retrain(
    ticker: str = DEFAULT_TICKER,
    source: Yahoo | File | Synthetic = Yahoo(),
    problem: Problem = Problem(),
    model: Model = Model(),
    training: Training = Training(),
    evaluation: Evaluation = Evaluation(),
    now: datetime | None = None,
) -> Summary:
    """Retrain the network of one ticker and evaluate it walk-forward.

    Args:
        ticker: Ticker as Yahoo spells it
        source: Where prices come from
        problem: Inputs and label
        model: Network
        training: How the network is fitted
        evaluation: Walk-forward folds and the backtest
        now: Time to run as of, such as 2013-02-28T22:00:00Z; empty: the clock
    """
    config = Retrain(
        ticker=ticker, source=source, problem=problem, model=model, training=training, evaluation=evaluation, now=now
    )
    laps = Laps()
    tags = {"ticker": config.ticker, "engine": config.training.engine, "config_hash": config_hash(config)}
    with tracking.run("retrain", config.ticker, config, tags, str(this_run.id)) as run_id:
        laps.end("start")
        prices = prices_or_fallback(config.source, config.ticker, config.now or datetime.now(UTC))
        tracking.log_prices(run_id, prices)
        laps.end("fetch")
        windows, folds = build_windows(config.problem, config.evaluation, prices)
        laps.end("windows")
        fit = train(config.model, config.training, windows, folds)
        laps.end("train")
        trials = tracking.trials(config, prices.source, *test_period(windows, folds))
        result, figures = evaluate_and_plot(fit, windows, folds, config.evaluation, trials, config.ticker)
        laps.end("evaluate and plot")
        tracking.log_fit(run_id, fit)
        tracking.log_evaluation(run_id, result, figures, report(config, prices, result, figures))
        version = tracking.log_model(run_id, config, prices, fit)
        laps.end("record")
    forecast = call(fit.live, windows.x[[windows.live]])
    links = tracking.page(run_id), tracking.address(run_id)
    summary = summarise(prices, fit, result, forecast, laps.seconds, version, run_id, *links)
    tracking.describe(run_id, summary.markdown())
    create_markdown_artifact(summary.markdown(), key=artifact_key(f"retrain-{config.ticker}"))
    return summary


def prices_or_fallback(source: Yahoo | File | Synthetic, ticker: str, now: datetime) -> Prices:
    """Prices from the source, or what `source.fallback` allows in their place; each warning goes to the log.

    Raises:
        PricesUnavailable: Yahoo cannot be had and `source.fallback` is `none`.
    """
    try:
        prices = fetch_prices(source, ticker, now)
    except PricesUnavailable as reason:
        if not isinstance(source, Yahoo):
            raise
        prices = sources.fall_back(source, ticker, now, reason)
    for warning in prices.warnings:
        get_run_logger().warning(warning)
    return prices


def artifact_key(name: str) -> str:
    """The name as Prefect takes it: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def main(config: Retrain) -> None:
    """Run the flow in this process and print what it found."""
    summary = retrain(**{name: getattr(config, name) for name in Retrain.model_fields})
    command_line.show(summary.table(), f"MLflow: {summary.address}")


if __name__ == "__main__":
    command_line.run(Retrain, main)
