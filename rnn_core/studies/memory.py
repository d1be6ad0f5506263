"""The memory cell of an LSTM: step by step, what its units keep, and what deep and two-way networks hand back."""

from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from rnn_core.config import Model, Study
from rnn_core.errors import ArrayError
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import recurrent
from rnn_core.nn.losses import sigmoid
from rnn_core.nn.network import split
from rnn_core.nn.sequences import Sequences, holdout
from rnn_core.reporting.figures import BLUE, COIN_TOSS, GREY, ORANGE, RED, Figure, Say, canvas, canvases, label
from rnn_core.studies.lesson import Finding, Lesson, Trained, Variant, Variants, examples, sayer, training

TRAIN, TEST, STEPS, INPUTS, HIDDEN, EPOCHS = 512, 200, 10, 4, 8, 20
STREAM = 4  # this lesson's own random numbers
KEPT = 0.9  # a correlation from which on a unit is said to keep the bit
ROUNDING = 1e-10  # what float64 leaves of two ways to add up the same
SHOWN = 3  # sequences of the table of shapes: no other axis is that long
NETWORKS: dict[str, dict[str, Any]] = {"one": {}, "deep": {"num_layers": 2}, "bidirectional": {"bidirectional": True}}


def data(study: Study) -> Sequences:
    """The first step brings a bit, ±1, in its first input; all else is noise, and at the end the bit is asked for."""
    rows = examples(study, TRAIN) + examples(study, TEST)
    x = np.random.default_rng([study.training.seed, STREAM]).normal(size=(rows, STEPS, INPUTS))
    x[:, 0, 0] = np.where(np.arange(rows) % 2, -1, 1)
    return Sequences(x, (x[:, :1, :1] > 0).astype(float), np.ones((rows, 1), bool), raw=True)


def variants(study: Study, sequences: Sequences) -> Variants:
    """An LSTM of one layer, one of two, and one that reads in both directions."""
    folds = holdout(examples(study, TRAIN), 0, examples(study, TEST))
    own = training(study, epochs=EPOCHS, learning_rate=0.01, clip_norm=1.0)
    models = {name: Model(cell="lstm", hidden_size=HIDDEN, **options) for name, options in NETWORKS.items()}
    return {name: Variant(model, own, sequences, folds) for name, model in models.items()}


def finding(study: Study, sequences: Sequences, trained: dict[str, Trained]) -> Finding:
    """Which unit keeps the bit, that steps make up the whole, and whether torch hands back the same."""
    say = sayer(study)
    tests = sequences.x[trained["one"].variant.folds.test[0]]  # (N, T, I)
    bit = tests[:, 0, 0]
    accuracy = {name: float(((one.logits[0, :, 0, 0] > 0) == (bit > 0)).mean()) for name, one in trained.items()}
    walk = step_by_step(_recurrent_params(trained["one"]), tests)
    difference = _from_the_whole(walk, _recurrent_params(trained["one"]), tests)
    memory = _memory(walk, bit)
    learned = {name: _learned(one) for name, one in trained.items()}
    table = [row for name, one in trained.items() for row in compared(name, one, tests[:SHOWN])]
    apart = [row.difference for row in table if row.difference is not None]
    metrics = {
        "test/accuracy": accuracy["one"],
        "test/accuracy_deep": accuracy["deep"],
        "test/accuracy_bidirectional": accuracy["bidirectional"],
        "memory/correlation": memory.last,
        "by_hand/largest_difference": difference,
        **{f"learned/epoch_{name}": epoch for name, epoch in learned.items() if epoch},
        **({"memory/kept_from_step": memory.since} if memory.since else {}),
        **({"torch/largest_difference": max(apart)} if apart else {}),
    }
    sentences = (
        _of_memory(accuracy, memory, walk, len(bit), say),
        _of_directions(accuracy["bidirectional"], learned, say),
        _of_steps(difference, _refusal(), say),
        _of_torch(table, say),
    )
    figures = {
        "states.png": _states(walk, bit, memory.unit, say),
        "memory.png": _keeping(walk, memory, say),
        "loss.png": _losses(trained, say),
    }
    return Finding(sentences, metrics, figures, {"shapes.md": _markdown(table, say)})


def _recurrent_params(one: Trained) -> Params:
    return split(one.fit.params)[""]


class Walk(NamedTuple):
    """An LSTM on its way through N sequences: states after each step and the gates in it, all (N, T, H)."""

    hidden: Array
    cell: Array
    gates: dict[str, Array]  # i, f, g and o


