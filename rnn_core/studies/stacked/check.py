"""Backward passes that are right and others that are not, and the gradient check that tells them apart."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from rnn_core.config import Model
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers import linear, softmax
from rnn_core.nn.losses import LOSSES, LossName, brier
from rnn_core.nn.network import initial_params, network, split

X = np.array(
    [[[1, 2, 3, 4], [3, 4, 5, 6], [4, 5, 6, 7]], [[3, 4, 1, 1], [4, 5, 1, 1], [5, 6, 1, 1]]], float
)
Y = np.array([0, 1])
DIRECTIONS = 8  # of the gradient check
STEP = 1e-6  # along a direction
PASSES = 1e-6  # relative error of gradients below which they pass
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
