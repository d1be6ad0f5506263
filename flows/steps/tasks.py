"""The four tasks of every flow, each a few calls into `rnn_core`."""

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
from rnn_core.studies import LESSONS
from rnn_core.studies.lesson import Finding, Trained, Variants

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
    """What a lesson makes for itself to learn from."""
    return LESSONS[study.name].data(study)


@task(name="build sequences", **IN_MEMORY)
def build_sequences(study: Study, data: Any) -> Variants:
    """What a lesson trains: sequences with their targets, folds and networks."""
    return LESSONS[study.name].variants(study, data)


@task(name="evaluate and plot", **IN_MEMORY)
def find_and_plot(study: Study, data: Any, trained: dict[str, Trained]) -> Finding:
    """What a lesson found, in figures and sentences."""
    with figures.style():
        return LESSONS[study.name].finding(study, data, trained)
