"""How far back a gradient reaches: the product of Jacobians, what gates change about it, and what clipping saves."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rnn_core.commands import Study
from rnn_core.config import Model
from rnn_core.evaluation import names
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import State, recurrent
from rnn_core.nn.network import initial_params, split
from rnn_core.nn.sequences import Sequences, holdout
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
    Finding,
    Steps,
    Trained,
    Variant,
    Variants,
    examples,
    sayer,
    training,
)

HIDDEN, LENGTHS = 16, (10, 50, 100, 200)
RADII = (0.5, 0.9, 1.0, 1.1, 1.5)  # largest |eigenvalue| of W_hh at the start
FLOOR = 1e-30  # of the figures
LEARNT = 0.9  # accuracy
LOST = 1e-12  # a gradient smaller than this moves nothing
RECALL, TRAIN, TEST, EPOCHS, RATE = (
    30,
    1000,
    500,
    40,
    2.0,
)  # steps to remember a sign for, and how that is trained
STREAM = 13  # of weights and sequences, beside the study's seed
COLOURS = (BLUE, ORANGE, PURPLE, "0.25", RED)  # of the radii


End: TypeAlias = tuple[str, int, float, Any]
"""Where a line ends: its name, its last lag and value, its colour."""


class Reach(NamedTuple):
    """Spectral norms by lag T − t, from 0 to T − 1: of ∂s_T/∂s_t (T,), s = h or an LSTM's (h, c), and of ∂s_T/∂x_t."""

    state: Array
    inputs: Array


def data(study: Study) -> Sequences:
    """Recall: the first of 30 steps is −1 or 1, the others are noise of a tenth; at the end that sign is asked for."""
    rng = np.random.default_rng([STREAM, study.training.seed])
    count = examples(study, TRAIN) + examples(study, TEST)
    x = 0.1 * rng.normal(size=(count, RECALL, 1))
    x[:, 0, 0] = rng.choice([-1.0, 1.0], count)
    return Sequences(x, (x[:, :1] > 0).astype(float), np.ones((count, 1), bool), raw=True)


def variants(study: Study, sequences: Sequences) -> Variants:
    """Networks of tanh from each radius, with the norm of their gradients clipped and not."""
    folds = holdout(examples(study, TRAIN), 0, examples(study, TEST))
    sgd = {"epochs": EPOCHS, "optimiser": "sgd", "learning_rate": RATE, "seeds": len(RADII)}
    vanilla, start = Model(hidden_size=HIDDEN), _vanilla(study)
    return {
        "clipped": Variant(vanilla, training(study, **sgd, clip_norm=1.0), sequences, folds, start),
        "unclipped": Variant(vanilla, training(study, **sgd), sequences, folds, start),
    }


def _lstm(forget_bias: float) -> Model:
    return Model(cell="lstm", hidden_size=HIDDEN, forget_bias=forget_bias)


def _vanilla(study: Study) -> Params:
    """A stack of tanh networks, alike but for the spectral radius of W_hh: one for each of the radii."""
    rng = np.random.default_rng([STREAM, study.training.seed, 1])
    one = initial_params(Model(hidden_size=HIDDEN), 1, 1, [rng], "float64")
    stack = {name: np.repeat(value, len(RADII), axis=0) for name, value in one.items()}
    w = rng.normal(size=(HIDDEN, HIDDEN))
    w /= np.abs(np.linalg.eigvals(w)).max()
    stack["weight_hh_l0"] = np.array(RADII)[:, None, None] * w
    return stack


def finding(study: Study, sequences: Sequences, trained: dict[str, Trained]) -> Finding:
    """Where gradients vanish at the start values, and how training fares without and with the clip."""
    say, rng = sayer(study), np.random.default_rng([STREAM, study.training.seed, 2])
    x = 0.1 * rng.normal(size=(max(LENGTHS), 1))
    networks = _networks(study)
    reaches = {
        name: {length: reach(model, params, x[:length]) for length in LENGTHS}
        for name, (model, params) in networks.items()
    }
    longest = {name: by_length[max(LENGTHS)] for name, by_length in reaches.items()}
    products = {name: jacobian_product(networks[name][1], x) for name in map(_tanh, RADII)}
    apart = max(_relative(longest[name].state, product) for name, product in products.items())
    clipped, unclipped = trained["clipped"], trained["unclipped"]
    metrics = {
        names.ACCURACY: float(_accuracy(clipped).mean()),
        "test/accuracy_unclipped": float(_accuracy(unclipped).mean()),
        "difference/jacobian_product": apart,
        **{
            f"gradient/{name.replace(' ', '_')}": float(one.state[-1])
            for name, one in longest.items()
        },
        **{
            f"lost_at_lag/{name.replace(' ', '_')}": float(at)
            for name, at in _lost(longest).items()
        },
    }
    sentences = (
        _of_lags(longest, say),
        _of_gates(longest, say),
        _of_product(apart, say),
        _of_clip(clipped, unclipped, say),
    )
    figures = {
        "gradients.png": _by_lag(longest, products, say),
        "inputs.png": _inputs_by_lag(longest, say),
        "clipping.png": _losses(clipped, unclipped, say),
    }
    return Finding(sentences, metrics, figures, {"gradients.md": _table(reaches, say)})


