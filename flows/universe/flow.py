"""Flow `retrain-universe`: many tickers, side by side.

Run it with `python -m flows.universe --tickers MSFT,AAPL`.
"""

import operator
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run as this_run
from prefect.task_runners import TaskRunner
from prefect.tasks import Task
from pydantic import ValidationError

from flows.steps.command_flow import command_flow, without_secrets
from flows.steps.folder import refuse_elsewhere
from flows.steps.learning import learn_one_of_many, session_of
from flows.steps.once import completed, once_for_a_session, was_done
from flows.steps.prefect_runs import IN_MEMORY, log_decision, nothing_to_do, progress, publish
from flows.steps.prices import fetch_prices, prices_to_train_on, yahoo_slot
from flows.steps.standing import standing_of
from flows.steps.summary import Summary
from flows.steps.tickers import Outcomes
from flows.tracking import queries, records, runs, unfinished
from flows.universe.processes import Perform, performer, prepare
from flows.universe.runners import task_runner, while_workers_come
from rnn_core.commands import Retrain, RetrainUniverse, is_ticker
from rnn_core.config import Source
from rnn_core.data import loading
from rnn_core.data.exchanges import closed_for_the_day
from rnn_core.data.loading import exchange_for, refuse_one_file_for_several
from rnn_core.data.prices import Prices
from rnn_core.data.store import stored_tickers
from rnn_core.errors import ConfigError, ProcessLost
from rnn_core.operations.ledger import Ledger
from rnn_core.operations.standing import Standing
from rnn_core.reporting import pages


@command_flow(RetrainUniverse, first=["tickers", "file"], flow_run_name="retrain-universe")
def retrain_universe(config: RetrainUniverse) -> Outcomes[Standing] | State[Any]:
    """Return where each ticker stands, or a state that says why there was nothing to do."""
    named = config.tickers or config.file
    if config.scheduled and not named and not stored_tickers(loading.STORE):
        return nothing_to_do("no prices are stored yet")
    configs = _configs(config)
    if config.scheduled and (reason := _no_session(configs.values(), config.time)):
        return nothing_to_do(reason)
    prepare(config.runner)
    todo = list(configs.values()) if config.again else _without_done(configs.values())
    if not todo and not configs.failed:
        return nothing_to_do(
            f"all {len(configs)} tickers were retrained for their last session; "
            "--again retrains them"
        )
    workers = task_runner(config.runner)
    subject = f"{len(todo)} tickers"
    counted = {"tickers": str(len(todo))}
    with runs.start("retrain-universe", subject, config, counted, str(this_run.id)) as run_id:
        standings = _retrain_all(config, todo, configs.failed, workers, run_id)
        unfinished.close_children(run_id, "FAILED", "its process or worker was lost")
        title = f"{subject}, {config.time:%Y-%m-%d}"
        records.log_standings(run_id, standings, standings.failed, title, ticker_pages=False)
        page = pages.universe_markdown(list(standings.values()), standings.failed)
        publish(page, key="universe")
        standings.announce_failures()
        if len(todo) == len(configs):  # otherwise some were done before
            standings.refuse_if_all_failed()
    return standings


def listed(config: RetrainUniverse) -> list[str]:
    """Return the tickers to retrain, in order.

    Raises:
        ConfigError: there are none, the file cannot be read, is no list of tickers or names one
            twice, or all of several would be given the prices of one.
    """
    tickers = _tickers_to_retrain(config)
    refuse_one_file_for_several(config.source, tickers)
    return tickers


def _tickers_to_retrain(config: RetrainUniverse) -> list[str]:
    if config.tickers:
        return list(config.tickers)
    if config.file is not None:
        return _tickers_of(config.file)
    stored = stored_tickers(loading.STORE)
    if not stored:
        raise ConfigError(
            f"no prices are stored in {loading.STORE}; name tickers, or a file of them"
        )
    return stored


