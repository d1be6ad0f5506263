"""The figures of the study."""

import numpy as np

from rnn_core.nn.arrays import Array
from rnn_core.reporting.figures import (
    BLUE,
    COIN_TOSS,
    GREY,
    ORANGE,
    RED,
    Figure,
    Say,
    canvas,
    canvases,
    label,
)
from rnn_core.studies.memory.cell import HIDDEN, STEPS, Memory, Walk
from rnn_core.studies.study import (
    Trained,
)


def states_figure(walk: Walk, bit: Array, unit: int, say: Say) -> Figure:
    """Hidden and cell states by step of the first sequence of either bit, the unit that keeps it framed."""
    title = say("Memory cell: the states of two test sequences", "기억 셀: 두 테스트 시퀀스의 상태")
    figure, plots = canvases(title, 2, 2, height=6)
    names = say("hidden state h", "은닉 상태 h"), say("cell state c", "셀 상태 c")
    steps, units = np.arange(1, STEPS + 1), np.arange(HIDDEN)
    for row, (name, states) in enumerate(zip(names, (walk.hidden, walk.cell), strict=True)):
        pair = [states[np.argmax(bit == sign)].T for sign in (1, -1)]  # (H, T)
        limit = max(np.abs(one).max() for one in pair)
        for axes, one, sign in zip(plots[row], pair, ("+1", "−1"), strict=True):
            image = axes.pcolormesh(steps, units, one, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.plot(
                [0.5, STEPS + 0.5, STEPS + 0.5, 0.5, 0.5],
                unit + np.array([-0.5, -0.5, 0.5, 0.5, -0.5]),
                "k-",
            )
            axes.set_title(f"{name}, {say('bit', '비트')} {sign}", fontsize=11, fontweight="normal")
            axes.set(xticks=steps[::3], yticks=units)
        plots[row, 0].set_ylabel(say("unit", "유닛"))
        figure.colorbar(image, ax=list(plots[row]), label=name)
    for axes in plots[1]:
        axes.set_xlabel(
            say(
                "step (framed: what follows the bit best)",
                "단계 (테두리: 비트를 가장 잘 따르는 유닛)",
            )
        )
    return figure


def keeping_figure(walk: Walk, memory: Memory, say: Say) -> Figure:
    """|Correlation| of every cell state with the bit by step, and the gates of the unit that follows it best."""
    unit, steps = memory.unit, np.arange(1, STEPS + 1)
    title = say("Memory cell: what keeps the bit", "기억 셀: 비트를 간직하는 것")
    figure, ((left, right),) = canvases(title, 1, 2, height=3.6)
    left.plot(steps, np.delete(memory.correlation, unit, axis=1), color=GREY, linewidth=0.8)
    left.plot(steps, memory.correlation[:, unit], color=BLUE, marker="o")
    label(left, say(f"unit {unit}", f"유닛 {unit}"), STEPS, memory.last, BLUE)
    left.set_ylabel(say("|correlation| of c with the bit", "c와 비트의 |상관|"))
    gates = (
        ("i", say("input", "입력"), ORANGE),
        ("f", say("forget", "망각"), BLUE),
        ("o", say("output", "출력"), GREY),
    )
    for gate, name, colour in gates:
        mean = walk.gates[gate][:, :, unit].mean(axis=0)
        right.plot(steps, mean, color=colour, marker="o")
        label(right, name, STEPS, mean[-1], colour)
    right.set_ylabel(say(f"gates of unit {unit}, test mean", f"유닛 {unit}의 게이트, 테스트 평균"))
    for axes in (left, right):
        axes.set(
            xlabel=say("step", "단계"), ylim=(-0.03, 1.05), xlim=(0.5, STEPS + 3), xticks=steps[::3]
        )
    return figure


def losses_figure(trained: dict[str, Trained], say: Say) -> Figure:
    """Training loss by epoch of the three networks, beside that of a coin toss."""
    figure, axes = canvas(say("Memory cell: training loss by epoch", "기억 셀: 에포크별 학습 손실"))
    names = say("one layer", "한 층"), say("two layers", "두 층"), say("bidirectional", "양방향")
    for name, one, colour in zip(names, trained.values(), (BLUE, ORANGE, RED), strict=True):
        loss = one.fit.train_loss[0]
        axes.plot(
            np.arange(1, len(loss) + 1), loss, color=colour, marker="o", markersize=3, label=name
        )
    axes.axhline(
        COIN_TOSS,
        color=GREY,
        linestyle="--",
        linewidth=1,
        label=say("ln 2, a coin toss", "ln 2, 동전 던지기"),
    )
    axes.set(
        xlabel=say("epoch", "에포크"),
        ylabel=say("log loss (nats)", "로그 손실 (nat)"),
        yscale="log",
    )
    axes.legend(frameon=False)
    return figure
