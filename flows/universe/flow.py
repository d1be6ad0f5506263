"""Flow `retrain-universe`: many tickers, side by side. Run it with `python -m flows.universe --tickers MSFT,AAPL`."""

import operator
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run as this_run
from prefect.task_runners import TaskRunner
from prefect.tasks import Task
from pydantic import ValidationError

from flows.steps.learning import learn_one_of_many, tags
from flows.steps.prefect_runs import (
    IN_MEMORY,
    close_tracked_run,
    log_decision,
    nothing_to_do,
    progress,
)
from flows.steps.prices import fetch_prices, prices_or_fallback, yahoo_slot
from flows.steps.standing import standing
from flows.steps.summary import Summary
from flows.steps.tickers import Outcomes
from flows.tracking import queries, records, runs
from flows.universe.processes import Perform, performer, prepare
from flows.universe.runners import task_runner
from rnn_core.commands import Retrain, RetrainUniverse
from rnn_core.config import Evaluation, Model, Problem, Promotion, Runner, Source, Training, Yahoo
from rnn_core.data import loading
from rnn_core.data.exchanges import closed_for_the_day
from rnn_core.data.loading import exchange_for
from rnn_core.data.prices import Prices
from rnn_core.data.store import stored_tickers
from rnn_core.errors import ConfigError, ProcessLost
from rnn_core.operations.ledger import Ledger
from rnn_core.reporting import pages
from rnn_core.reporting.pages import Standing


@flow(
    name="retrain-universe",
    flow_run_name="retrain-universe",
    on_cancellation=[close_tracked_run],
    on_crashed=[close_tracked_run],
    persist_result=False,
)
def retrain_universe(
    tickers: tuple[str, ...] = (),
    file: Path | None = None,
    source: Source = Yahoo(),
    problem: Problem = Problem(),
    model: Model = Model(),
    training: Training = Training(),
    evaluation: Evaluation = Evaluation(),
    promotion: Promotion = Promotion(),
    runner: Runner = Runner(),
    chunk: int = 100,
    again: bool = False,
    scheduled: bool = False,
    now: datetime | None = None,
) -> Outcomes[Standing] | State[Any]:
    """Retrain the networks of many tickers: those that are named, those of a file, else every stored one.

    Args:
        tickers: Tickers; empty: those of the file
        file: Text file with a ticker a line; empty: every ticker with stored prices
        source: Where prices come from
        problem: Inputs and label
        model: Network
        training: How the network is fitted
        evaluation: Walk-forward folds and the backtest
        promotion: When it takes the champion's place
        runner: What works side by side
        chunk: Tickers whose prices are in memory at once
        again: Retrain also what was retrained on the last session already
        scheduled: As the schedule runs it: no work on a day without a session, nor twice for one session
        now: Time to run as of, such as 2013-02-28T22:00:00Z; empty: the clock
    """
    config = RetrainUniverse(
        tickers=tickers,
        file=file,
        source=source,
        problem=problem,
        model=model,
        training=training,
        evaluation=evaluation,
        promotion=promotion,
        runner=runner,
        chunk=chunk,
        again=again,
        scheduled=scheduled,
        now=now or datetime.now(UTC),
    )
    if config.scheduled and not (config.tickers or config.file or stored_tickers(loading.STORE)):
        return nothing_to_do("no prices are stored yet")
    known = Outcomes[Retrain]()
    for ticker in listed(config):
        known.attempt(ticker, partial(_of_one, config, ticker))
    exchanges = (exchange_for(one.source, one.ticker) for one in known.values())
    if config.scheduled and (reason := closed_for_the_day(exchanges, config.time)):
        return nothing_to_do(reason)
    prepare(config.runner)
    todo = list(known.values()) if config.again else _without_done(known.values())
    if not todo and not known.failed:
        return nothing_to_do(f"all {len(known)} tickers were retrained on their last session")
    outcomes = Outcomes[Standing]()
    outcomes.failed |= known.failed
    workers, subject = task_runner(config.runner), f"{len(todo)} tickers"
    with runs.run(
        "retrain-universe", subject, config, {"tickers": str(len(todo))}, str(this_run.id)
    ) as run_id:
        told = progress(len(todo) + len(known.failed), "tickers")
        with (
            workers,
            performer(config.runner, len(todo)) as perform,
            told as advance,
            Ledger.open() as ledger,
        ):
            for start in range(0, len(todo), config.chunk):
                some = todo[start : start + config.chunk]
                for own, future in _retraining(workers, perform, some, run_id, outcomes.failed):
                    outcomes.attempt(own.ticker, partial(_stands, future, own, config.time, ledger))
                    advance(len(outcomes) + len(outcomes.failed), "")
        runs.close_runs(f"tags.`mlflow.parentRunId` = '{run_id}'", "KILLED")  # of what was lost
        records.log_standings(
            run_id, outcomes, outcomes.failed, f"{subject}, {config.time:%Y-%m-%d}", each=False
        )
        create_markdown_artifact(
            pages.universe_markdown(list(outcomes.values()), outcomes.failed), key="universe"
        )
        outcomes.announce_failures()
        if len(todo) == len(known):  # else others were done before
            outcomes.refuse_if_all_failed()
    return outcomes


