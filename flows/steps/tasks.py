"""The four tasks of every flow, each a few calls into `rnn_core`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import numpy as np
from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.tasks import Task, exponential_backoff
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from flows.steps import learning
from rnn_core.commands import Study
from rnn_core.config import File, Model, Source, Synthetic, Training
from rnn_core.data import loading
from rnn_core.data.prices import Prices
from rnn_core.errors import PricesUnavailable
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.sequences import Folds, Sequences
from rnn_core.nn.training import Fit, fit
from rnn_core.reporting import figures
from rnn_core.studies import STUDIES
from rnn_core.studies.study import Finding, Trained, Variants

YAHOO, AT_ONCE = (
    "yahoo",
    2,
)  # a global concurrency limit, kept to where it is set: how many flows ask at once
IN_MEMORY: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
}  # Prefect would hash and pickle arrays


def _may_help_to_ask_again(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, PricesUnavailable) and error.transient


@task(
    name="fetch prices",
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    retry_condition_fn=_may_help_to_ask_again,
    **IN_MEMORY,
)
def fetch_prices(source: Source, ticker: str, now: datetime) -> Prices:
    """Prices of `ticker` as they were known at `now`; asked for again when the source is busy or failing."""
    return loading.load(source, ticker, now)


def polite(source: Source | None) -> AbstractContextManager[None]:
    """A place among the few flows that may ask Yahoo at the same time, held while one asks, request after request.

    A place for each request would cost it two seconds where the server keeps its state in SQLite: what a task asks
    of the server just after it has started is refused, and asked again then.
    """
    return nullcontext() if isinstance(source, File | Synthetic) else concurrency(YAHOO)


build_windows = task(name="build windows", **IN_MEMORY)(learning.build_windows)
evaluate_and_plot = task(name="evaluate and plot", **IN_MEMORY)(learning.evaluate_and_plot)


@task(name="train", **IN_MEMORY)
def train(
    model: Model,
    training: Training,
    sequences: Sequences,
    folds: Folds,
    params0: Params | None = None,
    order: Array | None = None,
) -> Fit:
    """Train every seed of every fold by backpropagation through time, and show how far it is."""
    with progress(training.epochs, "epochs, at most") as advance:
        return fit(
            model,
            training,
            sequences,
            folds,
            params0=params0,
            order=order,
            on_epoch=lambda epoch, _, loss: advance(
                epoch, f"{np.isfinite(loss).sum()} models learning"
            ),
        )


@task(name="make data", **IN_MEMORY)
def make_data(study: Study) -> Any:
    """What a study makes for itself to learn from."""
    return STUDIES[study.name].data(study)


@task(name="build sequences", **IN_MEMORY)
def build_sequences(study: Study, data: Any) -> Variants:
    """What a study trains: sequences with their targets, folds and networks."""
    return STUDIES[study.name].variants(study, data)


@task(name="evaluate and plot", **IN_MEMORY)
def find_and_plot(study: Study, data: Any, trained: dict[str, Trained]) -> Finding:
    """What a study found, in figures and sentences."""
    with figures.style():
        return STUDIES[study.name].finding(study, data, trained)


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int, str], None]]:
    """A progress bar in a terminal and a progress artifact in the UI, moved by the callback it yields.

    The callback is told how many of the `total` are done, and a note.
    """
    artifact = cast(UUID, create_progress_artifact(0.0, description=what))
    columns = (
        TextColumn(what),
        MofNCompleteColumn(),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        shown = bar.add_task("", total=total, note="")
        tenth = max(total // 10, 1)  # the artifact is an HTTP request an update

        def advance(done: int, note: str) -> None:
            bar.update(shown, completed=done, note=note)
            if done % tenth == 0:
                update_progress_artifact(artifact, 100.0 * done / total)

        yield advance
    update_progress_artifact(artifact, 100.0)
