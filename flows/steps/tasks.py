"""The tasks of `retrain` and `study`, each a few calls into `rnn_core`."""

from typing import Any

import numpy as np
from prefect import task

from flows.steps import learning
from flows.steps.prefect_runs import IN_MEMORY, progress
from rnn_core.commands import Study
from rnn_core.config import Model, Training
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.sequences import Folds, Sequences
from rnn_core.nn.training import Fit, fit
from rnn_core.reporting import figures
from rnn_core.studies import STUDIES
from rnn_core.studies.study import Finding, Trained, Variants

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
    """Train every seed of every fold by backpropagation through time, and show the progress."""
    with progress(training.epochs, "epochs, at most") as advance:

        def on_epoch(epoch: int, _: Any, valid_loss: Array) -> None:
            advance(epoch, f"{np.isfinite(valid_loss).sum()} models learning")

        return fit(
            model, training, sequences, folds, params0=params0, order=order, on_epoch=on_epoch
        )


@task(name="make data", **IN_MEMORY)
def make_data(study: Study) -> Any:
    """Return what a study generates for itself to learn from."""
    return STUDIES[study.name].data(study)


@task(name="build sequences", **IN_MEMORY)
def build_sequences(study: Study, data: Any) -> Variants:
    """Return what a study trains: sequences with their targets, folds and networks."""
    return STUDIES[study.name].variants(study, data)


@task(name="evaluate and plot", **IN_MEMORY)
def find_and_plot(study: Study, data: Any, trained: dict[str, Trained]) -> Finding:
    """Return what a study found, in figures and sentences."""
    with figures.style():
        return STUDIES[study.name].finding(study, data, trained)
