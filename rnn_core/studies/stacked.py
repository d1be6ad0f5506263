"""Three stacked layers by hand on two toy sequences: what is right learns, and the gradient check tells what is not."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rnn_core.commands import Study
from rnn_core.config import Model
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import linear, softmax
from rnn_core.nn.losses import LOSSES, LossName, brier
from rnn_core.nn.network import initial_params, network, split
from rnn_core.nn.sequences import Folds, Sequences
from rnn_core.reporting.figures import BLUE, GREY, ORANGE, PURPLE, RED, Figure, Say, canvas, label
from rnn_core.studies.study import Finding, Steps, Trained, Variant, Variants, sayer, training

X = np.array(
    [[[1, 2, 3, 4], [3, 4, 5, 6], [4, 5, 6, 7]], [[3, 4, 1, 1], [4, 5, 1, 1], [5, 6, 1, 1]]], float
)
Y = np.array([0, 1])
EPOCHS, LEARNT = 400, 1e-3
DIRECTIONS, STEP, PASSES = 8, 1e-6, 1e-6
STREAM = 7  # of the check's initial weights and directions, beside the study's seed

TANH = Model(cell="rnn_tanh", hidden_size=8, num_layers=2)
PRELU = Model(cell="rnn_prelu", hidden_size=8, num_layers=2)
Implementation: TypeAlias = Callable[[Params, Array, Array], tuple[float, Params]]
"""(params, x (N, T, I), y (N, 1, O)) to the loss of a network and the gradients by the names of params."""


class Toy(NamedTuple):
    """A recurrent network of two layers and what its third layer, the output, is trained to lower."""

    model: Model
    loss: LossName

    @property
    def y(self) -> Array:
        """(N, 1, O) the classes as one number, 0 or 1, or one-hot for a softmax."""
        return (
            np.eye(2)[Y][:, None]
            if self.loss == "cross_entropy"
            else Y[:, None, None].astype(float)
        )


TOYS = {
    "tanh": Toy(TANH, "brier"),
    "prelu": Toy(PRELU, "brier"),
    "softmax": Toy(TANH, "cross_entropy"),
}
COLOURS = {"tanh": BLUE, "prelu": ORANGE, "softmax": PURPLE}


def data(study: Study) -> Array:
    """(N, T, I) the two sequences of three steps; there are no more, whatever `study.size` is."""
    return X


def variants(study: Study, x: Array) -> Variants:
    """Sigmoid output and squared error behind tanh and behind PReLU, and a softmax output behind tanh.

    Both sequences are trained on and tested: the question is whether a network learns at all.
    """
    rows = np.arange(len(x))[None]
    folds = Folds(rows, np.empty((1, 0), int), rows)
    own = training(study, epochs=EPOCHS, batch_size=len(x), learning_rate=0.01)
    scored = np.ones((len(x), 1), bool)
    return {
        name: Variant(toy.model, own, Sequences(x, toy.y, scored, loss=toy.loss, raw=True), folds)
        for name, toy in TOYS.items()
    }


def right(toy: Toy) -> Implementation:
    """The network and its backward pass as they should be."""

    def implementation(params: Params, x: Array, y: Array) -> tuple[float, Params]:
        logits, backward = network(params, x[None], toy.model)
        loss, dlogits = LOSSES[toy.loss](logits, y[None], _all_scored(logits), None)
        return float(loss[0]), backward(dlogits)

    return implementation


def constant_tanh(params: Params, x: Array, y: Array) -> tuple[float, Params]:
    """A “tanh” of (eᵃ + e⁻ᵃ) / (eᵃ + e⁻ᵃ): the output layer reads ones, whatever the layers below were given.

    The way back has tanh's true derivative, as texts write it, so the recurrent weights get gradients of a loss that
    does not depend on them. Were the derivative taken from this value too, 1 − 1² = 0, nothing before the output layer
    would ever learn, and the check would pass: it finds gradients that are not the loss's, not losses that are useless.
    """
    _, backward = network(params, x[None], TANH)
    head = split(params)["head"]
    logits, head_backward = linear(head, np.ones((1, len(x), 1, TANH.hidden_size)))
    loss, dlogits = brier(logits, y[None], _all_scored(logits))
    head_grads, _ = head_backward(dlogits)
    return float(loss[0]), backward(dlogits) | {
        f"head.{name}": grad for name, grad in head_grads.items()
    }


def unshared(params: Params, x: Array, y: Array) -> tuple[float, Params]:
    """Weights that are not shared over time: they get the gradient of the last step's use of them, not of every step's.

    That is truncation to a single step: the state is carried on, and its gradient is not carried back.
    """
    logits, backward = network(params, x[None], TANH, truncate=1)
    loss, dlogits = brier(logits, y[None], _all_scored(logits))
    return float(loss[0]), backward(dlogits)


def whole_softmax(params: Params, x: Array, y: Array) -> tuple[float, Params]:
    """A softmax over the whole array: the probabilities of all sequences together add up to 1, not those of each."""
    logits, backward = network(params, x[None], TANH)
    p, _ = softmax(logits.reshape(1, -1))
    p = p.reshape(logits.shape)
    return float(-(y * np.log(p)).sum() / len(x)), backward(
        (p - y) / len(x)
    )  # p − y, as of a softmax of each


def wrong_sign(params: Params, x: Array, y: Array) -> tuple[float, Params]:
    """Every gradient with the opposite sign: going down it is going up."""
    loss, grads = right(TOYS["tanh"])(params, x, y)
    return loss, {name: -grad for name, grad in grads.items()}


def _all_scored(logits: Array) -> Array:
    return np.ones(logits.shape[:-1], bool)


class Case(NamedTuple):
    """An implementation, the network whose parameters it takes, and what it is called in English and in Korean."""

    implementation: Implementation
    toy: Toy
    names: tuple[str, str]


RIGHT = {
    "right": Case(right(TOYS["tanh"]), TOYS["tanh"], ("right: tanh", "올바름: tanh")),
    "right_prelu": Case(right(TOYS["prelu"]), TOYS["prelu"], ("right: PReLU", "올바름: PReLU")),
    "right_softmax": Case(
        right(TOYS["softmax"]), TOYS["softmax"], ("right: softmax", "올바름: softmax")
    ),
}
FAULTS = {
    "constant_tanh": Case(constant_tanh, TOYS["tanh"], ("“tanh” that is 1", "값이 1인 “tanh”")),
    "unshared": Case(
        unshared,
        TOYS["tanh"],
        ("weights not shared\nover time", "시간에 걸쳐\n공유하지 않은 가중치"),
    ),
    "whole_softmax": Case(
        whole_softmax,
        TOYS["softmax"],
        ("softmax over\nthe whole array", "배열 전체에 대한\nsoftmax"),
    ),
    "sign": Case(wrong_sign, TOYS["tanh"], ("wrong sign", "틀린 부호")),
}


def gradient_error(
    implementation: Implementation, params: Params, y: Array, rng: np.random.Generator
) -> float:
    """How far the gradients are from the slope of the loss along random directions: 0 same, 2 opposite.

    Along a direction v the slope is ⟨∇L, v⟩, and the central difference (L(θ + εv) − L(θ − εv)) / 2ε is the same up to
    ε² (Nocedal and Wright 2006, chapter 8). A direction moves every parameter at once, so that a few of them check all
    gradients together.
    """
    _, grads = implementation(params, X, y)

    def loss_at(step: float, v: Params) -> float:
        return implementation(
            {name: value + step * v[name] for name, value in params.items()}, X, y
        )[0]

    directions = [
        {name: rng.normal(size=value.shape) for name, value in params.items()}
        for _ in range(DIRECTIONS)
    ]
    numeric = np.array([loss_at(STEP, v) - loss_at(-STEP, v) for v in directions]) / (2 * STEP)
    analytic = np.array([sum((grads[name] * v[name]).sum() for name in v) for v in directions])
    longer = max(np.linalg.norm(numeric), np.linalg.norm(analytic))
    return float(np.linalg.norm(numeric - analytic) / longer)


def gradient_errors(seed: int) -> dict[str, float]:
    """The gradient check of every case, each from the same random start."""
    errors = {}
    for name, case in (RIGHT | FAULTS).items():
        rng = np.random.default_rng([STREAM, seed])
        y = case.toy.y
        params = initial_params(case.toy.model, X.shape[-1], y.shape[-1], [rng], "float64")
        errors[name] = gradient_error(case.implementation, params, y, rng)
    return errors


def finding(study: Study, x: Array, trained: dict[str, Trained]) -> Finding:
    """Whether each network learned its two sequences, and which implementation the gradient check lets pass."""
    say, errors = sayer(study), gradient_errors(study.training.seed)
    losses = {name: _loss(part) for name, part in trained.items()}
    curves = {name: part.fit.train_loss[0] for name, part in trained.items()}
    metrics = {
        "test/mse": losses["tanh"],
        "test/mse_prelu": losses["prelu"],
        "test/cross_entropy_softmax": losses["softmax"],
        **{f"check/{name}": error for name, error in errors.items()},
    }
    sentences = (
        _of_losses(losses, len(curves["tanh"]), say),
        _of_right(errors, say),
        _of_faults(errors, say),
    )
    return Finding(
        sentences,
        metrics,
        {"loss.png": _curves(curves, say), "gradient-check.png": _checks(errors, say)},
    )


def _loss(trained: Trained) -> float:
    """The loss after the last update, of both sequences."""
    sequences, logits = trained.variant.sequences, trained.logits
    return float(
        LOSSES[sequences.loss](logits, sequences.y[None], sequences.mask[None], None)[0][0]
    )


def _of_losses(losses: dict[str, float], epochs: int, say: Say) -> str:
    learnt = sum(loss < LEARNT for loss in losses.values())
    every = learnt == len(losses)
    listed = "; ".join(f"{_name(name, say)}: {loss:.1e}" for name, loss in losses.items())
    return say(
        f"After {epochs} epochs the losses are {listed}. "
        + (
            f"All are below {LEARNT:g}."
            if every
            else f"Below {LEARNT:g}: {learnt} of {len(losses)}."
        ),
        f"{epochs}에포크 뒤의 손실: {listed}. "
        + (
            f"모두 {LEARNT:g} 미만이다."
            if every
            else f"{len(losses)}개 중 {learnt}개가 {LEARNT:g} 미만이다."
        ),
    )


def _of_right(errors: dict[str, float], say: Say) -> str:
    worst = max(errors[name] for name in RIGHT)
    passes = worst < PASSES
    return say(
        f"The gradients of the right implementations differ from the slope of their loss by {worst:.0e} at most: "
        + (
            f"all three pass the check at {PASSES:.0e}."
            if passes
            else f"not all pass the check at {PASSES:.0e}."
        ),
        f"올바른 구현의 기울기는 손실의 수치 미분과 상대 오차가 최대 {worst:.0e}이다. "
        + (
            f"셋 모두 기준 {PASSES:.0e}을 통과한다."
            if passes
            else f"기준 {PASSES:.0e}을 통과하지 못한 것이 있다."
        ),
    )


def _of_faults(errors: dict[str, float], say: Say) -> str:
    found = sum(errors[name] >= PASSES for name in FAULTS)
    every = found == len(FAULTS)
    listed = "; ".join(f"{_flat(case, say)}: {errors[name]:.2g}" for name, case in FAULTS.items())
    return say(
        ("Every fault fails it" if every else f"{found} of {len(FAULTS)} faults fail it")
        + f". Relative errors: {listed}.",
        (f"결함 {found}개가 모두" if every else f"결함 {len(FAULTS)}개 중 {found}개가")
        + f" 검사를 통과하지 못한다. 상대 오차: {listed}.",
    )


def _name(toy: str, say: Say) -> str:
    squared, entropy = say("squared error", "제곱 오차"), say("cross-entropy", "교차 엔트로피")
    return {
        "tanh": f"tanh ({squared})",
        "prelu": f"PReLU ({squared})",
        "softmax": f"softmax ({entropy})",
    }[toy]


def _flat(case: Case, say: Say) -> str:
    return say(*case.names).replace("\n", " ")


def _curves(curves: dict[str, Array], say: Say) -> Figure:
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
        label(axes, _name(name, say), epochs[-1], height, COLOURS[name])
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


def _checks(errors: dict[str, float], say: Say) -> Figure:
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


STUDY = Steps(data, variants, finding)
