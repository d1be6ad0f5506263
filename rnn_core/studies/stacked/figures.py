"""The figures of the study."""

from typing import Any

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.reporting.figures import BLUE, GREY, ORANGE, PURPLE, RED, Figure, Say, canvas, label
from rnn_core.studies.stacked.check import FAULTS, PASSES, RIGHT
from rnn_core.studies.stacked.sentences import LEARNT, network_name

COLOURS = {"tanh": BLUE, "prelu": ORANGE, "softmax": PURPLE}


def curves_figure(curves: dict[str, Array], say: Say) -> Figure:
    """Training loss by epoch (epochs,) of each network, and the line that says learnt."""
    figure, axes = canvas(
        say(
            "Three layers, two sequences: training loss by epoch",
            "세 층, 두 시퀀스: 에포크별 학습 손실",
        )
    )
    span = max(map(np.max, curves.values())) / min(LEARNT, *map(np.min, curves.values()))
    height = 0.0
    for name, losses in sorted(curves.items(), key=lambda curve: float(curve[1][-1])):
        epochs = np.arange(1, len(losses) + 1)
        axes.plot(epochs, losses, color=COLOURS[name], linewidth=1.2)
        height = max(losses[-1], height * span**0.06)  # a label's height above the one below
        label(axes, network_name(name, say), epochs[-1], height, COLOURS[name])
    axes.axhline(LEARNT, color=GREY, linestyle="--", linewidth=1)
    learnt = say(f"learnt: below {LEARNT:g}", f"학습됨: {LEARNT:g} 미만")
    place: Any = {"xytext": (-2, 4), "textcoords": "offset points", "ha": "right", "color": "0.35"}
    axes.annotate(learnt, (1, LEARNT), xycoords=axes.get_yaxis_transform(), **place)
    axes.set(
        xlabel=say("epoch", "에포크"),
        ylabel=say("loss (log scale)", "손실 (로그 눈금)"),
        yscale="log",
    )
    axes.set_xlim(1, epochs[-1] * 1.4)
    return figure


def checks_figure(errors: dict[str, float], say: Say) -> Figure:
    """Relative error of each implementation's gradients, and the threshold under which it passes."""
    title = say(
        "Gradient check: relative error of the gradients", "기울기 검사: 기울기의 상대 오차"
    )
    figure, axes = canvas(title, height=4.2)
    cases = RIGHT | FAULTS
    for row, name in enumerate(cases):
        colour = BLUE if name in RIGHT else RED
        axes.plot(errors[name], row, "o", color=colour)
        label(axes, f"{errors[name]:.2g}", errors[name], row, colour)
    axes.axvline(PASSES, color=GREY, linestyle="--", linewidth=1)
    threshold: Any = {
        "xy": (PASSES, -0.7),
        "textcoords": "offset points",
        "color": "0.35",
        "va": "center",
    }
    axes.annotate(say("passes", "통과"), xytext=(-6, 0), ha="right", **threshold)
    axes.annotate(say("fails", "탈락"), xytext=(6, 0), ha="left", **threshold)
    axes.set_yticks(range(len(cases)), [say(*case.names) for case in cases.values()])
    error = say(
        "analytic against central difference, relative (log scale)",
        "해석적 기울기와 중심 차분의 상대 차이 (로그 눈금)",
    )
    axes.set(
        xscale="log",
        xlabel=error,
        xlim=(min(errors.values()) / 5, 30),
        ylim=(len(cases) - 0.5, -1.1),
    )
    return figure
