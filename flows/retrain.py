"""Flow `retrain`: one ticker, every day. Run it with `python -m flows.retrain --ticker MSFT`."""

from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run as this_run

from flows import STARTED, command_line
from flows.steps.command_flow import command_flow
from flows.steps.learning import learn, tags
from flows.steps.once import asked_at, once_for_a_session, once_for_a_wish, was_done
from flows.steps.prefect_runs import artifact_key, log_decision, nothing_to_do, publish
from flows.steps.prices import prices_to_train_on, yahoo_slot
from flows.steps.summary import Laps, Summary, time_table
from flows.steps.tasks import build_windows, evaluate_and_plot, train
from flows.tracking import records, runs, unfinished
from rnn_core.commands import Retrain
from rnn_core.data.exchanges import closed_for_the_day
from rnn_core.data.loading import exchange_for


@command_flow(Retrain, first=["ticker"], flow_run_name="retrain-{ticker}")
def retrain(config: Retrain) -> Summary | State[Any]:
    """Return what the retrain found, or a state that says why there was nothing to do."""
    exchange = exchange_for(config.source, config.ticker)
    if config.scheduled and (closed := closed_for_the_day([exchange], config.time)):
        return nothing_to_do(closed)
    unfinished.close_lost(config.ticker)  # before this start counts: what they did may be too old
    once = (
        once_for_a_session(config)
        if config.scheduled
        else once_for_a_wish(config, this_run.scheduled_start_time)
    )
    with once as earlier_run:
        if earlier_run is None:
            return _retrain(config)
        return nothing_to_do(was_done(config, earlier_run))


def _retrain(config: Retrain) -> Summary:
    laps = Laps()
    with runs.start("retrain", config.ticker, config, tags(config), str(this_run.id)) as run_id:
        laps.end("start")
        with yahoo_slot(config.source):
            prices = prices_to_train_on(config.source, config.ticker, config.time)
        records.log_prices(run_id, prices)
        laps.end("fetch")
        summary = learn(config, prices, run_id, laps, (build_windows, train, evaluate_and_plot))
    log_decision(config.ticker, summary)
    publish(summary.markdown(), key=artifact_key(f"retrain-{config.ticker}"))
    return summary


def main(config: Retrain) -> None:
    """Run the flow in this process and print its summary and where the time went."""
    imported = perf_counter()
    with asked_at(datetime.now(UTC) - timedelta(seconds=imported - STARTED)):
        summary = retrain(**dict(config))
    if summary is None:
        return
    all_seconds = perf_counter() - imported
    seconds = {
        "import": imported - STARTED,
        "Prefect": all_seconds - sum(summary.seconds.values()),
        **summary.seconds,
    }
    command_line.show(summary.table())
    command_line.show(time_table(seconds))
    command_line.say(f"MLflow: {summary.how_to_open}")


if __name__ == "__main__":
    command_line.run(Retrain, main)
