"""The figures of the study."""

from typing import Any

import numpy as np

from rnn_core.evaluation.metrics import COIN_TOSS
from rnn_core.nn.arrays import Array
from rnn_core.reporting.figures import (
    BLUE,
    DASHED,
    GREY,
    ORANGE,
    RED,
    Axes,
    Figure,
    Say,
    canvas,
    canvases,
    label,
)
from rnn_core.studies.memory.cell import HIDDEN, STEPS, Memory, Walk
from rnn_core.studies.study import Trained

AXIS = np.arange(1, STEPS + 1)


def states_figure(walk: Walk, bit: Array, unit: int, say: Say) -> Figure:
    """Draw the states by step of the first sequence of either bit (N,), with `unit` framed."""
    title = say(
        "Memory cell: the states of two test sequences", "메모리 셀: 두 테스트 시퀀스의 상태"
    )
    figure, plots = canvases(title, 2, 2, height=6)
    kinds = (
        (say("hidden state h", "은닉 상태 h"), walk.hidden),
        (say("cell state c", "셀 상태 c"), walk.cell),
    )
    for row, (name, states) in zip(plots, kinds, strict=True):
        shown = [states[np.argmax(bit == sign)].T for sign in (1, -1)]  # (H, T)
        limit = max(np.abs(values).max() for values in shown)
        for axes, values, sign in zip(row, shown, ("+1", "−1"), strict=True):
            image = _heat_map(axes, values, limit, unit)
            axes.set_title(f"{name}, {say('bit', '비트')} {sign}", fontsize=11, fontweight="normal")
        row[0].set_ylabel(say("unit", "유닛"))
        figure.colorbar(image, ax=list(row), label=name)
    for axes in plots[1]:
        axes.set_xlabel(
            say(
                "step (framed: what follows the bit best)",
                "시점 (테두리: 비트를 가장 잘 따르는 유닛)",
            )
        )
    return figure


def _heat_map(axes: Axes, states: Array, limit: float, unit: int) -> Any:
    """Draw states (H, T) between ±limit, frame one unit, and return the image."""
    units = np.arange(HIDDEN)
    image = axes.pcolormesh(AXIS, units, states, cmap="RdBu_r", vmin=-limit, vmax=limit)
    left = 0.5
    right = STEPS + 0.5
    frame_y = unit + np.array([-0.5, -0.5, 0.5, 0.5, -0.5])
    axes.plot([left, right, right, left, left], frame_y, "k-")
    axes.set(xticks=AXIS[::3], yticks=units)
    return image


def keeping_figure(walk: Walk, memory: Memory, say: Say) -> Figure:
    """Draw each cell state's correlation with the bit, and the gates of the best unit, by step."""
    title = say("Memory cell: what keeps the bit", "메모리 셀: 비트를 간직하는 것")
    figure, ((left, right),) = canvases(title, 1, 2, height=3.6)
    _correlations(left, memory, say)
    _gates(right, walk, memory.unit, say)
    for axes in (left, right):
        axes.set_xlabel(say("step", "시점"))
        axes.set(ylim=(-0.03, 1.05), xlim=(0.5, STEPS + 3), xticks=AXIS[::3])
    return figure


def _correlations(axes: Axes, memory: Memory, say: Say) -> None:
    unit = memory.unit
    axes.plot(AXIS, np.delete(memory.correlation, unit, axis=1), color=GREY, linewidth=0.8)
    axes.plot(AXIS, memory.correlation[:, unit], color=BLUE, marker="o")
    label(axes, say(f"unit {unit}", f"유닛 {unit}"), STEPS, memory.last, BLUE)
    axes.set_ylabel(say("|correlation| of c with the bit", "c와 비트의 |상관|"))


def _gates(axes: Axes, walk: Walk, unit: int, say: Say) -> None:
    gates = (
        ("i", say("input", "입력"), ORANGE),
        ("f", say("forget", "망각"), BLUE),
        ("o", say("output", "출력"), GREY),
    )
    for gate, name, colour in gates:
        mean = walk.gates[gate][:, :, unit].mean(axis=0)
        axes.plot(AXIS, mean, color=colour, marker="o")
        label(axes, name, STEPS, mean[-1], colour)
    axes.set_ylabel(say(f"gates of unit {unit}, test mean", f"유닛 {unit}의 게이트, 테스트 평균"))


def losses_figure(trained: dict[str, Trained], say: Say) -> Figure:
    """Draw the training loss by epoch of the three networks, with a coin toss's."""
    figure, axes = canvas(
        say("Memory cell: training loss by epoch", "메모리 셀: 에포크별 학습 손실")
    )
    networks = say("one layer", "한 층"), say("two layers", "두 층"), say("bidirectional", "양방향")
    colours = BLUE, ORANGE, RED
    for name, network, colour in zip(networks, trained.values(), colours, strict=True):
        loss = network.fit.train_loss[0]
        epochs = np.arange(1, len(loss) + 1)
        axes.plot(epochs, loss, color=colour, marker="o", markersize=3, label=name)
    axes.axhline(COIN_TOSS, **DASHED, label=say("ln 2, a coin toss", "ln 2, 동전 던지기"))
    axes.set_yscale("log")
    axes.set(xlabel=say("epoch", "에포크"), ylabel=say("log loss (nats)", "로그 손실 (nat)"))
    axes.legend(frameon=False)
    return figure
