"""The figures of the study."""

from typing import Any, TypeAlias

import numpy as np

from rnn_core.evaluation.metrics import COIN_TOSS
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
    canvases,
    label,
)
from rnn_core.studies.study import Trained
from rnn_core.studies.vanishing.reach import LONGEST, LOST, RADII, Reach, tanh_name
from rnn_core.studies.vanishing.sentences import RECALL

FLOOR = 1e-30  # smallest norm shown
COLOURS = dict(zip(map(tanh_name, RADII), (BLUE, ORANGE, PURPLE, "0.25", RED), strict=True))
STYLES = {"GRU": "--", "LSTM": ":", "LSTM forget 1": "-."}
APART = 25.0  # factor between labels of lines that end at the same lag
NEAR = 20  # lags within which labels would overlap

End: TypeAlias = tuple[str, int, float, Any]
"""Where a line ends: its name, its last lag and value, its colour."""


def by_lag_figure(longest: dict[str, Reach], products: dict[str, Array], say: Say) -> Figure:
    """Draw ‖∂s_T/∂s_t‖ by lag of every network, with dots for the product of Jacobians."""
    title = say("How much of a gradient is left, by lag", "지연에 따라 남는 기울기")
    figure, axes = canvas(title, height=5)
    _lines(axes, {name: reached.state for name, reached in longest.items()}, say)
    for product in products.values():
        shown = np.arange(0, len(product), 10)
        shown = shown[product[shown] > FLOOR]
        axes.plot(shown, product[shown], ".", color="0.1", markersize=4)
    axes.axhline(LOST, **DASHED)
    place: Any = {"xytext": (2, 3), "textcoords": "offset points"}
    axes.annotate(f"{LOST:g}", (0, LOST), color=DARK_GREY, **place)
    axes.set_ylabel(
        say("‖∂s_T/∂s_t‖; dots: product of Jacobians", "‖∂s_T/∂s_t‖, 점: 야코비 행렬의 곱")
    )
    return figure


def inputs_figure(longest: dict[str, Reach], say: Say) -> Figure:
    """Draw ‖∂s_T/∂x_t‖ by lag of every network."""
    title = say("What an input still moves, by lag", "지연에 따른 입력의 영향")
    figure, axes = canvas(title, height=5)
    _lines(axes, {name: reached.inputs for name, reached in longest.items()}, say)
    axes.set_ylabel("‖∂s_T/∂x_t‖")
    return figure


def _lines(axes: Axes, norms: dict[str, Array], say: Say) -> None:
    """Draw the norms (T,) of each network by lag, on a logarithmic scale."""
    ends: list[End] = []
    for name, norm in norms.items():
        line = np.where(norm > FLOOR, norm, np.nan)
        style = STYLES.get(name, "-")
        axes.plot(line, color=COLOURS.get(name, "0.45"), linestyle=style, linewidth=1.3)
        last = int(np.flatnonzero(np.isfinite(line))[-1])
        ends.append((name, last, float(line[last]), COLOURS.get(name, DARK_GREY)))
    axes.set_yscale("log")
    axes.set(xlim=(0, 1.2 * LONGEST), ylim=(FLOOR / 1e3, None))
    axes.set_xlabel(
        say(
            "lag T − t (steps); s is h, of an LSTM h and c",
            "지연 T − t (시점), s는 h이고 LSTM에서는 h와 c",
        )
    )
    for name, x, y, colour in _spread(ends):
        label(axes, name, x, y, colour)


def _spread(ends: list[End]) -> list[End]:
    """Move the labels of lines that end at about the same lag apart."""
    placed: list[End] = []
    for name, x, y, colour in sorted(ends, key=lambda end: end[2]):
        near = [other_y for _, other_x, other_y, _ in placed if abs(other_x - x) < NEAR]
        placed.append((name, x, max([y, *(APART * other_y for other_y in near)]), colour))
    return placed


def losses_figure(clipped: Trained, unclipped: Trained, say: Say) -> Figure:
    """Draw the training losses of the tanh networks by radius, without and with the clip."""
    title = say("Recalling a sign after {} steps", "{}시점 뒤에 부호 떠올리기").format(RECALL - 1)
    figure, ((left, right),) = canvases(title, columns=2, height=4)
    _losses(left, unclipped, say("no clip", "클리핑 없음"), say)
    _losses(right, clipped, say("norm clipped at 1", "노름 1로 클리핑"), say)
    limits = [*left.get_ylim(), *right.get_ylim()]
    for axes in (left, right):
        axes.set_ylim(min(limits), max(limits))
    left.set_ylabel(say("training loss (nats)", "학습 손실 (nat)"))
    right.legend(title=say("radius", "반지름"), frameon=False, fontsize=9)
    return figure


def _losses(axes: Axes, trained: Trained, title: str, say: Say) -> None:
    networks = zip(trained.fit.train_loss, RADII, COLOURS.values(), strict=True)
    for loss, radius, colour in networks:
        epochs = np.arange(1, len(loss) + 1)
        axes.plot(epochs, loss, color=colour, linewidth=1.2, label=f"{radius:g}")
    axes.axhline(COIN_TOSS, **DASHED)
    axes.set_title(title, fontsize=11, fontweight="normal")
    axes.set_yscale("log")
    axes.set_xlabel(say("epoch", "에포크"))
