"""The figures of the studies on cosines."""

from typing import Any

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.reporting.figures import (
    BLUE,
    DARK_GREY,
    DASHED,
    GREY,
    ORANGE,
    Axes,
    Figure,
    Say,
    canvas,
    canvases,
)
from rnn_core.studies.sines.waves import SEEN, STEPS, Outcome, spliced

TICKS = [1, *range(8, STEPS + 1, 8)]


def annotate(figure: Figure, text: str, place: tuple[float, float], colour: Any) -> None:
    """Write into a plot, to the right of `place` in fractions of its axes."""
    figure.axes[0].annotate(text, place, xycoords="axes fraction", va="top", color=colour)


def errors_figure(title: str, outcomes: dict[str, Outcome], ignorant: float, say: Say) -> Figure:
    """Draw the mean squared error by the step whose cosine is asked for, and that of answer 0."""
    figure, axes = canvas(f"{title}: {say('error by step', '시점별 오차')}")
    for (name, outcome), colour in zip(outcomes.items(), (BLUE, ORANGE), strict=False):
        errors = outcome.errors
        steps = np.arange(1, len(errors) + 1)
        legend = f"{name}: {errors[0]:.2g} → {errors[-1]:.2g}"
        axes.semilogy(
            steps, errors, color=colour, marker="o", markersize=3, linewidth=1.2, label=legend
        )
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.92), labelcolor="linecolor", frameon=False)
    _ignorant_line(axes, ignorant, say)
    axes.set(xlim=(0, STEPS + 1), xticks=TICKS)
    axes.set_xlabel(say("step whose cosine is asked for", "코사인을 묻는 시점"))
    axes.set_ylabel(say("mean squared error", "평균제곱오차"))
    return figure


def _ignorant_line(axes: Axes, error: float, say: Say) -> None:
    name = say(
        f"the answer 0 for every wave: {error:.2g}", f"모든 파동에 0이라고 답함: {error:.2g}"
    )
    place: Any = {"xytext": (0, 4), "textcoords": "offset points", "ha": "right"}
    axes.axhline(error, **DASHED)
    axes.annotate(name, (STEPS, error), color=DARK_GREY, **place)


def answers_figure(title: str, outcome: Outcome, say: Say, masked: int = 0) -> Figure:
    """Draw the predicted and true values of up to nine test waves.

    The first `masked` steps, which are not scored, are shaded.
    """
    figure, plots = canvases(title, 3, 3, height=6)
    steps = np.arange(1, STEPS + 1)[masked:]
    true = say("true", "실제")
    predicted = say("predicted", "예측")
    for axes, answer, target in zip(plots.flat, outcome.answers, outcome.targets, strict=False):
        axes.plot(steps, target[masked:], color=GREY, linewidth=3, label=true)
        axes.plot(steps, answer[masked:], color=BLUE, linewidth=1.2, label=predicted)
        if masked:
            axes.axvspan(0.5, masked + 0.5, color="0.9", label=say("not scored", "채점하지 않음"))
        axes.set(ylim=(-1.6, 1.6), xticks=[1, 32, 64])
    figure.supxlabel(say("step", "시점"))
    figure.supylabel(say("cosine", "코사인"))
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """Add one legend for all plots, beside the title."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, frameon=False)


def future_figure(x: Array, answers: Array, altered: Array, say: Say) -> Figure:
    """Draw the test wave whose answers change most if only its future does.

    `answers` (s, S) are to x (s, T, I), `altered` (s, S) to x with another future.
    """
    row = int(np.abs(altered - answers)[:, :SEEN].max(axis=1).argmax())
    title = say("One wave, two futures", "한 파동, 두 가지 미래")
    figure, ((above,), (below,)) = canvases(title, rows=2, height=5.5)
    _two_futures(above, x[row].ravel(), spliced(x)[row].ravel(), say)
    above.set_ylabel(say("input (sine)", "입력(사인)"))
    _two_futures(below, answers[row].ravel(), altered[row].ravel(), say)
    below.set_ylabel(say("answer (cosine)", "답(코사인)"))
    below.set_xlabel(say("step", "시점"))
    _legend(figure)
    return figure


def _two_futures(axes: Axes, original: Array, other: Array, say: Say) -> None:
    """Draw one line (T,) with its own future and one with another wave's."""
    steps = np.arange(1, STEPS + 1)
    others = say("another wave's future", "다른 파동의 미래")
    label = say("its own future", "원래 미래")
    axes.plot(steps, other, color=ORANGE, linewidth=1.2, marker="o", markersize=3, label=others)
    axes.plot(steps, original, color=BLUE, linewidth=1.2, label=label)
    axes.axvline(SEEN + 0.5, **DASHED)
    axes.set(xlim=(0, STEPS + 1), xticks=TICKS)
