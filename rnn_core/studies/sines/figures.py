"""The figures of the studies of cosines."""

from typing import Any

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.reporting.figures import (
    BLUE,
    GREY,
    ORANGE,
    Axes,
    Figure,
    Say,
    canvas,
    canvases,
)
from rnn_core.studies.sines.waves import SEEN, STEPS, Outcome, spliced


def annotate(figure: Figure, text: str, place: tuple[float, float], colour: Any) -> None:
    """Write into a plot, from `place` in fractions of its axes to the right."""
    figure.axes[0].annotate(text, place, xycoords="axes fraction", va="top", color=colour)


def errors_figure(title: str, outcomes: dict[str, Outcome], ignorant: float, say: Say) -> Figure:
    """Mean squared error by the step whose cosine is asked for, on a logarithmic scale, and that of the answer 0."""
    figure, axes = canvas(f"{title}: {say('error by step', '시점별 오차')}")
    for (name, outcome), colour in zip(outcomes.items(), (BLUE, ORANGE), strict=False):
        steps, (first, last) = np.arange(1, len(outcome.errors) + 1), outcome.errors[[0, -1]]
        line = f"{name}: {first:.2g} → {last:.2g}"
        axes.semilogy(
            steps, outcome.errors, color=colour, marker="o", markersize=3, linewidth=1.2, label=line
        )
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.92), labelcolor="linecolor", frameon=False)
    axes.axhline(ignorant, color=GREY, linestyle="--", linewidth=1)
    zero = say(
        f"the answer 0 for every wave: {ignorant:.2g}", f"모든 파동에 0이라고 답함: {ignorant:.2g}"
    )
    axes.annotate(
        zero, (STEPS, ignorant), xytext=(0, 4), textcoords="offset points", ha="right", color="0.35"
    )
    axes.set(
        xlabel=say("step whose cosine is asked for", "코사인을 묻는 시점"), xlim=(0, STEPS + 1)
    )
    axes.set(ylabel=say("mean squared error", "평균제곱오차"), xticks=[1, *range(8, STEPS + 1, 8)])
    return figure


def answers_figure(title: str, outcome: Outcome, say: Say, masked: int = 0) -> Figure:
    """Predicted and true of up to nine test waves; the steps that are not scored are shaded."""
    figure, plots = canvases(title, 3, 3, height=6)
    steps = np.arange(1, STEPS + 1)
    for axes, answer, target in zip(plots.flat, outcome.answers, outcome.targets, strict=False):
        axes.plot(
            steps[masked:], target[masked:], color=GREY, linewidth=3, label=say("true", "실제")
        )
        axes.plot(
            steps[masked:],
            answer[masked:],
            color=BLUE,
            linewidth=1.2,
            label=say("predicted", "예측"),
        )
        if masked:
            axes.axvspan(0.5, masked + 0.5, color="0.9", label=say("not scored", "채점하지 않음"))
        axes.set(ylim=(-1.6, 1.6), xticks=[1, 32, 64])
    figure.supxlabel(say("step", "시점"))
    figure.supylabel(say("cosine", "코사인"))
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """What the lines of all plots mean, beside the title."""
    named = figure.axes[0].get_legend_handles_labels()
    figure.legend(*named, loc="outside upper right", ncols=3, frameon=False)


def future_figure(x: Array, answers: Array, altered: Array, say: Say) -> Figure:
    """The test wave whose answers change most when only its future does."""
    row = int(np.abs(altered - answers)[:, :SEEN].max(axis=1).argmax())
    title = say("One wave, two futures", "한 파동, 두 가지 미래")
    figure, plots = canvases(title, rows=2, height=5.5)
    shown = (
        (x, spliced(x), say("input (sine)", "입력(사인)")),
        (answers, altered, say("answer (cosine)", "답(코사인)")),
    )
    for axes, (own, other, name) in zip(plots[:, 0], shown, strict=True):
        _two_futures(axes, own[row].ravel(), other[row].ravel(), say)
        axes.set_ylabel(name)
    plots[1, 0].set_xlabel(say("step", "시점"))
    _legend(figure)
    return figure


def _two_futures(axes: Axes, own: Array, other: Array, say: Say) -> None:
    """One line (T,) with its own future and one with another's."""
    steps = np.arange(1, STEPS + 1)
    futures = say("another wave's future", "다른 파동의 미래"), say("its own future", "원래 미래")
    axes.plot(steps, other, color=ORANGE, linewidth=1.2, marker="o", markersize=3, label=futures[0])
    axes.plot(steps, own, color=BLUE, linewidth=1.2, label=futures[1])
    axes.axvline(SEEN + 0.5, color=GREY, linestyle="--", linewidth=1)
    axes.set(xlim=(0, STEPS + 1), xticks=[1, *range(8, STEPS + 1, 8)])