def _tanh(radius: float) -> str:
    return f"tanh {radius:g}"


def _networks(study: Study) -> dict[str, tuple[Model, Params]]:
    """One network of each kind at its start values: the recurrent parameters by name, as a stack of one."""
    stack = _vanilla(study)
    networks = {
        _tanh(radius): (
            Model(hidden_size=HIDDEN),
            {name: value[[m]] for name, value in stack.items()},
        )
        for m, radius in enumerate(RADII)
    }
    for name, model in (
        ("GRU", Model(cell="gru", hidden_size=HIDDEN)),
        ("LSTM", _lstm(0.0)),
        ("LSTM forget 1", _lstm(1.0)),
    ):
        rng = np.random.default_rng([STREAM, study.training.seed, 3])
        networks[name] = model, initial_params(model, 1, 1, [rng], "float64")
    return {name: (model, split(params)[""]) for name, (model, params) in networks.items()}


def reach(model: Model, params: Params, x: Array) -> Reach:
    """Carry every unit vector back from the last state of x (T, I), a step at a time, as rows of one batch."""
    size = HIDDEN * (2 if model.cell == "lstm" else 1)
    steps: list[Any] = []
    h0 = c0 = None
    for value in x:
        batch = np.broadcast_to(value, (1, size, 1, len(value))).copy()
        _, state, backward = recurrent(params, batch, cell=model.cell, h0=h0, c0=c0)
        h0, c0 = state if isinstance(state, tuple) else (state, None)
        steps.append(backward)
    units = _units(size)
    d_state: State = (units[0], units[1]) if model.cell == "lstm" else units[0]
    states, inputs = [_norm(d_state)], []
    for backward in reversed(steps):
        _, dx, d_state = backward(None, d_state)
        states.append(_norm(d_state))
        inputs.append(float(np.linalg.norm(dx[0, :, 0], 2)))
    return Reach(np.array(states[:-1]), np.array(inputs))


