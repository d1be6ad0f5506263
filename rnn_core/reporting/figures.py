"""The figures of a run. Each function returns a Figure; none saves or shows it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes as Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure as Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from rnn_core.evaluation import names
from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.evaluation.explain import Explanation
from rnn_core.evaluation.metrics import called_up, reliability
from rnn_core.nn.training import Fit
from rnn_core.operations.live import confidence_sequence

BLUE, ORANGE, RED, PURPLE, GREY, _ = mpl.color_sequences[
    "petroff6"
]  # told apart with colour-vision deficiency too
HIT, MISS = BLUE, ORANGE
Figures: TypeAlias = dict[str, Figure]
"""Figures by file name."""

Say: TypeAlias = Callable[[str, str], str]
"""Chooses between a text in English and the same in Korean."""

Sides: TypeAlias = tuple[float, float]
"""Inches left and right of a plot; where they are not given, what stands there is measured, which takes time."""

HANGUL_FONTS = ("NanumGothic", "Noto Sans CJK KR", "Noto Sans KR", "Malgun Gothic", "AppleGothic")
COIN_TOSS = float(np.log(2))
WIDTH, ABOVE, BELOW = (
    8.0,
    0.4,
    0.65,
)  # inches; above a plot is its title, below it are its ticks and their label
X_LABEL, Y_LABEL = (
    0.36,
    0.3,
)  # inches from the lower and the left edge of a figure with `sides`: where labels end
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titley": 1.0,  # where it stands anyway; looked for, it takes a tenth of the time
    "figure.dpi": 120,
    "font.size": 11,
}


def figures(
    fit: Fit,
    evaluation: Evaluation,
    explained: Callable[[], Explanation],
    features: Sequence[str],
    title: str,
    only: Sequence[str] | None = None,
) -> Figures:
    """The figures of a run by file name, or `only` those named; `explained` is asked, once, by those that need it."""
    explanation = cache(explained)
    draw: dict[str, Callable[[], Figure]] = {
        "loss.png": lambda: loss_curves(fit, title),
        "directions.png": lambda: direction_strip(evaluation.calls, title),
        "reliability.png": lambda: reliability_curve(evaluation.calls, title),
        "folds.png": lambda: accuracy_by_fold(evaluation.folds, title),
        "equity.png": lambda: equity(evaluation, title),
        "seeds.png": lambda: accuracy_by_seed(evaluation, title),
        "inputs.png": lambda: input_sensitivity(explanation(), features, title),
        "gradient.png": lambda: gradient_reach(explanation(), fit.training.seeds, title),
    }
    if fit.model.bidirectional:
        del draw["gradient.png"]
    return {name: figure() for name, figure in draw.items() if only is None or name in only}


def rendered(figures: Figures) -> dict[str, bytes]:
    """The figures as PNG, by file name."""

    def png(figure: Figure) -> bytes:
        buffer = BytesIO()
        figure.savefig(
            buffer, format="png", pil_kwargs={"compress_level": 3}
        )  # a seventh larger, in half the time
        return buffer.getvalue()

    return {name: png(figure) for name, figure in figures.items()}


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


def english(english: str, korean: str) -> str:
    """Chooses English."""
    return english


def korean(english: str, korean: str) -> str:
    """Chooses Korean."""
    return korean


@cache
def hangul_font() -> str | None:
    """The name of a font with Hangul: the one that koreanize-matplotlib brings, else one of the system's, if any."""
    package = find_spec("koreanize_matplotlib")
    for folder in (package and package.submodule_search_locations) or ():
        for file in sorted(Path(folder).rglob("NanumGothic*.ttf")):
            fontManager.addfont(file)
    there = {font.name for font in fontManager.ttflist}
    return next((name for name in HANGUL_FONTS if name in there), None)


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
    _by_session(axes, last.index)
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
    _by_session(axes, pd.Index(folds["first"]))
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
    _by_session(axes, pd.Index(settled["session"]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="session", ylabel="share of right calls")
    axes.set_ylim(min(0.35, low[-1] - 0.02), max(0.65, high[-1] + 0.02) + 0.05)
    axes.legend(loc="upper left", ncols=3, frameon=False)
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


def _by_session(axes: Axes, sessions: "pd.Index[Any]") -> None:
    """At most six dates, evenly, along an x axis on which sessions, or the first ones of folds, are one apart."""
    marks = range(0, len(sessions), -(-len(sessions) // 6))
    axes.set_xticks(marks, [f"{sessions[mark]:%Y-%m-%d}" for mark in marks])


def label(axes: Axes, text: str, x: float, y: float, colour: Any) -> None:
    """Name a line at its right end."""
    axes.annotate(
        text, (x, y), xytext=(6, 0), textcoords="offset points", color=colour, va="center"
    )


def canvas(title: str, height: float = 4.5, sides: Sides | None = None) -> tuple[Figure, Axes]:
    """A figure of one plot; with `sides` it takes half the time to render."""
    figure, ((axes,),) = canvases(title, height=height, constrained=not sides)
    if sides:
        wide, high = WIDTH - sum(sides), height - ABOVE - BELOW
        left, bottom = sides[0] / WIDTH, BELOW / height
        figure.subplots_adjust(left, bottom, left + wide / WIDTH, bottom + high / height)
        # Labels that find their own places ask all ticks again, to stand clear of them.
        axes.xaxis.set_label_coords(0.5, (X_LABEL - BELOW) / high)
        axes.yaxis.set_label_coords((Y_LABEL - sides[0]) / wide, 0.5)
    return figure, axes


def canvases(
    title: str, rows: int = 1, columns: int = 1, height: float = 4.5, constrained: bool = True
) -> tuple[Figure, Any]:
    """A figure of rows × columns plots, and the array of them; `constrained`, Matplotlib finds the room for each."""
    with style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained" if constrained else None)
        axes = figure.subplots(rows, columns, squeeze=False)
        if axes.size == 1:
            axes[0, 0].set_title(title, fontsize=12)
        else:
            figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
    return figure, axes


def style() -> AbstractContextManager[None]:
    """What all figures have in common; what holds Hangul is to be drawn under it, for its font."""
    hangul = hangul_font()
    return mpl.rc_context(STYLE | ({"font.family": ["DejaVu Sans", hangul]} if hangul else {}))
