"""Flow `retrain`: one ticker, every day. Run it with `python -m flows.retrain --ticker MSFT`."""

from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as this_run

from flows import STARTED, command_line
from flows.steps.learning import learn, tags
from flows.steps.prefect_runs import artifact_key, close_tracked_run, log_decision, nothing_to_do
from flows.steps.prices import prices_or_fallback, yahoo_slot
from flows.steps.summary import Laps, Summary, time_table
from flows.steps.tasks import build_windows, evaluate_and_plot, train
from flows.tracking import queries, records, runs
from rnn_core.commands import DEFAULT_TICKER, Retrain, config_hash
from rnn_core.config import Evaluation, Model, Problem, Promotion, Source, Training, Yahoo
from rnn_core.data.exchanges import closed_for_the_day, last_closed_session
from rnn_core.data.loading import exchange_for


@flow(
    flow_run_name="retrain-{ticker}",
    on_cancellation=[close_tracked_run],
    on_crashed=[close_tracked_run],
    persist_result=False,
)
def retrain(
    ticker: str = DEFAULT_TICKER,
    source: Source = Yahoo(),
    problem: Problem = Problem(),
    model: Model = Model(),
    training: Training = Training(),
    evaluation: Evaluation = Evaluation(),
    promotion: Promotion = Promotion(),
    scheduled: bool = False,
    now: datetime | None = None,
) -> Summary | State[Any]:
    """Retrain the network of one ticker, evaluate it walk-forward and decide whether it becomes champion.

    Args:
        ticker: Ticker as Yahoo spells it
        source: Where prices come from
        problem: Inputs and label
        model: Network
        training: How the network is fitted
        evaluation: Walk-forward folds and the backtest
        promotion: When it takes the champion's place
        scheduled: As the schedule runs it: no work on a day without a session, nor twice for one session
        now: Time to run as of, such as 2013-02-28T22:00:00Z; empty: the clock
    """
    config = Retrain(
        ticker=ticker,
        source=source,
        problem=problem,
        model=model,
        training=training,
        evaluation=evaluation,
        promotion=promotion,
        scheduled=scheduled,
        now=now or datetime.now(UTC),
    )
    if config.scheduled and (reason := no_work(config)):
        return nothing_to_do(reason)
    laps = Laps()
    with runs.run("retrain", config.ticker, config, tags(config), str(this_run.id)) as run_id:
        laps.end("start")
        with yahoo_slot(config.source):
            prices = prices_or_fallback(config.source, config.ticker, config.time)
        runs.log(run_id, tags=records.data_tags(prices))
        laps.end("fetch")
        summary = learn(config, prices, run_id, laps, (build_windows, train, evaluate_and_plot))
    log_decision(config.ticker, summary)
    create_markdown_artifact(summary.markdown(), key=artifact_key(f"retrain-{config.ticker}"))
    return summary


def no_work(config: Retrain) -> str | None:
    """Why a scheduled run has nothing to do: a day without a session, or done already; None if there is work."""
    exchange = exchange_for(config.source, config.ticker)
    if reason := closed_for_the_day([exchange], config.time):
        return reason
    session = last_closed_session(exchange, config.time)
    done = queries.trained(config_hash(config), f"{session:%Y-%m-%d}", config.ticker)
    return f"{config.ticker} was retrained for {session:%Y-%m-%d}" if done else None


def main(config: Retrain) -> None:
    """Run the flow in this process and print what it found."""
    imported = perf_counter()
    summary = retrain(**{name: getattr(config, name) for name in Retrain.model_fields})
    if summary is None:
        return
    inside = sum(summary.seconds.values())
    outside = {"import": imported - STARTED, "Prefect": perf_counter() - imported - inside}
    command_line.show(summary.table())
    command_line.show(time_table(outside | summary.seconds))
    command_line.say(f"MLflow: {summary.address}")


if __name__ == "__main__":
    command_line.run(Retrain, main)