def _units(size: int) -> list[Array]:
    """The unit vectors of the state (size,) as gradients of h, and of c: each (1, 1, size, H), one vector a row."""
    return [part[None, None] for part in np.split(np.eye(size), size // HIDDEN, axis=1)]


def _norm(d_state: State) -> float:
    """Largest singular value of the Jacobian whose rows stand in the gradients (1, 1, N, H) of h, and of c."""
    parts = d_state if isinstance(d_state, tuple) else (d_state,)
    return float(np.linalg.norm(np.concatenate([part[0, 0] for part in parts], axis=1), 2))


def jacobian_product(params: Params, x: Array) -> Array:
    """(T,) spectral norm of ∂h_T/∂h_t = Π_{k=t+1…T} diag(1 − h_k²) W_hh by lag, for a tanh network over x (T, I).

    Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks (2013), equation 5.
    """
    w_in, w, bias = (
        params["weight_ih_l0"][0],
        params["weight_hh_l0"][0],
        params["bias_ih_l0"] + params["bias_hh_l0"],
    )
    h, jacobians = np.zeros(HIDDEN), []
    for value in x:
        h = np.tanh(w_in @ value + w @ h + bias[0])
        jacobians.append((1 - h**2)[:, None] * w)
    product, norms = np.eye(HIDDEN), [1.0]
    for jacobian in reversed(jacobians[1:]):
        product = product @ jacobian
        norms.append(float(np.linalg.norm(product, 2)))
    return np.array(norms)


def _relative(a: Array, b: Array) -> float:
    """Largest relative difference, where a number still has all its digits."""
    whole = b > np.finfo(float).tiny / np.finfo(float).eps
    return float((np.abs(a - b) / b)[whole].max())


def _lost(reaches: dict[str, Reach]) -> dict[str, int]:
    """The first lag at which ‖∂s_T/∂s_t‖ is below `LOST`, of the networks where there is one."""
    below = {name: one.state < LOST for name, one in reaches.items()}
    return {name: int(lost.argmax()) for name, lost in below.items() if lost.any()}


def _accuracy(trained: Trained) -> Array:
    """(M,) accuracy of each model on the test rows; a lost one counts as wrong."""
    up = trained.variant.sequences.y[trained.variant.folds.test[0], 0, 0]
    logits = trained.logits[..., 0, 0]
    return np.asarray(np.where(np.isfinite(logits), (logits > 0) == up, False).mean(axis=1))


def _of_lags(longest: dict[str, Reach], say: Say) -> str:
    lost = _lost({_tanh(radius): longest[_tanh(radius)] for radius in RADII})
    kept = [f"{radius:g}" for radius in RADII if _tanh(radius) not in lost]
    english = ", ".join(
        f"{name.removeprefix('tanh ')} after {lag} steps" for name, lag in lost.items()
    )
    korean = ", ".join(
        f"{name.removeprefix('tanh ')}에서는 {lag}단계" for name, lag in lost.items()
    )
    return say(
        f"At the start the gradient of a tanh network falls below {LOST:g} with a spectral radius of "
        f"{english or 'none of those tried'}"
        + (f"; within {max(LENGTHS)} steps it does not with {', '.join(kept)}." if kept else "."),
        f"시작 값에서 tanh 신경망의 기울기가 {LOST:g} 아래로 떨어지기까지 걸리는 단계는 스펙트럼 반지름 "
        f"{korean or '어느 것에서도 나오지 않았다'}"
        + (
            f"이다. {', '.join(kept)}에서는 {max(LENGTHS)}단계 안에 그렇게 되지 않는다."
            if kept
            else "이다."
        ),
    )


def _of_gates(longest: dict[str, Reach], say: Say) -> str:
    norms = {name: longest[name].state[-1] for name in ("GRU", "LSTM", "LSTM forget 1")}
    listed = ", ".join(f"{name} {norm:.0e}" for name, norm in norms.items())
    farther = norms["LSTM forget 1"] > norms["LSTM"]
    return say(
        f"Over {max(LENGTHS) - 1} steps there is left of the gradient of the gated networks: {listed} (of an LSTM, "
        "that of h and c together). "
        + (
            "A forget bias of 1 keeps more of it."
            if farther
            else "A forget bias of 1 keeps no more of it."
        ),
        f"게이트가 있는 신경망에서 {max(LENGTHS) - 1}단계를 거슬러 남는 기울기: {listed}(LSTM은 h와 c를 함께 잰다). "
        + ("망각 편향 1은 기울기를 더 남긴다." if farther else "망각 편향 1이 더 남기지는 않는다."),
    )


def _of_product(apart: float, say: Say) -> str:
    same = apart < 1e-9
    return say(
        "Backpropagation a step at a time and the plain product of Jacobians differ by at most "
        f"{apart:.0e} of the norm"
        + (": it is that product." if same else ", more than rounding explains."),
        f"한 단계씩 역전파한 값과 야코비 행렬을 그냥 곱한 값의 상대 차이는 최대 {apart:.0e}이다. "
        + ("역전파는 바로 그 곱이다." if same else "반올림만으로는 설명되지 않는다."),
    )


def _of_clip(clipped: Trained, unclipped: Trained, say: Say) -> str:
    learnt, free = (sum(one > LEARNT for one in _accuracy(of)) for of in (clipped, unclipped))
    worst, free_worst = (float(np.nanmax(of.fit.train_loss)) for of in (clipped, unclipped))
    count, helps = len(RADII), learnt > free and worst < free_worst
    return say(
        f"Asked for a sign {RECALL - 1} steps later, {free} of {count} tanh networks learn it without the clip and "
        f"{learnt} with it; the worst epoch has a loss of {free_worst:.1f} without and of {worst:.1f} with it. "
        + ("Here the clip helps." if helps else "The clip makes no difference that shows here."),
        f"{RECALL - 1}단계 뒤에 부호를 물으면 tanh 신경망 {count}개 중 클리핑 없이는 {free}개, 클리핑하면 {learnt}개가 "
        f"배운다. 가장 나쁜 에포크의 손실은 클리핑 없이 {free_worst:.1f}, 클리핑하면 {worst:.1f}이다. "
        + (
            "여기서는 클리핑이 도움이 된다."
            if helps
            else "여기서는 클리핑의 차이가 드러나지 않는다."
        ),
    )


def _by_lag(longest: dict[str, Reach], products: dict[str, Array], say: Say) -> Figure:
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


def _inputs_by_lag(longest: dict[str, Reach], say: Say) -> Figure:
    """‖∂s_T/∂x_t‖ by lag of every network."""
    figure, axes = canvas(
        say("What an input still moves, by lag", "지연에 따른 입력의 영향"), height=5
    )
    _lines(axes, {name: one.inputs for name, one in longest.items()}, say)
    axes.set_ylabel("‖∂s_T/∂x_t‖")
    return figure


def _lines(axes: Axes, norms: dict[str, Array], say: Say) -> None:
    colours = dict(zip(map(_tanh, RADII), COLOURS, strict=True))
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


def _losses(clipped: Trained, unclipped: Trained, say: Say) -> Figure:
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


def _table(reaches: dict[str, dict[int, Reach]], say: Say) -> str:
    """‖∂h_T/∂h_1‖ for each T, in markdown."""
    head = (
        f"| {say('network', '신경망')} | "
        + " | ".join(f"T = {length}" for length in LENGTHS)
        + " |"
    )
    rows = [
        f"| {name} | "
        + " | ".join(f"{by_length[length].state[-1]:.1e}" for length in LENGTHS)
        + " |"
        for name, by_length in reaches.items()
    ]
    return "\n".join([head, "|---" * (1 + len(LENGTHS)) + "|", *rows]) + "\n"


STUDY = Steps(data, variants, finding)
