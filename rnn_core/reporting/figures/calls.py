"""Figures of calls and outcomes: directions, probabilities, accuracy by fold and live, money."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.dates import ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, PercentFormatter

from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.evaluation.metrics import called_up, reliability
from rnn_core.nn.arrays import Array
from rnn_core.operations.live import confidence_sequence
from rnn_core.reporting.figures.drawing import (
    BLUE,
    DARK_GREY,
    DASHED,
    GREY,
    HIT,
    MISS,
    ORANGE,
    Axes,
    Figure,
    Say,
    canvas,
    english,
    label,
    mark_sessions,
)


def direction_strip(calls: pd.DataFrame, title: str, days: int = 60, say: Say = english) -> Figure:
    """Return the last `days` test days: direction called, direction that came, hit or miss.

    `calls` has a row a day, by date, with `probability` of closing up and `up`.
    """
    last = calls.tail(days)
    subject = say(
        "called and actual direction, last {} test days",
        "예측한 방향과 실제 방향, 마지막 테스트 {}일",
    )
    figure, axes = canvas(f"{title}: {subject.format(len(last))}", height=3.4, sides=(0.95, 0.45))
    called = called_up(last["probability"]).to_numpy()
    up = last["up"].to_numpy().astype(bool)
    hit = called == up
    _directions(axes, 1, called, hit)
    _directions(axes, 0, up, hit)
    misses = np.flatnonzero(~hit)
    axes.scatter(misses, np.full(len(misses), 0.5), 24, marker="x", color=MISS, linewidth=1.2)
    rows = say("called", "예측"), say("miss ×", "빗나감 ×"), say("happened", "실제")
    axes.set_yticks([1, 0.5, 0], rows)
    axes.set(ylim=(-0.5, 1.5), xlim=(-1, len(last)))
    mark_sessions(axes, last.index)
    legend = say(
        "▲ up  ▼ down  filled: hit ({})  hollow: miss ({})",
        "▲ 상승  ▼ 하락  ● 적중 ({})  ○ 빗나감 ({})",
    )
    axes.set_xlabel(legend.format(hit.sum(), (~hit).sum()))
    return figure


def _directions(axes: Axes, row: int, direction: Array, hit: Array) -> None:
    """Draw a triangle for each direction (days,), filled if the call was a hit (days,)."""
    for agrees, colour, fill in ((hit, HIT, HIT), (~hit, MISS, "none")):
        for upward, marker in ((True, "^"), (False, "v")):
            shown = np.flatnonzero(agrees & (direction == upward))
            rows = np.full(len(shown), row)
            axes.scatter(shown, rows, 34, marker=marker, ec=colour, fc=fill, lw=1.2)


def reliability_curve(calls: pd.DataFrame, title: str) -> Figure:
    """Return the frequency of up by forecast probability, with 95 % intervals and day counts.

    `calls` has a row a day with `probability` of closing up and `up`.
    """
    figure, axes = canvas(f"{title}: frequency of up by forecast probability", sides=(0.8, 0.25))
    bins = reliability(calls["up"].to_numpy(), calls["probability"].to_numpy())
    axes.errorbar(
        bins["forecast"],
        bins["frequency"],
        _distances(bins["low"], bins["frequency"], bins["high"]),
        color=BLUE,
        marker="o",
        capsize=3,
        linewidth=1,
    )
    _day_counts(axes, bins)
    ends = [bins["forecast"].min(), bins["forecast"].max()]
    axes.plot(ends, ends, **DASHED)
    label(axes, "calibrated", ends[1], ends[1], DARK_GREY)
    axes.set(xlabel="forecast probability of up (bins of equal count)", ylabel="frequency of up")
    axes.margins(x=0.12, y=0.12)
    return figure


def two_reliability_curves(calls: pd.DataFrame, title: str) -> Figure:
    """Return the frequency of up by forecast probability of two runs, with 95 % intervals.

    `calls` has a row a common day, with `probability_a`, `up_a`, `probability_b` and `up_b`.
    """
    figure, axes = canvas(f"{title}: frequency of up by forecast probability", sides=(0.8, 0.25))
    curves = {
        name: reliability(calls[f"up_{run}"].to_numpy(), calls[f"probability_{run}"].to_numpy())
        for name, run in (("A", "a"), ("B", "b"))
    }
    for (name, bins), colour, marker in zip(curves.items(), (BLUE, ORANGE), "os", strict=True):
        axes.errorbar(
            bins["forecast"],
            bins["frequency"],
            _distances(bins["low"], bins["frequency"], bins["high"]),
            color=colour,
            marker=marker,
            capsize=3,
            linewidth=1,
            label=name,
        )
    forecasts = pd.concat([bins["forecast"] for bins in curves.values()])
    ends = [forecasts.min(), forecasts.max()]
    axes.plot(ends, ends, **DASHED)
    label(axes, "calibrated", ends[1], ends[1], DARK_GREY)
    axes.set(xlabel="forecast probability of up (bins of equal count)", ylabel="frequency of up")
    axes.legend(loc="upper left", ncols=2, frameon=False)
    axes.margins(x=0.12, y=0.18)
    return figure


def cumulative_difference(calls: pd.DataFrame, title: str) -> Figure:
    """Return the log loss of A less that of B, summed from the first common day to each one.

    `calls` has a row a common day, by date, with `loss_a` and `loss_b`, in nats.
    """
    figure, axes = canvas(f"{title}: log loss of A − B, summed", height=3.4, sides=(0.8, 0.3))
    axes.plot(calls.index, (calls["loss_a"] - calls["loss_b"]).cumsum(), color=BLUE, linewidth=1.2)
    axes.axhline(0, **DASHED)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.set(xlabel="test day; where the line falls, A is better", ylabel="nats")
    axes.margins(y=0.15)
    return figure


def _day_counts(axes: Axes, bins: pd.DataFrame) -> None:
    above: Any = {
        "xytext": (0, 5),
        "textcoords": "offset points",
        "ha": "center",
        "color": DARK_GREY,
        "fontsize": 9,
    }
    for _, row in bins.iterrows():
        axes.annotate(f"{row['days']:.0f}", (row["forecast"], row["high"]), **above)


def accuracy_by_fold(folds: pd.DataFrame, title: str) -> Figure:
    """Return the out-of-sample accuracy of each fold with its 95 % interval, and the baseline's.

    `folds` has a row a fold: `first` test day, `accuracy`, `low`, `high` and `majority`, the
    accuracy of the majority class.
    """
    figure, axes = canvas(f"{title}: accuracy by fold", sides=(0.8, 0.2))
    fold = np.arange(len(folds))
    axes.errorbar(
        fold,
        folds["accuracy"],
        _distances(folds["low"], folds["accuracy"], folds["high"]),
        color=BLUE,
        fmt="o",
        capsize=2,
        lw=1,
        label="network",
    )
    axes.scatter(
        fold, folds["majority"], 46, marker="_", color=ORANGE, linewidth=2, label="majority class"
    )
    _accuracy_axis(axes)
    mark_sessions(axes, pd.Index(folds["first"]))
    axes.set(xlabel="first test day of the fold", ylabel="accuracy (95 % interval)")
    axes.legend(loc="upper left", ncols=2, frameon=False)
    axes.set_ylim(top=max(axes.get_ylim()[1], folds["high"].max() + 0.08))
    return figure


def equity(evaluation: Evaluation, title: str) -> Figure:
    """Return the value of 1 traded on the calls after costs, by strategy, and of buy and hold."""
    long_flat = evaluation.backtests["long_flat"]
    long_short = evaluation.backtests["long_short"]
    subject = f"{title}: value of 1 after costs, traded at the {long_flat.traded}"
    figure, axes = canvas(subject, sides=(0.8, 0.2))
    lines = {
        "long or flat": (long_flat.strategy, BLUE, "-"),
        "long or short": (long_short.strategy, ORANGE, "-"),
        "buy and hold": (long_flat.buy_and_hold, GREY, "--"),
    }
    days = evaluation.calls.index
    for name, (strategy, colour, style) in lines.items():
        axes.plot(days, strategy.equity, color=colour, linestyle=style, linewidth=1.2, label=name)
    _log_axis(axes)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.set(xlabel="test day", ylabel="value (log scale)")
    axes.legend(loc="upper left", ncols=3, frameon=False)
    axes.margins(y=0.15)
    return figure


def live_accuracy(settled: pd.DataFrame, title: str) -> Figure:
    """Return the accuracy of the settled forecasts so far, its confidence sequence and the promise.

    `settled` has the columns that `operations.live.live_record` needs, and `session`. The promise
    is the mean over the forecasts so far.
    """
    figure, axes = canvas(
        f"{title}: accuracy of {len(settled)} settled forecasts", sides=(0.8, 0.45)
    )
    hits = (called_up(settled["probability"]) == settled["up"]).to_numpy(float)
    low, high = confidence_sequence(hits)
    promises = settled[["promised_low", "promised_high"]].expanding().mean()
    _band(axes, low, high, "95 % interval, on all days at once", BLUE, 0.15)
    _band(axes, promises["promised_low"], promises["promised_high"], "promised", ORANGE, 0.35)
    accuracy = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    marker = "o" if len(hits) < 3 else None
    axes.plot(accuracy, color=BLUE, marker=marker, label="accuracy so far")
    _accuracy_axis(axes)
    mark_sessions(axes, pd.Index(settled["session"]))
    axes.set(xlabel="session", ylabel="share of right calls")
    axes.set_ylim(min(0.35, low[-1] - 0.02), max(0.65, high[-1] + 0.02) + 0.05)
    axes.legend(loc="upper left", ncols=3, frameon=False)
    return figure


def _band(axes: Axes, low: Any, high: Any, name: str, colour: Any, alpha: float) -> None:
    days = np.arange(len(low))
    axes.fill_between(days, low, high, color=colour, alpha=alpha, lw=0, label=name)


def _distances(low: Any, middle: Any, high: Any) -> list[Any]:
    """Return how far an interval reaches below and above its middle, as error bars need it."""
    return [middle - low, high - middle]


def _accuracy_axis(axes: Axes) -> None:
    """Show the y axis in per cent, with a line at a half."""
    axes.axhline(0.5, **DASHED)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _log_axis(axes: Axes) -> None:
    """Show the y axis on a logarithmic scale, in plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(_twos_and_fives))


def _twos_and_fives(value: float, _: int | None) -> str:
    """Label the ticks 2 and 5 of each decade, and no other."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""
