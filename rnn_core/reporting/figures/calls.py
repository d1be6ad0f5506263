"""What was called and what happened: directions, probabilities, accuracy by fold and live, and money."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.dates import ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, PercentFormatter

from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.evaluation.metrics import called_up, reliability
from rnn_core.operations.live import confidence_sequence
from rnn_core.reporting.figures.drawing import (
    BLUE,
    GREY,
    HIT,
    MISS,
    ORANGE,
    Figure,
    Say,
    canvas,
    english,
    label,
    mark_sessions,
)


def direction_strip(calls: pd.DataFrame, title: str, days: int = 60, say: Say = english) -> Figure:
    """The last test days: the direction that was called, the one that happened, and whether they agree."""
    last = calls.tail(days)
    subject = say(
        "called and actual direction, last {} test days",
        "예측한 방향과 실제 방향, 마지막 테스트 {}일",
    )
    figure, axes = canvas(f"{title}: {subject.format(len(last))}", height=3.4, sides=(0.95, 0.45))
    position, called = np.arange(len(last)), called_up(last["probability"]).to_numpy()
    up = last["up"].to_numpy().astype(bool)
    hit = called == up
    for row, direction in ((1, called), (0, up)):
        for agrees, colour in ((hit, HIT), (~hit, MISS)):
            for upward, marker in ((True, "^"), (False, "v")):
                shown = agrees & (direction == upward)
                fill = colour if agrees is hit else "none"
                axes.scatter(
                    position[shown],
                    np.full(shown.sum(), row),
                    34,
                    marker=marker,
                    ec=colour,
                    fc=fill,
                    lw=1.2,
                )
    axes.scatter(
        position[~hit], np.full((~hit).sum(), 0.5), 24, marker="x", color=MISS, linewidth=1.2
    )
    axes.set_yticks(
        [1, 0.5, 0], [say("called", "예측"), say("miss ×", "빗나감 ×"), say("happened", "실제")]
    )
    axes.set(ylim=(-0.5, 1.5), xlim=(-1, len(last)))
    mark_sessions(axes, last.index)
    legend = say(
        "▲ up  ▼ down  filled: hit ({})  hollow: miss ({})",
        "▲ 상승  ▼ 하락  ● 적중 ({})  ○ 빗나감 ({})",
    )
    axes.set_xlabel(legend.format(hit.sum(), (~hit).sum()))
    return figure


def reliability_curve(calls: pd.DataFrame, title: str) -> Figure:
    """How often the session closed up, by the probability that was forecast, with 95 % intervals and counts."""
    figure, axes = canvas(f"{title}: frequency of up by forecast probability", sides=(0.8, 0.25))
    table = reliability(calls["up"].to_numpy(), calls["probability"].to_numpy())
    low, high = table["frequency"] - table["low"], table["high"] - table["frequency"]
    axes.errorbar(
        table["forecast"],
        table["frequency"],
        [low, high],
        color=BLUE,
        marker="o",
        capsize=3,
        linewidth=1,
    )
    for _, row in table.iterrows():
        place: Any = {
            "xytext": (0, 5),
            "textcoords": "offset points",
            "ha": "center",
            "color": "0.35",
            "fontsize": 9,
        }
        axes.annotate(f"{row['days']:.0f}", (row["forecast"], row["high"]), **place)
    ends = [table["forecast"].min(), table["forecast"].max()]
    axes.plot(ends, ends, color=GREY, linestyle="--", linewidth=1)
    label(axes, "calibrated", ends[1], ends[1], "0.35")
    axes.set(xlabel="forecast probability of up (bins of equal count)", ylabel="frequency of up")
    axes.margins(x=0.12, y=0.12)
    return figure


def accuracy_by_fold(folds: pd.DataFrame, title: str) -> Figure:
    """Out-of-sample accuracy of each fold with its 95 % interval, beside the majority class."""
    figure, axes = canvas(f"{title}: accuracy by fold", sides=(0.8, 0.2))
    low, high = folds["accuracy"] - folds["low"], folds["high"] - folds["accuracy"]
    fold = np.arange(len(folds))
    axes.errorbar(
        fold, folds["accuracy"], [low, high], color=BLUE, fmt="o", capsize=2, lw=1, label="network"
    )
    axes.scatter(
        fold, folds["majority"], 46, marker="_", color=ORANGE, linewidth=2, label="majority class"
    )
    axes.axhline(0.5, color=GREY, linestyle="--", linewidth=1)
    mark_sessions(axes, pd.Index(folds["first"]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="first test day of the fold", ylabel="accuracy (95 % interval)")
    axes.legend(loc="upper left", ncols=2, frameon=False)
    axes.set_ylim(top=max(axes.get_ylim()[1], folds["high"].max() + 0.08))
    return figure


def equity(evaluation: Evaluation, title: str) -> Figure:
    """Value of 1 traded on the calls, long or flat and long or short, after costs, beside buy and hold."""
    backtests = evaluation.backtests
    subject = f"{title}: value of 1 after costs, traded at the {backtests['long_flat'].traded}"
    figure, axes = canvas(subject, sides=(0.8, 0.2))
    lines = {
        "long or flat": (backtests["long_flat"].strategy, BLUE, "-"),
        "long or short": (backtests["long_short"].strategy, ORANGE, "-"),
        "buy and hold": (backtests["long_flat"].buy_and_hold, GREY, "--"),
    }
    days = evaluation.calls.index
    for name, (strategy, colour, style) in lines.items():
        axes.plot(days, strategy.equity, color=colour, linestyle=style, linewidth=1.2, label=name)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    )
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.set(xlabel="test day", ylabel="value (log scale)")
    axes.legend(loc="upper left", ncols=3, frameon=False)
    axes.margins(y=0.15)
    return figure


def live_accuracy(settled: pd.DataFrame, title: str) -> Figure:
    """Accuracy of the settled forecasts so far, with its confidence sequence, and what was promised of them.

    `settled` is what `operations.live.live_record` takes, with `session` too; the band is the mean promise so far.
    """
    figure, axes = canvas(
        f"{title}: accuracy of {len(settled)} settled forecasts", sides=(0.8, 0.45)
    )
    hits = (called_up(settled["probability"]) == settled["up"]).to_numpy(float)
    days = np.arange(1, len(hits) + 1)
    low, high = confidence_sequence(hits)
    promised = settled[["promised_low", "promised_high"]].expanding().mean()
    axes.fill_between(
        days - 1,
        low,
        high,
        color=BLUE,
        alpha=0.15,
        lw=0,
        label="95 % interval, on all days at once",
    )
    axes.fill_between(
        days - 1, *promised.to_numpy().T, color=ORANGE, alpha=0.35, lw=0, label="promised"
    )
    marker = "o" if len(hits) < 3 else None
    axes.plot(days - 1, np.cumsum(hits) / days, color=BLUE, marker=marker, label="accuracy so far")
    axes.axhline(0.5, color=GREY, linestyle="--", linewidth=1)
    mark_sessions(axes, pd.Index(settled["session"]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="session", ylabel="share of right calls")
    axes.set_ylim(min(0.35, low[-1] - 0.02), max(0.65, high[-1] + 0.02) + 0.05)
    axes.legend(loc="upper left", ncols=3, frameon=False)
    return figure
