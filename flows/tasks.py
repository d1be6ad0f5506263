"""The four tasks of every flow, each a few calls into `rnn_core`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from functools import partial
from threading import Lock
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

from flows.summary import Laps
from rnn_core import plots, sources
from rnn_core.arrays import Array, Params
from rnn_core.config import Evaluation as EvaluationConfig
from rnn_core.config import File, Model, Problem, Study, Synthetic, Training, Yahoo
from rnn_core.errors import PricesUnavailable
from rnn_core.evaluation import Evaluation, evaluate
from rnn_core.explain import explain
from rnn_core.folds import Folds, folds
from rnn_core.problems import Sequences, Windows, windows
from rnn_core.sources import Prices
from rnn_core.studies import LESSONS
from rnn_core.studies.lesson import Finding, Trained, Variants
from rnn_core.training import Fit, fit, out_of_sample

YAHOO, AT_ONCE = "yahoo", 2  # a global concurrency limit, kept to where it is set: how many flows ask at once
DRAWING = Lock()  # Matplotlib has one set of settings for all threads
IN_MEMORY: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}  # Prefect would hash and pickle arrays


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
def fetch_prices(source: Yahoo | File | Synthetic, ticker: str, now: datetime) -> Prices:
    """Prices of `ticker` as they were known at `now`; asked for again when the source is busy or failing."""
    return sources.load(source, ticker, now)


def polite(source: Yahoo | File | Synthetic | None) -> AbstractContextManager[None]:
    """A place among the few flows that may ask Yahoo at the same time, held while one asks, request after request.

    A place for each request would cost it two seconds where the server keeps its state in SQLite: what a task asks
    of the server just after it has started is refused, and asked again then.
    """
    return nullcontext() if isinstance(source, File | Synthetic) else concurrency(YAHOO)


@task(name="build windows", **IN_MEMORY)
def build_windows(problem: Problem, evaluation: EvaluationConfig, prices: Prices) -> tuple[Windows, Folds]:
    """Return windows with direction labels, and the walk-forward folds over them."""
    built = windows(problem, prices)
    return built, folds(evaluation, built)


@task(name="train", **IN_MEMORY)
def train(
    model: Model,
    training: Training,
    sequences: Sequences,
    folds: Folds,
    params0: Params | None = None,
    order: Array | None = None,
    watched: bool = True,
) -> Fit:
    """Train every seed of every fold by backpropagation through time; its progress is shown if it is `watched`."""
    with progress(training.epochs, "epochs, at most") if watched else nullcontext() as advance:
        return fit(
            model,
            training,
            sequences,
            folds,
            params0=params0,
            order=order,
            on_epoch=None
            if advance is None
            else lambda epoch, _, loss: advance(epoch, f"{np.isfinite(loss).sum()} models learning"),
        )


@task(name="evaluate and plot", **IN_MEMORY)
def evaluate_and_plot(
    fit: Fit,
    windows: Windows,
    folds: Folds,
    settings: EvaluationConfig,
    trials: int,
    title: str,
    laps: Laps,
    only: Sequence[str] | None = None,
) -> tuple[Evaluation, dict[str, bytes]]:
    """Score and judge the out-of-sample calls of every fold, and draw the figures, or `only` those named, as PNG.

    A lap of `laps` ends in between.
    """
    logits = out_of_sample(fit, windows, folds)
    evaluation = evaluate(windows, folds, logits, settings, shrinkage=fit.training.shrinkage, trials=trials)
    laps.end("evaluate")
    explained = partial(explain, fit, windows, folds.test.repeat(fit.training.seeds, axis=0))
    with DRAWING:
        figures = plots.figures(fit, evaluation, explained, windows.features, title, only)
        return evaluation, plots.rendered(figures)


@task(name="make data", **IN_MEMORY)
def make_data(study: Study) -> Any:
    """What a lesson makes for itself to learn from."""
    return LESSONS[study.name].data(study)


@task(name="build sequences", **IN_MEMORY)
def build_sequences(study: Study, data: Any) -> Variants:
    """What a lesson trains: sequences with their targets, folds and networks."""
    return LESSONS[study.name].variants(study, data)


@task(name="evaluate and plot", **IN_MEMORY)
def find_and_plot(study: Study, data: Any, trained: dict[str, Trained]) -> Finding:
    """What a lesson found, in figures and sentences."""
    with plots.style():
        return LESSONS[study.name].finding(study, data, trained)


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
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        shown = bar.add_task("", total=total, note="")
        tenth = max(total // 10, 1)  # the artifact is an HTTP request an update

        def advance(done: int, note: str) -> None:
            bar.update(shown, completed=done, note=note)
            if done % tenth == 0:
                update_progress_artifact(artifact, 100.0 * done / total)

        yield advance
    update_progress_artifact(artifact, 100.0)
