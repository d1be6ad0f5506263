"""Prices of a ticker from their source, or from what stands in for Yahoo if it is unavailable."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

from prefect import get_run_logger, task
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.tasks import Task, exponential_backoff

from flows.steps.prefect_runs import IN_MEMORY
from rnn_core.config import File, Source, Synthetic, Yahoo
from rnn_core.data import loading, vintages
from rnn_core.data.prices import Prices
from rnn_core.errors import PricesUnavailable
from rnn_core.operations import clock

YAHOO = "yahoo"  # a global concurrency limit of Prefect's server; without it, flows do not wait
YAHOO_SLOTS = 2  # flows that may ask Yahoo at the same time, as `make up` sets the limit
LONGEST_WAIT = 1800.0  # seconds for a slot
LEASE = 120.0  # seconds after which the slot of a killed flow is free again


def _asking_again_may_help(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, PricesUnavailable) and error.transient


@task(
    name="fetch prices",
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    retry_condition_fn=_asking_again_may_help,
    **IN_MEMORY,
)
def fetch_prices(source: Source, ticker: str, now: datetime) -> Prices:
    """Return the prices of `ticker` known at `now`; try again if the source is busy or failing.

    Yahoo is asked as of the machine's clock at the latest: a later `now` closes no session of a
    real market, and its time is not stored.
    """
    known_by = min(now, clock.machine_time()) if isinstance(source, Yahoo) else now
    return loading.load(source, ticker, known_by)


@contextmanager
def yahoo_slot(source: Source | None) -> Iterator[None]:
    """Hold one of the few slots for asking Yahoo; return at once if `source` is not Yahoo.

    A flow holds its slot for all its requests. A slot for each request would cost two seconds where
    the server keeps its state in SQLite: it refuses what a task asks just after the task started,
    and the task asks again later.

    Raises:
        PricesUnavailable: no slot was free for half an hour.
    """
    if isinstance(source, File | Synthetic):
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(
                concurrency(YAHOO, timeout_seconds=LONGEST_WAIT, lease_duration=LEASE)
            )
        except TimeoutError as error:
            raise PricesUnavailable(
                f"all slots for asking Yahoo were taken for {LONGEST_WAIT:.0f} s; see who holds "
                f"them: prefect gcl inspect {YAHOO}"
            ) from error
        yield


def prices_to_train_on(
    source: Source, ticker: str, now: datetime, fetch: Callable[..., Prices] = fetch_prices
) -> Prices:
    """Return what `prices_or_fallback` does, after keeping it, so that the run can be repeated.

    Raises:
        PricesUnavailable: Yahoo is unavailable and `source.fallback` is `none`.
        DataError: the prices are unfit to train on, or cannot be kept.
    """
    prices = prices_or_fallback(source, ticker, now, fetch)
    vintages.keep(prices)
    return prices


def prices_or_fallback(
    source: Source, ticker: str, now: datetime, fetch: Callable[..., Prices] = fetch_prices
) -> Prices:
    """Return prices from the source, or from what `source.fallback` allows, and log the warnings.

    Raises:
        PricesUnavailable: Yahoo is unavailable and `source.fallback` is `none`.
    """
    try:
        prices = fetch(source, ticker, now)
    except PricesUnavailable as reason:
        if not isinstance(source, Yahoo):
            raise
        prices = loading.fall_back(source, ticker, now, reason)
    for warning in prices.warnings:
        get_run_logger().warning(warning)
    return prices
