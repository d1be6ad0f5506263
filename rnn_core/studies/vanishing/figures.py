"""The figures of the study."""

from typing import Any, TypeAlias

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.reporting.figures import (
    BLUE,
    COIN_TOSS,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    Axes,
    Figure,
    Say,
    canvas,
    canvases,
    label,
)
from rnn_core.studies.study import (
    Trained,
)
from rnn_core.studies.vanishing.reach import LENGTHS, LOST, RADII, Reach, tanh_name
from rnn_core.studies.vanishing.sentences import RECALL

FLOOR = 1e-30  # of the figures
COLOURS = (BLUE, ORANGE, PURPLE, "0.25", RED)  # of the radii
End: TypeAlias = tuple[str, int, float, Any]
"""Where a line ends: its name, its last lag and value, its colour."""


def by_lag_figure(longest: dict[str, Reach], products: dict[str, Array], say: Say) -> Figure:
    """‖∂s_T/∂s_t‖ by lag of every network, the product of Jacobians as dots on the tanh networks' lines."""
    figure, axes = canvas(
        say("How much of a gradient is left, by lag", "지연에 따라 남는 기울기"), height=5
    )
    _lines(axes, {name: one.state for name, one in longest.items()}, say)
    for product in products.values():
        shown = np.arange(0, len(product), 10)
        shown = shown[product[shown] > FLOOR]
        axes.plot(shown, product[shown], ".", color="0.1", markersize=4)
    axes.axhline(LOST, color=GREY, linestyle="--", linewidth=1)
    axes.annotate(f"{LOST:g}", (0, LOST), xytext=(2, 3), textcoords="offset points", color="0.35")
    axes.set_ylabel(
        say("‖∂s_T/∂s_t‖; dots: product of Jacobians", "‖∂s_T/∂s_t‖, 점: 야코비 행렬의 곱")
    )
    return figure


def inputs_figure(longest: dict[str, Reach], say: Say) -> Figure:
    """‖∂s_T/∂x_t‖ by lag of every network."""
    figure, axes = canvas(
        say("What an input still moves, by lag", "지연에 따른 입력의 영향"), height=5
    )
    _lines(axes, {name: one.inputs for name, one in longest.items()}, say)
    axes.set_ylabel("‖∂s_T/∂x_t‖")
    return figure


def _lines(axes: Axes, norms: dict[str, Array], say: Say) -> None:
    colours = dict(zip(map(tanh_name, RADII), COLOURS, strict=True))
    styles = {"GRU": "--", "LSTM": ":", "LSTM forget 1": "-."}
    ends: list[End] = []
    for name, norm in norms.items():
        line = np.where(norm > FLOOR, norm, np.nan)
        axes.plot(
            line, color=colours.get(name, "0.45"), linestyle=styles.get(name, "-"), linewidth=1.3
        )
        last = int(np.flatnonzero(np.isfinite(line))[-1])
        ends.append((name, last, float(line[last]), colours.get(name, "0.35")))
    axes.set_yscale("log")
    axes.set(
        xlabel=say(
            "lag T − t (steps); s is h, of an LSTM h and c",
            "지연 T − t (단계), s는 h이고 LSTM에서는 h와 c",
        ),
        xlim=(0, 1.2 * max(LENGTHS)),
        ylim=(FLOOR / 1e3, None),
    )
    for name, x, y, colour in _spread(ends):
        label(axes, name, x, y, colour)


def _spread(ends: list[End], gap: float = 25.0) -> list[End]:
    """The labels of lines that end at the same lag, at least a factor `gap` apart."""
    placed: list[End] = []
    for name, x, y, colour in sorted(ends, key=lambda end: end[2]):
        near = [other[2] for other in placed if abs(other[1] - x) < 20]
        placed.append((name, x, max([y, *(gap * other for other in near)]), colour))
    return placed


def losses_figure(clipped: Trained, unclipped: Trained, say: Say) -> Figure:
    """Training loss by epoch of the tanh networks by their radius at the start, without and with the clip."""
    title = say("Recalling a sign after {} steps", "{}단계 뒤에 부호 떠올리기").format(RECALL - 1)
    figure, ((left, right),) = canvases(title, columns=2, height=4)
    for axes, trained, name in (
        (left, unclipped, say("no clip", "클리핑 없음")),
        (right, clipped, say("norm clipped at 1", "노름 1로 클리핑")),
    ):
        for loss, radius, colour in zip(trained.fit.train_loss, RADII, COLOURS, strict=True):
            epochs = np.arange(1, len(loss) + 1)
            axes.plot(epochs, loss, color=colour, linewidth=1.2, label=f"{radius:g}")
        axes.axhline(COIN_TOSS, color=GREY, linestyle="--", linewidth=1)
        axes.set_title(name, fontsize=11, fontweight="normal")
        axes.set_yscale("log")
        axes.set_xlabel(say("epoch", "에포크"))
    bottom = min(axes.get_ylim()[0] for axes in (left, right))
    top = max(axes.get_ylim()[1] for axes in (left, right))
    left.set_ylim(bottom, top)
    right.set_ylim(bottom, top)
    left.set_ylabel(say("training loss (nats)", "학습 손실 (nat)"))
    right.legend(title=say("radius", "반지름"), frameon=False, fontsize=9)
    return figure
