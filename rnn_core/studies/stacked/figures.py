"""The figures of the study."""

from typing import Any

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.reporting.figures import (
    BLUE,
    DARK_GREY,
    DASHED,
    ORANGE,
    PURPLE,
    RED,
    Axes,
    Figure,
    Say,
    canvas,
    label,
)
from rnn_core.studies.stacked.check import FAULTS, PASSES, RIGHT
from rnn_core.studies.stacked.sentences import LEARNT, network_name

COLOURS = {"tanh": BLUE, "prelu": ORANGE, "softmax": PURPLE}
APART = 0.06  # of the height of the plot: labels are at least so far apart


def curves_figure(curves: dict[str, Array], say: Say) -> Figure:
    """Draw the training loss (epochs,) of each network, and the loss below which it has learned."""
    figure, axes = canvas(
        say(
            "Three layers, two sequences: training loss by epoch",
            "세 층, 두 시퀀스: 에포크별 학습 손실",
        )
    )
    last = max(len(losses) for losses in curves.values())
    for name, height in _label_heights(curves).items():
        losses = curves[name]
        axes.plot(np.arange(1, len(losses) + 1), losses, color=COLOURS[name], linewidth=1.2)
        label(axes, network_name(name, say), last, height, COLOURS[name])
    _learnt_line(axes, say)
    axes.set_yscale("log")
    axes.set(xlabel=say("epoch", "에포크"), ylabel=say("loss (log scale)", "손실 (로그 눈금)"))
    axes.set_xlim(1, last * 1.4)
    return figure


def _label_heights(curves: dict[str, Array]) -> dict[str, float]:
    """Return the height of each label, the lowest first: its last loss, or more if too near."""
    highest = max(map(np.max, curves.values()))
    lowest = min(LEARNT, *map(np.min, curves.values()))
    factor = (highest / lowest) ** APART
    heights: dict[str, float] = {}
    below = 0.0
    for name, losses in sorted(curves.items(), key=lambda curve: float(curve[1][-1])):
        below = max(losses[-1], below * factor)
        heights[name] = below
    return heights


def _learnt_line(axes: Axes, say: Say) -> None:
    axes.axhline(LEARNT, **DASHED)
    place: Any = {"xytext": (-2, 4), "textcoords": "offset points", "ha": "right"}
    axes.annotate(
        say(f"learnt: below {LEARNT:g}", f"학습됨: {LEARNT:g} 미만"),
        (1, LEARNT),
        xycoords=axes.get_yaxis_transform(),
        color=DARK_GREY,
        **place,
    )


def checks_figure(errors: dict[str, float], say: Say) -> Figure:
    """Draw the relative error of each implementation's gradients, and where it passes."""
    title = say(
        "Gradient check: relative error of the gradients", "기울기 검사: 기울기의 상대 오차"
    )
    figure, axes = canvas(title, height=4.2)
    cases = RIGHT | FAULTS
    for row, name in enumerate(cases):
        colour = BLUE if name in RIGHT else RED
        axes.plot(errors[name], row, "o", color=colour)
        label(axes, f"{errors[name]:.2g}", errors[name], row, colour)
    _threshold(axes, say)
    axes.set_yticks(range(len(cases)), [say(*case.names) for case in cases.values()])
    axes.set_xscale("log")
    axes.set_xlabel(
        say(
            "analytic against central difference, relative (log scale)",
            "해석적 기울기와 중심 차분의 상대 차이 (로그 눈금)",
        )
    )
    axes.set(xlim=(min(errors.values()) / 5, 30), ylim=(len(cases) - 0.5, -1.1))
    return figure


def _threshold(axes: Axes, say: Say) -> None:
    axes.axvline(PASSES, **DASHED)
    place: Any = {"xy": (PASSES, -0.7), "textcoords": "offset points", "va": "center"}
    axes.annotate(say("passes", "통과"), xytext=(-6, 0), ha="right", color=DARK_GREY, **place)
    axes.annotate(say("fails", "탈락"), xytext=(6, 0), ha="left", color=DARK_GREY, **place)
