"""Figures of the networks: losses by epoch, accuracy by seed, gradient reach, input sensitivity."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rnn_core.evaluation import names
from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.evaluation.explain import Explanation
from rnn_core.evaluation.metrics import COIN_TOSS
from rnn_core.nn.training import Fit
from rnn_core.reporting.figures.drawing import (
    BLUE,
    DARK_GREY,
    DASHED,
    ORANGE,
    Axes,
    Figure,
    canvas,
    label,
)

SMALLEST_SHOWN = 1e-6  # of the largest gradient


def loss_curves(fit: Fit, title: str) -> Figure:
    """Return the mean training and validation loss by epoch, with a coin toss's, ln 2."""
    figure, axes = canvas(f"{title}: loss by epoch, mean of {len(fit)} models", sides=(0.9, 0.1))
    train, valid = fit.losses
    epochs = np.arange(1, len(train) + 1)
    marker = "o" if len(epochs) < 3 else None
    for name, loss, colour in (("training", train, BLUE), ("validation", valid, ORANGE)):
        axes.plot(epochs, loss, color=colour, marker=marker)
        label(axes, name, epochs[-1], loss[-1], colour)
    axes.plot(epochs[[0, -1]], [COIN_TOSS, COIN_TOSS], **DASHED)
    label(axes, "ln 2", epochs[-1], COIN_TOSS, DARK_GREY)
    _whole_epochs(axes, len(epochs))
    axes.set(xlabel="epoch", ylabel="log loss (nats); ln 2 is a coin toss")
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.18 * len(epochs))
    return figure


def _whole_epochs(axes: Axes, epochs: int) -> None:
    ticks = MaxNLocator(integer=True).tick_values(1, epochs)
    axes.set_xticks([tick for tick in ticks if 1 <= tick <= epochs])


def accuracy_by_seed(evaluation: Evaluation, title: str) -> Figure:
    """Return the accuracy of each seed over all folds, the ensemble's and the baseline's."""
    seeds = evaluation.seeds
    subject = f"{title}: accuracy of each of {len(seeds)} seeds, and of the ensemble"
    figure, axes = canvas(subject, height=2.6, sides=(1.3, 0.3))
    scores = evaluation.scores
    mean = scores[names.ACCURACY]
    below = mean - scores[names.ACCURACY_LOW]
    above = scores[names.ACCURACY_HIGH] - mean
    majority = scores[names.baseline_accuracy("majority")]
    axes.scatter(seeds, np.full(len(seeds), 1.0), 40, ec=BLUE, fc="none", lw=1.2)
    axes.errorbar([mean], [0.0], xerr=[[below], [above]], color=BLUE, marker="o", capsize=3)
    axes.scatter([majority], [-1.0], 60, marker="|", color=ORANGE, linewidth=3)
    axes.axvline(0.5, **DASHED)
    axes.set_yticks([1, 0, -1], ["seeds", "ensemble", "majority class"])
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.set(xlabel="accuracy over all test days (95 % interval)", ylim=(-1.6, 1.6))
    return figure


def gradient_reach(explanation: Explanation, seeds: int, title: str) -> Figure:
    """Return a heat map of ‖∂L/∂h‖ by steps before the call and fold: how far back it reaches.

    The networks must read in one direction only; others have no reach.
    """
    reach: Any = explanation.reach
    by_seed = reach.reshape(-1, seeds, reach.shape[-1])  # (K, seeds, T)
    tested = np.isfinite(by_seed).any(axis=(1, 2))  # the live fold has no test rows
    by_fold = np.nanmean(by_seed[tested], axis=1)
    figure, axes = canvas(f"{title}: how far back the gradient reaches", sides=(0.7, 0.3))
    floor = max(float(by_fold.max()) * SMALLEST_SHOWN, np.finfo(float).tiny)
    folds = np.arange(len(by_fold))
    steps_back = np.arange(by_fold.shape[1])[::-1]
    norms = np.maximum(by_fold, floor)
    image = axes.pcolormesh(steps_back, folds, norms, norm="log", cmap="cividis")
    _steps_back_axis(axes)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("fold")
    figure.colorbar(image, label="mean ‖∂L/∂h‖ of one call", format="%g").minorticks_off()
    return figure


def input_sensitivity(explanation: Explanation, features: Sequence[str], title: str) -> Figure:
    """Return a heat map of the mean |∂p/∂x| by feature and steps before the call."""
    points = 100 * np.nanmean(explanation.sensitivity, axis=0)  # (T, I), per cent
    height = 2.2 + 0.4 * len(features)
    figure, axes = canvas(f"{title}: what moves the probability", height, sides=(1.45, 0.2))
    steps_back = np.arange(len(points))[::-1]
    rows = np.arange(len(features))
    image = axes.pcolormesh(steps_back, rows, points.T, cmap="cividis", vmin=0)
    _steps_back_axis(axes)
    axes.set_yticks(rows, [name.replace("_", " ") for name in features])
    figure.colorbar(image, label="% points per\nstandard deviation")
    return figure


def _steps_back_axis(axes: Axes) -> None:
    """Let the x axis count steps before the call, which is at its right end."""
    axes.invert_xaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("steps before the call")