def _tickers_of(file: Path) -> list[str]:
    refuse_elsewhere("file", file)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ConfigError(f"file {file} cannot be read: it is no text in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"file {file} cannot be read: {error}") from error
    without_comments = [line.partition("#")[0].strip() for line in lines]
    tickers = [ticker for ticker in without_comments if ticker]
    if not tickers:
        raise ConfigError(f"file {file} names no ticker; write one a line")
    for number, line in enumerate(without_comments, start=1):
        if line and not is_ticker(line):
            # The line is not shown: it may be any file's
            raise ConfigError(
                f"file {file} has no ticker in line {number}; write one a line, in letters, digits "
                "and . - ^ ="
            )
    repeated = [ticker for ticker, times in Counter(tickers).items() if times > 1]
    if repeated:
        raise ConfigError(f"file {file} names {', '.join(repeated)} more than once")
    return tickers


def _configs(config: RetrainUniverse) -> Outcomes[Retrain]:
    configs = Outcomes[Retrain]()
    for ticker in listed(config):
        configs.attempt(ticker, partial(_config_of, config, ticker))
    return configs


def _config_of(config: RetrainUniverse, ticker: str) -> Retrain:
    """Return the configuration of one ticker.

    Raises:
        ConfigError: the ticker is not valid, or its exchange is not known.
    """
    shared = RetrainUniverse.model_fields.keys() & Retrain.model_fields.keys()
    try:
        retrain = Retrain(ticker=ticker, **{name: getattr(config, name) for name in shared})
    except ValidationError as error:
        raise ConfigError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
    exchange_for(retrain.source, retrain.ticker)
    return retrain


def _no_session(configs: Collection[Retrain], now: datetime) -> str | None:
    """Return the reason if no exchange of the tickers has a session today."""
    exchanges = (exchange_for(config.source, config.ticker) for config in configs)
    return closed_for_the_day(exchanges, now)


def _without_done(configs: Collection[Retrain]) -> list[Retrain]:
    """Return those that were not retrained yet for their last closed session."""
    interrupted = unfinished.close_lost()
    done: dict[str, dict[str, str]] = {}  # runs by session and ticker
    todo = []
    with Ledger.open() as ledger:
        for config in configs:
            session = session_of(config)
            if session not in done:
                done[session] = queries.retrained(config, session)
            run_id = done[session].get(config.ticker)
            if run_id is None:
                todo.append(config)
            elif config.ticker in interrupted:
                completed(config, ledger, run_id)
    get_run_logger().info("%d of %d tickers are to be retrained", len(todo), len(configs))
    return todo


def _retrain_all(
    config: RetrainUniverse,
    todo: Sequence[Retrain],
    refused: dict[str, str],
    workers: TaskRunner[Any],
    run_id: str,
) -> Outcomes[Standing]:
    """Retrain the tickers, one chunk after the other; those `refused` before have failed too."""
    standings = Outcomes[Standing]()
    standings.failed |= refused
    with (
        workers,
        performer(config.runner, len(todo)) as perform,
        progress(len(todo) + len(refused), "tickers") as advance,
        Ledger.open() as ledger,
    ):
        shared = {"parent": run_id, "flow_run_id": str(this_run.id), "perform": perform}
        for start in range(0, len(todo), config.chunk):
            chunk = todo[start : start + config.chunk]
            for prices, future in _retraining(chunk, workers, shared, standings.failed):
                outcome = partial(_standing, future, run_id, prices, config.time, ledger)
                standings.attempt(prices.ticker, outcome)
                advance(len(standings) + len(standings.failed), "")
    return standings


def _retraining(
    chunk: Sequence[Retrain],
    workers: TaskRunner[Any],
    shared: dict[str, Any],
    failed: dict[str, str],
) -> Iterator[tuple[Prices, PrefectFuture[str]]]:
    """Yield the retrainings of a chunk as they end, each with its prices.

    Prices are fetched for one ticker after the other, while the tickers before are retrained. A
    ticker whose prices are unavailable is added to `failed`. `shared` are parameters of all tasks.
    """
    prices = Outcomes[Prices]()
    futures: dict[PrefectFuture[str], Prices] = {}
    with yahoo_slot(chunk[0].source):
        for config in chunk:
            ticker = config.ticker
            fetch = partial(prices_to_train_on, config.source, ticker, config.time, _fetched)
            prices.attempt(ticker, fetch)
            if ticker in prices:
                parameters = {"config": config, "prices": prices[ticker], **shared}
                futures[workers.submit(retrain_one, parameters)] = prices[ticker]
    failed |= prices.failed
    with while_workers_come(workers, futures):
        for future in as_completed(list(futures)):
            yield futures[future], future


def _fetched(source: Source, ticker: str, now: datetime) -> Prices:
    """Return the prices of one ticker.

    Only asking Yahoo is a task, which is tried again if it fails: other prices need no request to
    Prefect's server.
    """
    return loading.load_without_asking(source, ticker, now) or fetch_prices(source, ticker, now)


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
    """Retrain one ticker as a child of the run `parent`, and return the id of its run.

    `perform` does the work. If a process or a worker is lost, another one is asked to do its work
    again; a ticker that was finished before that is not retrained twice, nor is one that another
    universe or a scheduled retrain is at work on.

    Raises:
        TrackingError: this worker's MLflow is not that of the flow.
        LedgerError: another flow has been retraining the ticker for half an hour.
        ProcessLost: the process at work died, a second time.
    """
    with without_secrets():  # as a decorator it could not be sent to a Dask worker
        unfinished.close_lost(config.ticker)  # a process that died may have done the work
        finished = queries.finished_child(parent, config.ticker)
        if finished is not None:
            return finished
        with once_for_a_session(config) as earlier_run:
            if earlier_run is not None:
                get_run_logger().info(was_done(config, earlier_run))
                return earlier_run
            summary = perform(partial(learn_one_of_many, config, prices, parent, flow_run_id))
        log_decision(config.ticker, summary)
        return summary.run_id


def _standing(
    future: PrefectFuture[str], parent: str, prices: Prices, now: datetime, ledger: Ledger
) -> Standing:
    """Return where a ticker stands after its retraining; raise what the retraining raised.

    It may have finished although its result was lost, with the scheduler of a Dask cluster.
    """
    try:
        future.result()
    except Exception:
        unfinished.close_lost(prices.ticker)
        if queries.finished_child(parent, prices.ticker) is None:
            raise
    return standing_of(
        ledger,
        prices.ticker,
        now,
        exchange=prices.exchange,
        last_price=prices.frame.index[-1].date(),
        data_source=prices.source,
    )