def listed(config: RetrainUniverse) -> list[str]:
    """The tickers that are meant, in order.

    Raises:
        ConfigError: there are none, the file cannot be read, or it names one twice.
    """
    if config.tickers:
        return list(config.tickers)
    if config.file is None:
        stored = stored_tickers(loading.STORE)
        if not stored:
            raise ConfigError(
                f"no prices are stored in {loading.STORE}; name tickers, or a file of them"
            )
        return stored
    try:
        lines = config.file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"file {config.file} cannot be read: {error}") from error
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if not names:
        raise ConfigError(f"file {config.file} names no ticker; write one a line")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ConfigError(f"file {config.file} names {', '.join(twice)} more than once")
    return names


def _process_was_lost(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), ProcessLost)


@task(
    name="retrain",
    task_run_name="retrain-{config.ticker}",
    retries=1,
    retry_condition_fn=_process_was_lost,
    **IN_MEMORY,
)
def retrain_one(
    config: Retrain,
    prices: Prices,
    parent: str,
    flow_run_id: str,
    perform: Perform[Summary] = operator.call,
) -> str:
    """Retrain one ticker as a child of the run `parent`; the id of its run. `perform` does the work.

    It may be asked twice, when a process or a worker was lost and another one does its work again: it is done once.

    Raises:
        TrackingError: this worker's MLflow is not that of the flow.
        ProcessLost: the process at work died, a second time.
    """
    finished = queries.finished_child(parent, config.ticker)
    if finished is not None:
        return finished
    summary = perform(partial(learn_one_of_many, config, prices, parent, flow_run_id))
    log_decision(config.ticker, summary)
    return summary.run_id


def _of_one(config: RetrainUniverse, ticker: str) -> Retrain:
    """The configuration of one ticker; raises ConfigError if it is none, or of no known exchange."""
    shared = {
        name: getattr(config, name)
        for name in RetrainUniverse.model_fields.keys() & Retrain.model_fields.keys()
    }
    try:
        one = Retrain(ticker=ticker, **shared)
    except ValidationError as error:
        raise ConfigError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
    exchange_for(one.source, one.ticker)
    return one


def _without_done(every: Collection[Retrain]) -> list[Retrain]:
    """Those that were not retrained on their last closed session yet."""
    own = [tags(one) for one in every]
    done = {
        session: queries.trained(own[0]["config_hash"], session)
        for session in {one["session"] for one in own}
    }
    todo = [
        one for one, its in zip(every, own, strict=True) if one.ticker not in done[its["session"]]
    ]
    get_run_logger().info("%d of %d tickers are to be retrained", len(todo), len(every))
    return todo


def _retraining(
    workers: TaskRunner[Any],
    perform: Perform[Any],
    some: Sequence[Retrain],
    run_id: str,
    failed: dict[str, str],
) -> Iterator[tuple[Prices, PrefectFuture[str]]]:
    """The retrainings of a chunk, each with its prices as soon as it has ended; whose prices cannot be had has failed.

    Prices are asked for one after the other, while those before are learned from.
    """
    shared = {"parent": run_id, "flow_run_id": str(this_run.id), "perform": perform}
    prices, futures = Outcomes[Prices](), {}
    with yahoo_slot(some[0].source):
        for one in some:
            prices.attempt(
                one.ticker, partial(prices_or_fallback, one.source, one.ticker, one.time, _fetched)
            )
            if own := prices.get(one.ticker):
                futures[workers.submit(retrain_one, {"config": one, "prices": own, **shared})] = own
    failed |= prices.failed
    for future in as_completed(list(futures)):
        yield futures[future], future


def _fetched(source: Source, ticker: str, now: datetime) -> Prices:
    """Prices of one ticker. To ask Yahoo is a task, which may be tried again; of others the server hears nothing."""
    return loading.load_without_asking(source, ticker, now) or fetch_prices(source, ticker, now)


def _stands(future: PrefectFuture[str], prices: Prices, now: datetime, ledger: Ledger) -> Standing:
    """Where a ticker stands after its retraining; raises what that raised."""
    future.result()
    return standing(
        ledger,
        prices.ticker,
        now,
        exchange=prices.exchange,
        last_price=prices.frame.index[-1].date(),
        data_source=prices.source,
    )
