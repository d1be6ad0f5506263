"""What the networks did: losses by epoch, accuracy by seed, reach of the gradient and weight of the inputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rnn_core.evaluation import names
from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.evaluation.explain import Explanation
from rnn_core.nn.training import Fit
from rnn_core.reporting.figures.drawing import BLUE, COIN_TOSS, GREY, ORANGE, Figure, canvas, label


def loss_curves(fit: Fit, title: str) -> Figure:
    """Mean training and validation loss by epoch, with the loss of a coin toss, ln 2."""
    figure, axes = canvas(f"{title}: loss by epoch, mean of {len(fit)} models", sides=(0.9, 0.1))
    train, valid = fit.losses
    epochs = np.arange(1, len(train) + 1)
    for name, loss, colour in (("training", train, BLUE), ("validation", valid, ORANGE)):
        axes.plot(epochs, loss, color=colour, marker="o" if len(epochs) < 3 else None)
        label(axes, name, epochs[-1], loss[-1], colour)
    axes.plot(epochs[[0, -1]], [COIN_TOSS, COIN_TOSS], color=GREY, linestyle="--", linewidth=1)
    label(axes, "ln 2", epochs[-1], COIN_TOSS, "0.35")
    ticks = MaxNLocator(integer=True).tick_values(1, len(epochs))
    axes.set_xticks([tick for tick in ticks if 1 <= tick <= len(epochs)])
    axes.set(
        xlabel="epoch",
        ylabel="log loss (nats); ln 2 is a coin toss",
        xlim=(epochs[0] - 0.5, epochs[-1] + 0.18 * len(epochs)),
    )
    return figure


def accuracy_by_seed(evaluation: Evaluation, title: str) -> Figure:
    """Accuracy of each seed by itself over all folds, beside the ensemble's with its interval."""
    seeds, scores = evaluation.seeds, evaluation.scores
    subject = f"{title}: accuracy of each of {len(seeds)} seeds, and of the ensemble"
    figure, axes = canvas(subject, height=2.6, sides=(1.3, 0.3))
    low, mean, high = (
        scores[name] for name in (names.ACCURACY_LOW, names.ACCURACY, names.ACCURACY_HIGH)
    )
    axes.scatter(seeds, np.full(len(seeds), 1.0), 40, ec=BLUE, fc="none", lw=1.2)
    axes.errorbar(
        [mean], [0.0], xerr=[[mean - low], [high - mean]], color=BLUE, marker="o", capsize=3
    )
    axes.scatter(
        [scores[names.baseline_accuracy("majority")]],
        [-1.0],
        60,
        marker="|",
        color=ORANGE,
        linewidth=3,
    )
    axes.axvline(0.5, color=GREY, linestyle="--", linewidth=1)
    axes.set_yticks([1, 0, -1], ["seeds", "ensemble", "majority class"])
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.set(xlabel="accuracy over all test days (95 % interval)", ylim=(-1.6, 1.6))
    return figure


def gradient_reach(explanation: Explanation, seeds: int, title: str) -> Figure:
    """Norm of ∂L/∂h by steps before the call, for each fold, as a heat map: how far back the gradient reaches.

    `explanation` is that of networks in one direction, which have a reach.
    """
    reach: Any = explanation.reach
    by_seed = reach.reshape(-1, seeds, reach.shape[-1])
    by_fold = np.nanmean(
        by_seed[np.isfinite(by_seed).any(axis=(1, 2))], axis=1
    )  # the live fold has no test rows
    figure, axes = canvas(f"{title}: how far back the gradient reaches", sides=(0.7, 0.3))
    floor = max(float(by_fold.max()) * 1e-6, np.finfo(float).tiny)
    folds, back = np.arange(len(by_fold)), np.arange(by_fold.shape[1])[::-1]
    image = axes.pcolormesh(back, folds, np.maximum(by_fold, floor), norm="log", cmap="cividis")
    axes.invert_xaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="steps before the call", ylabel="fold")
    figure.colorbar(image, label="mean ‖∂L/∂h‖ of one call", format="%g").minorticks_off()
    return figure


def input_sensitivity(explanation: Explanation, features: Sequence[str], title: str) -> Figure:
    """Mean |∂p/∂x| by feature and steps before the call."""
    moved = 100 * np.nanmean(explanation.sensitivity, axis=0)  # (T, I)
    figure, axes = canvas(
        f"{title}: what moves the probability", 2.2 + 0.4 * len(features), sides=(1.45, 0.2)
    )
    image = axes.pcolormesh(
        np.arange(len(moved))[::-1], np.arange(len(features)), moved.T, cmap="cividis", vmin=0
    )
    axes.invert_xaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_yticks(np.arange(len(features)), [name.replace("_", " ") for name in features])
    axes.set_xlabel("steps before the call")
    figure.colorbar(image, label="% points per\nstandard deviation")
    return figure
