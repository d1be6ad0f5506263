"""The figures of a run. Each function returns a Figure; none saves or shows it."""

from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rnn_core.evaluation import Evaluation
from rnn_core.metrics import reliability
from rnn_core.training import Fit

BLUE, ORANGE, RED, PURPLE, GREY, _ = mpl.color_sequences["petroff6"]  # told apart with colour-vision deficiency too
HIT, MISS = BLUE, ORANGE
Figures: TypeAlias = dict[str, Figure]
"""Figures by file name."""

COIN_TOSS = float(np.log(2))
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "font.size": 11,
}


def figures(fit: Fit, evaluation: Evaluation, title: str) -> Figures:
    """The figures of a run by file name."""
    return {
        "loss.png": loss_curves(fit, title),
        "directions.png": direction_strip(evaluation.calls, title),
        "reliability.png": reliability_curve(evaluation.calls, title),
        "folds.png": accuracy_by_fold(evaluation.folds, title),
    }


def loss_curves(fit: Fit, title: str) -> Figure:
    """Mean training and validation loss by epoch, with the loss of a coin toss, ln 2."""
    figure, axes = _canvas(f"{title}: loss by epoch, mean of {len(fit)} models")
    train, valid = fit.losses
    epochs = np.arange(1, len(train) + 1)
    for name, loss, colour in (("training", train, BLUE), ("validation", valid, ORANGE)):
        axes.plot(epochs, loss, color=colour, marker="o" if len(epochs) < 3 else None)
        _label(axes, name, epochs[-1], loss[-1], colour)
    axes.plot(epochs[[0, -1]], [COIN_TOSS, COIN_TOSS], color=GREY, linestyle="--", linewidth=1)
    _label(axes, "ln 2", epochs[-1], COIN_TOSS, "0.35")
    ticks = MaxNLocator(integer=True).tick_values(1, len(epochs))
    axes.set_xticks([tick for tick in ticks if 1 <= tick <= len(epochs)])
    axes.set(
        xlabel="epoch",
        ylabel="log loss (nats); ln 2 is a coin toss",
        xlim=(epochs[0] - 0.5, epochs[-1] + 0.18 * len(epochs)),
    )
    return figure


def direction_strip(calls: pd.DataFrame, title: str, days: int = 60) -> Figure:
    """The last test days: the direction that was called, the one that happened, and whether they agree."""
    last = calls.tail(days)
    figure, axes = _canvas(f"{title}: called and actual direction, last {len(last)} test days", height=3.4)
    position, called = np.arange(len(last)), (last["probability"] > 0.5).to_numpy()
    up = last["up"].to_numpy().astype(bool)
    hit = called == up
    for row, direction in ((1, called), (0, up)):
        for agrees, colour in ((hit, HIT), (~hit, MISS)):
            for upward, marker in ((True, "^"), (False, "v")):
                shown = agrees & (direction == upward)
                fill = colour if agrees is hit else "none"
                axes.scatter(position[shown], np.full(shown.sum(), row), 34, marker=marker, ec=colour, fc=fill, lw=1.2)
    axes.scatter(position[~hit], np.full((~hit).sum(), 0.5), 24, marker="x", color=MISS, linewidth=1.2)
    axes.set_yticks([1, 0.5, 0], ["called", "miss ×", "happened"])
    axes.set(ylim=(-0.5, 1.5), xlim=(-1, len(last)))
    marks = np.unique(np.linspace(0, len(last) - 1, min(6, len(last))).astype(int))
    axes.set_xticks(marks, [f"{last.index[mark]:%Y-%m-%d}" for mark in marks])
    axes.set_xlabel(f"▲ up  ▼ down  filled: hit ({hit.sum()})  hollow: miss ({(~hit).sum()})")
    return figure


def reliability_curve(calls: pd.DataFrame, title: str) -> Figure:
    """How often the session closed up, by the probability that was forecast, with 95 % intervals and counts."""
    figure, axes = _canvas(f"{title}: frequency of up by forecast probability")
    table = reliability(calls["up"].to_numpy(), calls["probability"].to_numpy())
    low, high = table["frequency"] - table["low"], table["high"] - table["frequency"]
    axes.errorbar(table["forecast"], table["frequency"], [low, high], color=BLUE, marker="o", capsize=3, linewidth=1)
    for _, row in table.iterrows():
        place: Any = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center", "color": "0.35", "fontsize": 9}
        axes.annotate(f"{row['days']:.0f}", (row["forecast"], row["high"]), **place)
    ends = [table["forecast"].min(), table["forecast"].max()]
    axes.plot(ends, ends, color=GREY, linestyle="--", linewidth=1)
    _label(axes, "calibrated", ends[1], ends[1], "0.35")
    axes.set(xlabel="forecast probability of up (bins of equal count)", ylabel="frequency of up")
    axes.margins(x=0.12, y=0.12)
    return figure


def accuracy_by_fold(folds: pd.DataFrame, title: str) -> Figure:
    """Out-of-sample accuracy of each fold with its 95 % interval, beside the majority class."""
    figure, axes = _canvas(f"{title}: accuracy by fold")
    low, high = folds["accuracy"] - folds["low"], folds["high"] - folds["accuracy"]
    axes.errorbar(folds["first"], folds["accuracy"], [low, high], color=BLUE, fmt="o", capsize=2, lw=1, label="network")
    axes.scatter(folds["first"], folds["majority"], 46, marker="_", color=ORANGE, linewidth=2, label="majority class")
    axes.axhline(0.5, color=GREY, linestyle="--", linewidth=1)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))  # type: ignore[no-untyped-call]
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="first test day of the fold", ylabel="accuracy (95 % interval)")
    axes.legend(loc="upper left", ncols=2, frameon=False)
    axes.set_ylim(top=max(axes.get_ylim()[1], folds["high"].max() + 0.08))
    return figure


def _label(axes: Axes, text: str, x: float, y: float, colour: Any) -> None:
    """Name a line at its right end."""
    axes.annotate(text, (x, y), xytext=(6, 0), textcoords="offset points", color=colour, va="center")


def _canvas(title: str, height: float = 4.5) -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, height))
        axes = figure.add_subplot()
        axes.set_title(title, fontsize=12)
    return figure, axes