def step_by_step(params: Params, x: Array) -> Walk:
    """Read x (N, T, I) one step at a time, each from the states that the step before has left."""
    h: Array | None = None
    c: Array | None = None
    hidden, cell = [], []
    for step in np.split(x[None], x.shape[1], axis=2):  # (1, N, 1, I)
        _, state, _ = recurrent(params, step, cell="lstm", h0=h, c0=c)
        h, c = state
        hidden.append(h[0, 0])
        cell.append(c[0, 0])
    walked = np.stack(hidden, axis=1)
    return Walk(walked, np.stack(cell, axis=1), _gates(params, x, _before(walked)))


def _before(states: Array) -> Array:
    """The states (N, T, H) before each step, which begin with zeros."""
    return np.concatenate([np.zeros_like(states[:, :1]), states[:, :-1]], axis=1)


def _gates(params: Params, x: Array, h_before: Array) -> dict[str, Array]:
    """What lets in (i), forgets (f), is offered (g) and is let out (o): Hochreiter and Schmidhuber 1997, Gers 2000."""
    weight_ih, weight_hh, bias_ih, bias_hh = (
        params[f"{name}_l0"][0] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    i, f, g, o = np.split(x @ weight_ih.T + h_before @ weight_hh.T + bias_ih + bias_hh, 4, axis=-1)
    return {"i": sigmoid(i), "f": sigmoid(f), "g": np.tanh(g), "o": sigmoid(o)}


def _from_the_whole(walk: Walk, params: Params, x: Array) -> float:
    """The largest difference of the steps from the whole pass and from c = f·c + i·g, h = o·tanh(c)."""
    output, state, _ = recurrent(params, x[None], cell="lstm")
    i, f, g, o = walk.gates.values()
    pairs = (
        (walk.hidden, output[0]),
        (walk.hidden[:, -1], state[0][0, 0]),
        (walk.cell[:, -1], state[1][0, 0]),
        (walk.cell, f * _before(walk.cell) + i * g),
        (walk.hidden, o * np.tanh(walk.cell)),
    )
    return max(float(np.abs(left - right).max()) for left, right in pairs)


class Memory(NamedTuple):
    """How the cell states follow the bit."""

    correlation: Array  # (T, H), its magnitude
    unit: int  # the one that follows best at the last step
    last: float  # its correlation there
    since: int | None  # the step, from 1, since which it has kept the bit; None if it has not


def _memory(walk: Walk, bit: Array) -> Memory:
    correlation = np.stack([_correlation(step, bit) for step in walk.cell.swapaxes(0, 1)])
    unit = int(correlation[-1].argmax())
    lost = np.flatnonzero(correlation[:, unit] < KEPT)
    since = int(lost[-1]) + 2 if len(lost) else 1
    return Memory(correlation, unit, float(correlation[-1, unit]), since if since <= len(correlation) else None)


def _correlation(states: Array, bit: Array) -> Array:
    """|Pearson's correlation| of each unit's states (N, H) with the bit (N,); 0 for a unit that does not vary."""
    centred, signs = states - states.mean(axis=0), bit - bit.mean()
    scale = np.sqrt((centred**2).sum(axis=0) * (signs**2).sum())
    return np.asarray(np.abs(signs @ centred) / np.where(scale > 0, scale, 1))


def _learned(one: Trained) -> int | None:
    """The epoch, from 1, whose training loss is the first below half that of a coin toss; None without one."""
    below = np.flatnonzero(one.fit.train_loss[0] < COIN_TOSS / 2)
    return int(below[0]) + 1 if len(below) else None


def _refusal() -> str | None:
    """What is said of an input that was never filled; None if it is taken."""
    params = {
        name: np.zeros((1, 4 * HIDDEN, size)) for name, size in (("weight_ih_l0", INPUTS), ("weight_hh_l0", HIDDEN))
    }
    try:
        recurrent(params, np.full((1, 1, STEPS, INPUTS), np.nan), cell="lstm")
    except ArrayError as error:
        return str(error)
    return None


class Row(NamedTuple):
    """One array that a network hands back: its shape here and in torch, and how far the values lie apart."""

    network: str
    array: str
    shape: tuple[int, ...]
    torch_shape: tuple[int, ...] | None  # None without torch
    difference: float | None  # None without torch, or where the shapes differ


def compared(name: str, one: Trained, x: Array) -> list[Row]:
    """What a trained network hands back for x (N, T, I), beside what torch's own does with the same parameters."""
    model, params = one.variant.model, _recurrent_params(one)
    options: dict[str, Any] = {"num_layers": model.num_layers, "bidirectional": model.bidirectional}
    output, (h_n, c_n), _ = recurrent(params, x[None], cell="lstm", **options)
    ours = {"output": output[0], "h_n": h_n[0], "c_n": c_n[0]}
    theirs: Params = {}
    if find_spec("torch") is not None:
        from rnn_core.nn.torch_bridge import reference

        theirs = reference(model, params, x)
    return [_row(name, array, value, theirs.get(array)) for array, value in ours.items()]


def _row(network: str, array: str, ours: Array, theirs: Array | None) -> Row:
    if theirs is None or ours.shape != theirs.shape:
        return Row(network, array, ours.shape, None if theirs is None else theirs.shape, None)
    return Row(network, array, ours.shape, theirs.shape, float(np.abs(ours - theirs).max()))


def _markdown(table: list[Row], say: Say) -> str:
    """The shapes as a table."""
    here, there, apart = say("here", "이 프로젝트"), "torch", say("largest difference", "가장 큰 차이")
    lines = [f"| {say('network', '신경망')} | | {here} | {there} | {apart} |", "|---|---|---|---|---|"]
    for row in table:
        difference = "–" if row.difference is None else f"{row.difference:.1e}"
        lines.append(f"| {row.network} | {row.array} | {row.shape} | {row.torch_shape or '–'} | {difference} |")
    axes = say(
        f"N = {SHOWN} sequences, T = {STEPS} steps, H = {HIDDEN} units, D directions, L layers: "
        "output (N, T, D·H), h_n and c_n (D·L, N, H).",
        f"시퀀스 N = {SHOWN}개, T = {STEPS}단계, 유닛 H = {HIDDEN}개, 방향 D, 층 L: "
        "output (N, T, D·H), h_n과 c_n (D·L, N, H).",
    )
    absent = say("torch is not installed.", "torch가 설치되어 있지 않다.")
    return "\n".join([*lines, "", axes, *([] if any(row.torch_shape for row in table) else [absent]), ""])


def _of_memory(accuracy: dict[str, float], memory: Memory, walk: Walk, rows: int, say: Say) -> str:
    right = say(
        f"One layer gives the bit of the first step back after {STEPS} steps in {accuracy['one']:.1%} of {rows} test "
        f"sequences, two layers in {accuracy['deep']:.1%}. ",
        f"한 층은 첫 단계의 비트를 {STEPS}단계 뒤에 테스트 시퀀스 {rows}개 중 {accuracy['one']:.1%}에서 되돌려 주고, "
        f"두 층은 {accuracy['deep']:.1%}에서 그렇게 한다. ",
    )
    if memory.since is None:
        return right + say(
            f"No single unit of the one layer keeps it: the best, unit {memory.unit}, has a cell state that correlates "
            f"with it by {memory.last:.2f} at the last step.",
            f"한 층의 어떤 유닛도 혼자서는 비트를 간직하지 않는다. 가장 나은 {memory.unit}번 유닛의 셀 상태도 마지막 "
            f"단계에서 비트와의 상관이 {memory.last:.2f}이다.",
        )
    forget = walk.gates["f"][:, 1:, memory.unit].mean()
    return right + say(
        f"Unit {memory.unit} of the one layer keeps it: its cell state correlates with the bit by {KEPT} or more from "
        f"step {memory.since} on and by {memory.last:.2f} at the last; its forget gate is at {forget:.2f} on average "
        f"after the first step.",
        f"한 층에서는 {memory.unit}번 유닛이 비트를 간직한다. 그 셀 상태와 비트의 상관은 {memory.since}단계부터 계속 "
        f"{KEPT} 이상이고 마지막 단계에서 {memory.last:.2f}이다. 첫 단계 뒤 망각 게이트의 평균은 {forget:.2f}이다.",
    )


def _of_directions(accuracy: float, learned: dict[str, int | None], say: Say) -> str:
    """`learned`: by network, the epoch from `_learned`."""
    both, one = learned["bidirectional"], learned["one"]
    if both is not None and (one is None or both < one):
        sooner = say("it learns sooner", "그래서 더 빨리 배운다")
    else:
        sooner = say("it does not learn sooner for that", "그렇다고 더 빨리 배우지는 않는다")
    epochs = [
        say(f"in epoch {epoch}", f"{epoch}번째 에포크") if epoch else say("never", "없음") for epoch in (both, one)
    ]
    return say(
        f"The bidirectional network is right on {accuracy:.1%}. Its reverse direction reads the bit last and has "
        f"nothing to keep: {sooner} (its training loss falls below half of ln 2 {epochs[0]}, that of one layer "
        f"{epochs[1]}).",
        f"양방향 신경망은 {accuracy:.1%}를 맞힌다. 역방향은 비트를 마지막에 읽으므로 간직할 것이 없다. {sooner}"
        f"(학습 손실이 ln 2의 절반 아래로 내려가는 때: 양방향 {epochs[0]}, 한 층 {epochs[1]}).",
    )


def _of_steps(difference: float, refusal: str | None, say: Say) -> str:
    if difference < ROUNDING:
        same = say("they are the same up to rounding", "반올림 오차 안에서 같다")
    else:
        same = say("that is more than rounding", "반올림 오차보다 크다")
    steps = say(
        f"One step at a time, with h and c handed on, and by the cell's equations the states differ from those of the "
        f"whole pass by at most {difference:.1e}: {same}. ",
        f"h와 c를 넘겨주며 한 단계씩 계산한 상태와 셀의 식으로 계산한 상태는 한꺼번에 계산한 상태와 많아야 "
        f"{difference:.1e} 다르다. 즉 {same}. ",
    )
    if refusal is None:
        return steps + say("An input of NaN was not refused.", "NaN으로 된 입력이 거부되지 않았다.")
    return steps + say(
        f"An input that was never filled is refused: “{refusal}”.",
        f"초기화하지 않은 입력은 거부된다: “{refusal}”.",
    )


def _of_torch(table: list[Row], say: Say) -> str:
    arrays = len(table)
    if all(row.torch_shape is None for row in table):
        return say(
            f"torch is not installed: shapes.md has the shapes of {arrays} arrays of this project alone.",
            f"torch가 설치되어 있지 않아 shapes.md에는 이 프로젝트의 배열 {arrays}개의 형태만 있다.",
        )
    shapes = sum(row.shape == row.torch_shape for row in table)
    values = sum(row.difference is not None and row.difference < ROUNDING for row in table)
    apart = max((row.difference for row in table if row.difference is not None), default=float("nan"))
    return say(
        f"Of {arrays} arrays (output, h_n and c_n of one layer, deep and bidirectional) {shapes} have torch's shape "
        f"and {values} torch's values up to rounding; the largest difference is {apart:.1e}.",
        f"배열 {arrays}개(한 층, 깊은 신경망, 양방향의 output, h_n, c_n) 가운데 {shapes}개는 torch와 형태가 같고 "
        f"{values}개는 반올림 오차 안에서 값도 같다. 가장 큰 차이는 {apart:.1e}이다.",
    )


def _states(walk: Walk, bit: Array, unit: int, say: Say) -> Figure:
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
            axes.plot([0.5, STEPS + 0.5, STEPS + 0.5, 0.5, 0.5], unit + np.array([-0.5, -0.5, 0.5, 0.5, -0.5]), "k-")
            axes.set_title(f"{name}, {say('bit', '비트')} {sign}", fontsize=11, fontweight="normal")
            axes.set(xticks=steps[::3], yticks=units)
        plots[row, 0].set_ylabel(say("unit", "유닛"))
        figure.colorbar(image, ax=list(plots[row]), label=name)
    for axes in plots[1]:
        axes.set_xlabel(say("step (framed: what follows the bit best)", "단계 (테두리: 비트를 가장 잘 따르는 유닛)"))
    return figure


def _keeping(walk: Walk, memory: Memory, say: Say) -> Figure:
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
        axes.set(xlabel=say("step", "단계"), ylim=(-0.03, 1.05), xlim=(0.5, STEPS + 3), xticks=steps[::3])
    return figure


def _losses(trained: dict[str, Trained], say: Say) -> Figure:
    """Training loss by epoch of the three networks, beside that of a coin toss."""
    figure, axes = canvas(say("Memory cell: training loss by epoch", "기억 셀: 에포크별 학습 손실"))
    names = say("one layer", "한 층"), say("two layers", "두 층"), say("bidirectional", "양방향")
    for name, one, colour in zip(names, trained.values(), (BLUE, ORANGE, RED), strict=True):
        loss = one.fit.train_loss[0]
        axes.plot(np.arange(1, len(loss) + 1), loss, color=colour, marker="o", markersize=3, label=name)
    axes.axhline(
        COIN_TOSS, color=GREY, linestyle="--", linewidth=1, label=say("ln 2, a coin toss", "ln 2, 동전 던지기")
    )
    axes.set(xlabel=say("epoch", "에포크"), ylabel=say("log loss (nats)", "로그 손실 (nat)"), yscale="log")
    axes.legend(frameon=False)
    return figure


LESSON = Lesson(data, variants, finding)
